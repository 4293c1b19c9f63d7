"""Distortion between an original and a coded picture."""

import numpy as np
from numpy.typing import NDArray


def psnr(original: NDArray[np.uint8], coded: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio over all pixels and channels, peak 255.

    Args:
        original: Any shape, uint8.
        coded: The same shape, uint8.

    Returns:
        Decibels; infinity for equal pictures.

    Raises:
        ValueError: the pictures are not uint8 or not of one shape.
    """
    if original.shape != coded.shape or original.dtype != np.uint8 or coded.dtype != np.uint8:
        raise ValueError(
            f"PSNR needs two uint8 pictures of one shape, not {original.dtype}{original.shape}"
            f" and {coded.dtype}{coded.shape}"
        )
    error = np.mean((original.astype(np.float64) - coded.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))
