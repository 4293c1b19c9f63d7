"""Image and mask move together, pixel by pixel."""

import numpy as np
import pytest
import torch

from datamodules import transforms


@pytest.fixture
def coordinates():
    """An image whose pixels hold their own place (row, column, 0), and a mask with a pattern known from the place."""
    y, x = np.mgrid[0:90, 0:120]
    image = np.stack([y, x, np.zeros_like(y)], axis=-1).astype(np.uint8)
    return image, pattern(y, x)


def pattern(y, x):
    return ((7 * y.astype(int) + 3 * x.astype(int)) % 11 < 4).astype(np.uint8)


def assert_aligned(image, mask):
    np.testing.assert_array_equal(mask, pattern(image[..., 0], image[..., 1]))


def test_crop_and_flip_keep_image_and_mask_aligned(coordinates):
    places, mirrored = set(), set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        image, mask = transforms.random_flip(*transforms.random_crop(*coordinates, 32, rng), rng)
        assert image.shape == (32, 32, 3)
        assert_aligned(image, mask)
        places.add((image[0, 0, 0], image[..., 1].min()))
        mirrored.add(bool(image[0, 0, 1] > image[0, 1, 1]))
    assert len(places) > 50
    assert mirrored == {True, False}


def test_every_place_can_be_drawn(coordinates):
    image, mask = (array[:34, :33] for array in coordinates)
    drawn = {tuple(transforms.random_crop(image, mask, 32, np.random.default_rng(s))[0][0, 0, :2]) for s in range(200)}
    assert drawn == {(y, x) for y in range(3) for x in range(2)}


def test_crops_with_too_few_masked_pixels_are_drawn_again(coordinates):
    image, mask = coordinates[0], np.zeros((90, 120), np.uint8)
    mask[40:50, 40:50] = 1
    drawn = {least: [] for least in (0, 1, 60, 101)}
    for seed in range(200):
        for least, crops in drawn.items():
            rng = np.random.default_rng(seed)
            crop, weight = transforms.random_crop(image, mask, 32, rng, least)
            np.testing.assert_array_equal(weight, (np.abs(crop[..., :2] - 44.5) < 5).all(axis=-1))
            crops.append((tuple(crop[0, 0]), int(weight.sum())))
    share = {least: np.mean([pixels >= max(least, 1) for _, pixels in crops]) for least, crops in drawn.items()}
    assert share[0] < 0.5
    assert share[1] > 0.95
    assert 0.8 < share[60] < share[1]
    assert share[101] == 0, "a crop is taken as it comes when no draw will do"
    # A first draw that will do is taken, so that the option changes no other sample.
    assert all(crop == again for crop, again in zip(drawn[0], drawn[60], strict=True) if crop[1] >= 60)


def test_the_centre(coordinates):
    image, mask = transforms.centre_crop(*coordinates, 50)
    assert image[0, 0].tolist() == [20, 35, 0]
    assert_aligned(image, mask)


@pytest.mark.parametrize("shape", [(20, 120), (90, 10), (1, 1), (5, 7)])
def test_small_images_are_padded(coordinates, rng, shape):
    image, mask = (array[: shape[0], : shape[1]] for array in coordinates)
    big, weight = transforms.random_crop(image, np.ones_like(mask), 64, rng)
    assert big.shape == (64, 64, 3)
    rows, columns = min(shape[0], 64), min(shape[1], 64)
    assert weight.sum() == rows * columns, "no distortion is counted outside the picture"
    np.testing.assert_array_equal(np.diff(big[: rows or 1, 0, 0].astype(int)), 1)
    if shape == (20, 120):
        np.testing.assert_array_equal(big[20:40], big[:20][::-1])


def test_large_images_are_not_padded(coordinates):
    image, mask = transforms.pad(*coordinates, 64, 64)
    assert image is coordinates[0]
    assert mask is coordinates[1]


@pytest.mark.parametrize("factor", [0.37, 0.5, 0.81, 1.0, 1.6])
def test_resizing_keeps_edges_in_place_and_whole(factor):
    image = np.zeros((80, 100, 3), np.uint8)
    image[:, 60:] = 255
    mask = np.zeros((80, 100), np.uint8)
    mask[:, 60] = 1
    small, edge = transforms.resize(image, mask, factor)
    assert small.shape[:2] == edge.shape == (round(80 * factor), round(100 * factor))
    assert set(np.unique(edge)) == {0, 1}
    assert edge.any(axis=1).all(), "the line is unbroken"
    step = np.abs(np.diff(small[10, :, 0].astype(int))).argmax() + 1
    assert np.abs(np.flatnonzero(edge[10]) - step).max() <= 1 + factor


def test_random_resizes_fill_their_range(coordinates):
    heights = [
        transforms.random_resize(*coordinates, 0.5, 1.0, np.random.default_rng(seed))[0].shape[0] for seed in range(80)
    ]
    assert 45 <= min(heights) < 50
    assert 85 < max(heights) <= 90


def test_tensors(coordinates):
    image, mask = transforms.to_tensors(coordinates[0][:, ::-1], coordinates[1][:, ::-1])
    assert image.shape == (3, 90, 120)
    assert mask.shape == (1, 90, 120)
    assert image.dtype == mask.dtype == torch.float32
    assert torch.equal((image[0] * 255).round().to(torch.uint8), torch.from_numpy(coordinates[0][:, ::-1, 0].copy()))
    assert set(mask.unique().tolist()) == {0.0, 1.0}
