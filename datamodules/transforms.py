"""Cropping, flipping and resizing of an image and its mask together, as pure functions.

An image is (H, W, 3) uint8 RGB and its mask (H, W), or several as (H, W, masks), uint8 of 0 and 1; all always receive
the same geometry. Randomness comes from the numpy Generator that is passed in, so that a sample can be made again from
its seed.
"""

import cv2
import numpy as np
import torch

CROP_DRAWS = 10

Pair = tuple[np.ndarray, np.ndarray]


def pad(image: np.ndarray, mask: np.ndarray, height: int, width: int) -> Pair:
    """Grow both to at least ``height`` x ``width`` at the bottom and right.

    The image continues by reflection (no invented edges); the mask is 0 there, so that no distortion is paid for
    pixels that are not in the picture, with any kind of mask.
    """
    bottom, right = max(height - image.shape[0], 0), max(width - image.shape[1], 0)
    if not bottom and not right:
        return image, mask
    return (
        cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REFLECT),
        cv2.copyMakeBorder(mask, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=0),
    )


def random_crop(image: np.ndarray, mask: np.ndarray, size: int, rng: np.random.Generator, least: int = 0) -> Pair:
    """A square of ``size`` pixels from a uniformly random place; smaller images are padded first (`pad`).

    A square with fewer than ``least`` set pixels of the (first) mask is drawn again, at most `CROP_DRAWS` times in all;
    then the last one is taken as it is.
    """
    image, mask = pad(image, mask, size, size)
    for _ in range(CROP_DRAWS):
        y = int(rng.integers(image.shape[0] - size + 1))
        x = int(rng.integers(image.shape[1] - size + 1))
        square = slice(y, y + size), slice(x, x + size)
        if np.count_nonzero(np.atleast_3d(mask)[square][..., 0]) >= least:
            break
    return image[square], mask[square]


def centre_crop(image: np.ndarray, mask: np.ndarray, size: int) -> Pair:
    """The middle square of ``size`` pixels; smaller images are padded first (`pad`)."""
    image, mask = pad(image, mask, size, size)
    y, x = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
    return image[y : y + size, x : x + size], mask[y : y + size, x : x + size]


def random_flip(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
    """Mirrored left to right, half of the time."""
    if rng.random() < 0.5:
        return image[:, ::-1], mask[:, ::-1]
    return image, mask


def random_resize(image: np.ndarray, mask: np.ndarray, low: float, high: float, rng: np.random.Generator) -> Pair:
    """Scaled by a factor drawn evenly in logarithm from [low, high]."""
    return resize(image, mask, float(np.exp(rng.uniform(np.log(low), np.log(high)))))


def resize(image: np.ndarray, mask: np.ndarray, factor: float) -> Pair:
    """Scaled by ``factor`` (> 0): the image by area averaging or linear interpolation.

    A mask pixel is set where any part of a set pixel falls when shrinking, so that thin edges never break up, and by
    nearest neighbour when growing.
    """
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    if factor < 1:
        return (
            cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA),
            (cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) > 1e-6).astype(
                np.uint8
            ),
        )
    return (
        cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR),
        cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT),
    )


def to_tensors(image: np.ndarray, mask: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Image as float32 (3, H, W) in [0, 1] and mask as float32 (1, H, W), or (masks, H, W), of 0 and 1."""
    pixels = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / 255
    return torch.from_numpy(pixels), torch.from_numpy(
        np.ascontiguousarray(np.atleast_3d(mask).transpose(2, 0, 1), dtype=np.float32)
    )
