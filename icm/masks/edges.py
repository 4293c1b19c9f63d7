"""Edges and interiors of binary masks, as pure functions on arrays.

Every mask here is (H, W) with 0 outside and anything else inside (bool or uint8); every result is uint8 of 0 and 1. The
edge of a mask is its Canny edge (Canny 1986), as in SA-ICM. A binary mask has no weak gradients, so Canny's two
thresholds do not matter. Canny sees the image as continued by its border pixels, so an object that leaves the picture
has an edge where its outline runs through the picture and none along the picture's border.
"""

from collections.abc import Iterable

import cv2
import numpy as np

from icm.errors import UserError

_CANNY_LOW, _CANNY_HIGH = 100, 200
# Pixels kept around a mask's bounding box: Canny looks two pixels away (a 3x3 gradient, then its 3x3 neighbourhood).
_MARGIN = 3


class MaskError(UserError):
    """A mask, a mask file or a mask setting that cannot be used; names it and the remedy."""


def mask_edge(mask: np.ndarray) -> np.ndarray:
    """Canny edge of one binary mask.

    A mask that is neither empty nor full always has an edge: for the few shapes of one or two pixels' width on which
    Canny's gradients cancel (a 2x2 square), it is the mask's own outermost pixels.
    """
    return union_of_edges([mask], *mask.shape)


def union_of_edges(masks: Iterable[np.ndarray], height: int, width: int) -> np.ndarray:
    """Union of the edges of ``masks``, each (height, width); all zeros when there is none."""
    union = np.zeros((height, width), np.uint8)
    for mask in masks:
        _check_shape(mask, height, width)
        # Only the part of the picture near a mask is worked on: the result is the same and small objects cost little.
        box = _box_around(mask)
        union[box] |= _edge(np.ascontiguousarray(mask[box] != 0, np.uint8))
    return union


def _box_around(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return slice(0, 0), slice(0, 0)
    return (
        slice(max(rows[0] - _MARGIN, 0), rows[-1] + 1 + _MARGIN),
        slice(max(columns[0] - _MARGIN, 0), columns[-1] + 1 + _MARGIN),
    )


def _edge(mask: np.ndarray) -> np.ndarray:
    if mask.size == 0:
        return mask
    edge = (cv2.Canny(mask * 255, _CANNY_LOW, _CANNY_HIGH) != 0).astype(np.uint8)
    if not edge.any():
        edge = mask & (cv2.erode(mask, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))) == 0)
    return edge


def union_of_interiors(masks: Iterable[np.ndarray], height: int, width: int) -> np.ndarray:
    """Union of ``masks`` themselves (the object regions), each (height, width); all zeros when there is none."""
    union = np.zeros((height, width), np.uint8)
    for mask in masks:
        _check_shape(mask, height, width)
        union |= mask != 0
    return union


def dilate(mask: np.ndarray, size: int) -> np.ndarray:
    """``mask`` dilated by a square of ``size`` x ``size`` pixels (odd, 1 for none).

    Raises:
        MaskError: the size is something else.
    """
    check_dilation(size)
    mask = (mask != 0).astype(np.uint8)
    return mask if size == 1 else cv2.dilate(mask, np.ones((size, size), np.uint8))


def check_dilation(size: int) -> None:
    """Raise `MaskError` unless ``size`` can be the side of a centred square."""
    if not isinstance(size, int) or size < 1 or size % 2 == 0:
        raise MaskError(f"masks.dilation={size}: use an odd number of pixels, 1 for none, 3 for one pixel on each side")


def check_number(name: str, value: float, least: float, most: float, whole: bool = False) -> None:
    """Raise `MaskError` unless the option ``masks.<name>`` is a (``whole``) number from ``least`` to ``most``."""
    if not isinstance(value, int if whole else int | float) or not least <= value <= most:
        raise MaskError(f"masks.{name}={value}: use a {'whole ' * whole}number from {least} to {most}")


def _check_shape(mask: np.ndarray, height: int, width: int) -> None:
    if mask.shape != (height, width):
        raise MaskError(f"a mask of {mask.shape[1]}x{mask.shape[0]} pixels does not fit an image of {width}x{height}")
