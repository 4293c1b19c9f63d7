"""Cutting faces out of images."""

import math

import numpy as np

from icm.faces.boxes import Box


def crop(image: np.ndarray, box: Box) -> np.ndarray:
    """The pixels of ``box``, a view of shape (box.height, box.width, 3).

    Args:
        image: HWC uint8 RGB. The original and the coded image are cropped at the same box, so both have the size the
            box was found in.
        box: A face.

    Raises:
        ValueError: The box does not lie inside the image (it was found in another image).
    """
    height, width = image.shape[:2]
    if box.x < 0 or box.y < 0 or box.x + box.width > width or box.y + box.height > height:
        raise ValueError(f"{box} does not lie inside an image of {width}x{height}")
    return image[box.y : box.y + box.height, box.x : box.x + box.width]


def aligned_crop(image: np.ndarray, box: Box) -> np.ndarray:
    """The pixels of ``box`` once the image is turned about its centre until the eyes are level, black beyond its edge.

    As DeepFace aligns. What is done depends on the box alone: the original and the coded image are turned alike, by the
    eyes that were found in the original. Without eyes it is `crop`, as in DeepFace.

    Args:
        image: HWC uint8 RGB.
        box: A face.

    Returns:
        (box.height, box.width, 3) uint8 RGB.

    Raises:
        ValueError: The box does not lie inside the image.
    """
    import cv2

    face = crop(image, box)
    if box.eyes is None:
        return face
    (right_x, right_y), (left_x, left_y) = box.eyes
    angle = math.degrees(math.atan2(left_y - right_y, left_x - right_x))
    x, y = box.x + box.width // 2, box.y + box.height // 2
    # Only what can turn into the box: OpenCV takes no image of more than 32767 pixels a side.
    reach = math.ceil(math.hypot(box.width, box.height) / 2) + 2
    left, top = max(0, x - reach), max(0, y - reach)
    around = np.ascontiguousarray(image[top : y + reach, left : x + reach])
    turn = cv2.getRotationMatrix2D((x - left, y - top), angle, 1.0)
    turn[:, 2] -= box.x - left, box.y - top
    return cv2.warpAffine(around, turn, (box.width, box.height), flags=cv2.INTER_CUBIC)
