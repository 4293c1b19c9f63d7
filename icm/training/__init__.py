"""What train.py does around the training loop itself: where a run starts, its folder, Trainer, loggers and summary.

Nothing here imports torch before it is used.
"""
