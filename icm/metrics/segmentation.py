"""COCO segmentations, checked before pycocotools gets them: its C code hangs or crashes on numbers without sense."""

from typing import Any

import numpy as np

# How far outside its image a polygon may reach, in (height + width): its outline is walked in fifths of a pixel.
_REACH = 4


def check_segmentation(segmentation: Any, height: int, width: int) -> None:
    """Accept a list of polygons, or a run-length encoding ({"size", "counts"}, of numbers or of text) of an image.

    Raises:
        ValueError: It is something else; the message says what.
    """
    if isinstance(segmentation, dict):
        _check_runs(segmentation, height, width)
        return
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        raise ValueError("it is neither a list of polygons nor a run-length encoding")
    for polygon in segmentation:
        check_numbers(polygon, "a polygon")
        if len(polygon) % 2 or len(polygon) < 6:
            raise ValueError("a polygon needs three points, six numbers")
        if np.abs(polygon).max() > _REACH * (height + width):
            raise ValueError(f"a polygon reaches {np.abs(polygon).max():.3g} pixels from an image of {width}x{height}")


def check_numbers(values: Any, what: str) -> None:
    """ValueError unless ``values`` is a list of finite numbers."""
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise ValueError(f"{what} is no list of numbers")
    if not all(abs(value) < 1e15 for value in values):
        raise ValueError(f"{what} has numbers that are none, or endless")


def _check_runs(encoding: dict, height: int, width: int) -> None:
    size, counts = encoding.get("size"), encoding.get("counts", [])
    if not isinstance(size, list) or size != [height, width]:
        raise ValueError(f"a mask of {str(size)[:40]} pixels for {height}x{width} (H x W)")
    if isinstance(counts, str | bytes):
        runs = _from_text(counts.encode("ascii") if isinstance(counts, str) else counts)
    else:
        check_numbers(counts, "counts")
        runs = list(counts)
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"its runs do not fill an image of {width}x{height}")


def _from_text(text: bytes) -> list[int]:
    """Run lengths from COCO's text: 5 bits a character, lowest first; from the fourth on less the last but one."""
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not codes.size:
        return []
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("its counts are no run-length text")
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() > 6:
        raise ValueError("its counts are no run-length text")
    places = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    values = np.add.reduceat((codes & 31) << 5 * places, starts)
    values -= np.where(codes[ends] & 16, 1 << 5 * (ends - starts + 1), 0)
    values[1::2] = values[1::2].cumsum()
    values[2::2] = values[2::2].cumsum()
    return values.tolist()
