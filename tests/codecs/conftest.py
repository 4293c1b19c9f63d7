"""Helpers shared by the codec tests."""

import numpy as np
import pytest


@pytest.fixture
def psnr():
    """The function ``psnr(a, b)`` in dB over all samples; infinite for equal images."""

    def measure(a: np.ndarray, b: np.ndarray) -> float:
        error = np.mean((a.astype(np.float64) - b) ** 2)
        return float("inf") if error == 0 else 10 * np.log10(255**2 / error)

    return measure
