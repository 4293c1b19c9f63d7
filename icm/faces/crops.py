"""Cutting faces out of images."""

import numpy as np

from icm.faces.boxes import Box


def crop(image: np.ndarray, box: Box) -> np.ndarray:
    """The pixels of ``box``, a view of shape (box.height, box.width, 3).

    Args:
        image: HWC uint8 RGB. The original and the coded image are cropped at the same box, so both have the size the
            box was found in.

    Raises:
        ValueError: the box does not lie inside the image (it was found in another image).
    """
    height, width = image.shape[:2]
    if box.x < 0 or box.y < 0 or box.x + box.width > width or box.y + box.height > height:
        raise ValueError(f"{box} does not lie inside an image of {width}x{height}")
    return image[box.y : box.y + box.height, box.x : box.x + box.width]
