"""What pycocotools must not get: each of these made it hang, crash or answer nonsense."""

import numpy as np
import pytest
from pycocotools import mask

from icm.metrics.segmentation import check_segmentation

SQUARE = [[2, 2, 20, 2, 20, 20, 2, 20]]


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 1, 9, float("inf"), 9, 9]],
        [[1, 1, 9, float("nan"), 9, 9]],
        [[1, 1, 9, 1e9, 9, 9]],
        [[1, 1, 9, "9", 9, 9]],
        [[1, 1, 9, 9]],
        [[1, 1, 9, 9, 2, 2, 3]],
        [SQUARE[0], 5],
        "text",
        7,
        {"size": [30, 40]},
        {"size": [30, 40], "counts": [155, 15, 15]},
        {"size": [30, 40], "counts": [1300, -100]},
        {"size": [40, 30], "counts": [1200]},
        {"size": [30, 40], "counts": "e7??00000000000[]00000000000000000000000000W9"},
        {"size": [30, 40], "counts": "e7??0000000000000"},
        {"size": [30, 40], "counts": "ooooooooooooooooo"},
    ],
)
def test_what_makes_no_sense_is_refused(segmentation):
    with pytest.raises(ValueError, match=r"\w"):
        check_segmentation(segmentation, 30, 40)


def test_what_coco_writes_is_accepted(rng):
    check_segmentation(SQUARE, 30, 40)
    for _ in range(50):
        height, width = (int(side) for side in rng.integers(1, 60, 2))
        pixels = np.asfortranarray(rng.random((height, width)) < rng.random(), dtype=np.uint8)
        encoded = mask.encode(pixels)
        check_segmentation({**encoded, "counts": encoded["counts"].decode()}, height, width)
        check_segmentation(encoded, height, width)
