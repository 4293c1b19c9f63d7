"""Pure functions on arrays: rate, picture quality, privacy and statistics."""
