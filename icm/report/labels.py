"""Texts beside the dots of a plot, placed where they cover neither each other nor a dot."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Where a text may stand, as fractions of its own size and points of distance: right, left, above, below, corners.
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_GAPS = (3.5, 7.0)


@dataclass(frozen=True)
class Label:
    """A text for a dot at (x, y) of the data, drawn in a colour."""

    x: float
    y: float
    text: str
    color: str


def place_labels(axes, labels: Sequence[Label], curves: Sequence[Sequence[tuple[float, float]]], size: float) -> None:
    """Write every label that has room, the ones given first before the others.

    Args:
        axes: matplotlib axes whose limits are final, in a figure whose layout has been made.
        labels: One for each dot; a text that would cover another text or any dot is left out.
        curves: Corner points of the lines, in data coordinates: texts avoid them where they can.
        size: Of the font, in points.
    """
    figure = axes.figure
    renderer = figure.canvas.get_renderer()
    pixel = figure.dpi / 72
    # Spines and dots are in the way, and so is what lies outside.
    room = axes.get_window_extent(renderer)
    dots = [axes.transData.transform((label.x, label.y)) for label in labels]
    taken = [_around(dot, 3.2 * pixel) for dot in dots]
    ink = np.concatenate(
        [_along(axes.transData.transform(curve)) for curve in curves if len(curve)] or [np.empty((0, 2))]
    )
    for label, dot in zip(labels, dots, strict=True):
        text = axes.text(label.x, label.y, label.text, fontsize=size, color=label.color, in_layout=False)
        extent = text.get_window_extent(renderer)
        half = np.array([extent.width, extent.height]) / 2
        best = None
        for gap in _GAPS:
            for side in _SIDES:
                offset = np.array(side) * (half + gap * pixel * (0.6 if all(side) else 1))
                box = (*(dot + offset - half), *(dot + offset + half))
                if _inside(box, room) and not any(_overlap(box, other) for other in taken):
                    crossed = int(_within(ink, box).sum())
                    if best is None or crossed < best[0]:
                        best = crossed, box
        if best is None:
            text.remove()
            continue
        taken.append(best[1])
        corner = axes.transData.inverted().transform(best[1][:2])
        text.set_position(corner)
        text.set(ha="left", va="bottom")


def overlaps(figure) -> list[tuple[str, str]]:
    """The pairs of visible texts of a figure whose boxes overlap as it is drawn."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    boxes = [(text.get_text(), text.get_window_extent(renderer).extents) for text in texts]
    return [
        (first, second)
        for index, (first, box) in enumerate(boxes)
        for second, other in boxes[index + 1 :]
        if _overlap(box, other)
    ]


def _around(dot: np.ndarray, half: float) -> tuple[float, float, float, float]:
    return dot[0] - half, dot[1] - half, dot[0] + half, dot[1] + half


def _along(corners: np.ndarray) -> np.ndarray:
    """Points close to each other along a line of (n, 2) corners."""
    pieces = [np.linspace(first, second, 24) for first, second in itertools.pairwise(corners)]
    return np.concatenate(pieces) if pieces else corners


def _within(points: np.ndarray, box: tuple) -> np.ndarray:
    return (points[:, 0] > box[0]) & (points[:, 0] < box[2]) & (points[:, 1] > box[1]) & (points[:, 1] < box[3])


def _inside(box: tuple, room) -> bool:
    return bool(box[0] >= room.x0 and box[1] >= room.y0 and box[2] <= room.x1 and box[3] <= room.y1)


def _overlap(first: tuple, second: tuple) -> bool:
    return bool(first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3])
