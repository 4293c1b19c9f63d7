"""Pictures of any size from the demo scenes."""

import numpy as np

from icm.faces.sources import DemoFaces


def photograph(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8 RGB: demo scenes side by side and below each other."""
    scenes = [scene.load()[:480, :640] for scene in DemoFaces().images()[:4]]
    block = np.vstack([np.hstack(scenes[:2]), np.hstack(scenes[2:])])
    rows, columns = -(-height // block.shape[0]), -(-width // block.shape[1])
    return np.tile(block, (rows, columns, 1))[:height, :width]
