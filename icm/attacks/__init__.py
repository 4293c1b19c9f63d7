"""What an attacker does to coded faces before recognising them."""
