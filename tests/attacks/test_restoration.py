import cv2
import numpy as np
import pytest

from icm.attacks.base import AttackError
from icm.attacks.restoration import Restoration, upscale
from icm.metrics.quality import psnr


def pixelated(picture, side):
    small = picture.reshape(picture.shape[0] // side, side, picture.shape[1] // side, side, 3).mean(axis=(1, 3))
    return np.rint(small).astype(np.uint8).repeat(side, axis=0).repeat(side, axis=1)


def test_deblocking_comes_closer_to_the_picture_than_blocks(make_picture):
    picture = cv2.GaussianBlur(make_picture(96, 96), (0, 0), 3)
    blocks = pixelated(picture, 8)
    assert psnr(picture, Restoration("deblock", size=0.04).restore(blocks)) > psnr(picture, blocks) + 1


@pytest.mark.parametrize("attack", [Restoration("wiener"), Restoration("sharpen", size=0.03, amount=1)])
def test_deconvolution_comes_closer_to_the_picture_than_its_blur(attack, make_picture):
    picture = make_picture(128, 100)
    blurred = cv2.GaussianBlur(picture, (0, 0), 0.03 * 100)
    assert psnr(picture, attack.restore(blurred)) > psnr(picture, blurred) + 1


def test_upscaling_enlarges_small_crops_only(make_picture):
    assert upscale(make_picture(50, 60), 100).shape == (100, 120, 3)
    large = make_picture(120, 150)
    assert upscale(large, 100) is large


@pytest.mark.parametrize("method", ["deblock", "wiener", "sharpen", "upscale"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (33, 7)])
def test_any_crop_is_taken_and_left_as_it_was(method, shape, make_picture):
    crop = make_picture(*shape)
    before = crop.copy()
    restored = Restoration(method).restore(crop)
    assert restored.dtype == np.uint8
    assert restored.shape == (*shape, 3) or method == "upscale"
    assert (crop == before).all()
    flat = np.full((20, 30, 3), 77, np.uint8)
    assert abs(Restoration(method).restore(flat).astype(int) - 77).max() <= 1


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("blur", {}, "choose from deblock, wiener"),
        ("deblock", {"noise": 1}, "attack.deblock.noise=1: no such option; it has size"),
        ("wiener", {"size": 0}, "attack.wiener.size=0: must be a number above 0"),
        ("wiener", {"noise": "much"}, "attack.wiener.noise=much: must be a number above 0"),
    ],
)
def test_bad_options_are_named(method, options, message):
    with pytest.raises(AttackError, match=message):
        Restoration(method, **options)
