"""Distortion between an original and a coded picture."""

import numpy as np


def psnr(original: np.ndarray, coded: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels, peak 255; infinity for equal pictures.

    Both pictures are uint8 and of one shape; otherwise ValueError.
    """
    if original.shape != coded.shape or original.dtype != np.uint8 or coded.dtype != np.uint8:
        raise ValueError(
            f"PSNR needs two uint8 pictures of one shape, not {original.dtype}{original.shape}"
            f" and {coded.dtype}{coded.shape}"
        )
    error = np.mean((original.astype(np.float64) - coded.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))
