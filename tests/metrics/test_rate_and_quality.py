import numpy as np
import pytest

from icm.metrics.quality import psnr
from icm.metrics.rate import bits_per_pixel


def test_bits_per_pixel():
    assert bits_per_pixel(1000, 40, 50) == 4.0
    with pytest.raises(ValueError, match="0 x 5"):
        bits_per_pixel(1, 5, 0)


def test_psnr_of_a_known_error(picture):
    shifted = np.where(picture < 250, picture + 5, picture - 5).astype(np.uint8)
    assert psnr(picture, shifted) == pytest.approx(20 * np.log10(255 / 5))
    assert psnr(picture, picture) == float("inf")


def test_psnr_does_not_wrap_around():
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert psnr(black, white) == pytest.approx(0.0)
    assert psnr(white, black) == pytest.approx(0.0)


def test_psnr_refuses_other_shapes_and_types(picture):
    with pytest.raises(ValueError, match="one shape"):
        psnr(picture, picture[:-1])
    with pytest.raises(ValueError, match="uint8"):
        psnr(picture, picture.astype(np.float32))
