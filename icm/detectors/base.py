"""What every object detector is, and COCO's classes."""

from importlib.metadata import version
from typing import Protocol

import numpy as np

from icm.errors import UserError
from icm.parts import Part


class DetectorError(UserError):
    """A detector that does not exist or cannot be loaded."""


class ObjectDetector(Part, Protocol):
    """A detector behind one interface.

    Attributes:
        title: What people call it.
        kinds: What it finds, of ``bbox``, ``segm`` and ``keypoints`` (`icm.metrics.detection.KINDS`).
        categories: What its category ids mean.
    """

    title: str
    kinds: tuple[str, ...]
    categories: dict[int, str]

    def predict(self, image: np.ndarray) -> list[dict]:
        """The objects in a picture, surest first.

        Args:
            image: (H, W, 3) uint8 RGB of any size.

        Returns:
            Dictionaries in COCO's result format, of JSON values: ``category_id``, ``score`` 0 to 1, ``bbox`` (x, y,
            width, height in pixels), and for kinds ``segm`` and ``keypoints`` also ``segmentation`` (compressed RLE as
            text, the size of the picture) and ``keypoints`` (17 times x, y, 1).
        """
        ...


# COCO's 80 classes by the ids of its annotations, which are 1 to 90 with ten gaps (Lin et al. 2014).
COCO_CATEGORIES = {
    1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train", 8: "truck", 9: "boat",
    10: "traffic light", 11: "fire hydrant", 13: "stop sign", 14: "parking meter", 15: "bench", 16: "bird", 17: "cat",
    18: "dog", 19: "horse", 20: "sheep", 21: "cow", 22: "elephant", 23: "bear", 24: "zebra", 25: "giraffe",
    27: "backpack", 28: "umbrella", 31: "handbag", 32: "tie", 33: "suitcase", 34: "frisbee", 35: "skis",
    36: "snowboard", 37: "sports ball", 38: "kite", 39: "baseball bat", 40: "baseball glove", 41: "skateboard",
    42: "surfboard", 43: "tennis racket", 44: "bottle", 46: "wine glass", 47: "cup", 48: "fork", 49: "knife",
    50: "spoon", 51: "bowl", 52: "banana", 53: "apple", 54: "sandwich", 55: "orange", 56: "broccoli", 57: "carrot",
    58: "hot dog", 59: "pizza", 60: "donut", 61: "cake", 62: "chair", 63: "couch", 64: "potted plant", 65: "bed",
    67: "dining table", 70: "toilet", 72: "tv", 73: "laptop", 74: "mouse", 75: "remote", 76: "keyboard",
    77: "cell phone", 78: "microwave", 79: "oven", 80: "toaster", 81: "sink", 82: "refrigerator", 84: "book",
    85: "clock", 86: "vase", 87: "scissors", 88: "teddy bear", 89: "hair drier", 90: "toothbrush",
}  # fmt: skip


def versions(*packages: str) -> str:
    """``"torch 2.12.1, torchvision 0.27.1"``, without importing the packages."""
    return ", ".join(f"{package} {version(package)}" for package in packages)


def found(category: int, score: float, corners: list[float]) -> dict:
    """A detection in COCO's result format; ``corners`` are left, top, right, bottom."""
    left, top, right, bottom = (float(value) for value in corners)
    return {"category_id": int(category), "score": float(score), "bbox": [left, top, right - left, bottom - top]}
