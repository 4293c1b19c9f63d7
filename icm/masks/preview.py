"""A picture of a few images beside their masks, to see at a glance whether masks are right."""

import cv2
import numpy as np

_HEIGHT, _WIDTH, _GAP = 240, 320, 8
_COLOUR = (255, 32, 32)


def contact_sheet(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Rows of two image-and-overlay couples.

    Args:
        pairs: Images (h, w, 3) uint8 RGB with masks (h, w) uint8 of 0 and 1; each is fitted into a cell of 320 x 240
            pixels.

    Returns:
        (H, W, 3) uint8 RGB, on white.
    """
    cells = [cell for image, mask in pairs for cell in _cells(image, mask)]
    rows, columns = (len(cells) + 3) // 4, min(len(cells), 4)
    sheet = np.full((rows * (_HEIGHT + _GAP) + _GAP, columns * (_WIDTH + _GAP) + _GAP, 3), 255, np.uint8)
    for index, cell in enumerate(cells):
        y, x = _GAP + index // 4 * (_HEIGHT + _GAP), _GAP + index % 4 * (_WIDTH + _GAP)
        sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    return sheet


def _cells(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    factor = min(_HEIGHT / image.shape[0], _WIDTH / image.shape[1])
    size = tuple(max(1, round(side * factor)) for side in (image.shape[1], image.shape[0]))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    # By area, so that one-pixel edges stay visible in the small picture.
    weight = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)[..., None].clip(0, 0.5) * 2
    overlay = small * (1 - weight) + np.array(_COLOUR, np.float32) * weight
    return small, np.rint(overlay).astype(np.uint8)
