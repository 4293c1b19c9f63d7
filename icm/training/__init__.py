"""What train.py does around the training loop itself: run folders, processes, sweeps. Imports no torch."""
