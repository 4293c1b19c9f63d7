"""One image in one figure: before and after coding, what changed, its edges, and what recognisers make of its faces;
or the flow of the evaluation drawn with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icm.codecs.base import Codec, payload_size
from icm.evaluation.faces import FacesTask
from icm.faces.boxes import Box
from icm.faces.crops import aligned_crop, crop
from icm.metrics.privacy import cosine_similarity
from icm.metrics.quality import psnr
from icm.metrics.rate import bits_per_pixel
from icm.report.figures import INK, MUTED, SIZE, WIDTHS

FACES = 6
GAIN = 4  # differences are drawn this much stronger
HEIGHT = 3.9  # of the flow, in inches
_BOX = "#ffb000"


@dataclass(frozen=True)
class Shown:
    """What is to be seen of one image.

    Attributes:
        original, coded: (height, width, 3) uint8 RGB.
        mask: (height, width) uint8, 0 where there is no edge.
        title: Of the codec at its point.
        bytes: Of the codec's payload.
        bpp: Of the payload, in bits per pixel.
        psnr: In dB; None for a lossless codec.
        boxes: The faces of the original.
        similarities: By recogniser, the cosine similarity of every face before and after coding.
    """

    original: np.ndarray
    coded: np.ndarray
    mask: np.ndarray
    title: str
    bytes: int
    bpp: float
    psnr: float | None
    boxes: list[Box]
    similarities: dict[str, list[float]]


def look(image: np.ndarray, codec: Codec, task: FacesTask, mask: np.ndarray | None = None) -> Shown:
    """Code an image, find its faces and compare them.

    Args:
        image: (height, width, 3) uint8 RGB.
        codec: At its point.
        task: Its detector finds the faces, in the original; its recognisers compare them.
        mask: (height, width), 0 where there is no edge; None: the Canny edges of the original.

    Raises:
        UserError: The codec cannot code it.
    """
    boxes = task.detector.detect(image)
    bitstream = codec.encode(image, [(box.x, box.y, box.width, box.height) for box in boxes])
    coded = codec.decode(bitstream)
    similarities = {}
    for embedder in task.embedders if boxes else ():
        cut = aligned_crop if embedder.align else crop
        before, after = (embedder.embed([cut(picture, box) for box in boxes]) for picture in (image, coded))
        similarities[embedder.title] = [float(value) for value in cosine_similarity(before, after)]
    size, quality = payload_size(bitstream), psnr(image, coded)
    finite = quality if quality is not None and np.isfinite(quality) else None
    return Shown(image, coded, canny(image) if mask is None else mask, codec.title, size,
                 bits_per_pixel(size, *image.shape[:2]), finite, boxes, similarities)  # fmt: skip


def canny(image: np.ndarray) -> np.ndarray:
    """Canny edges of a picture, (height, width) uint8 of 0 and 255."""
    import cv2

    return cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 100, 200)


def overview(shown: Shown) -> Any:
    """The image, the coded image, their difference and the edges; below them every face before and after coding."""
    height, width = shown.original.shape[:2]
    faces = min(len(shown.boxes), FACES)
    rows = [WIDTHS["page"] / 4 * height / width]
    lines = 0.0
    if faces:
        rows.append(WIDTHS["page"] / (2 * FACES) * max(box.height / box.width for box in shown.boxes[:faces]))
        lines = 0.13 * len(shown.similarities)
    # Inches: two lines of title above, a line between the rows, one for each recogniser below.
    tall = 0.4 + sum(rows) + 0.3 * (len(rows) - 1) + lines + 0.05
    figure = _figure(WIDTHS["page"], tall)
    grid = figure.add_gridspec(len(rows), 1, height_ratios=rows, left=0.01, right=0.99, top=1 - 0.4 / tall,
                               bottom=(lines + 0.05) / tall, hspace=0.3 / (sum(rows) / len(rows)))  # fmt: skip
    quality = "lossless" if shown.psnr is None else f"{shown.psnr:.2f} dB"
    change = np.clip(GAIN * np.abs(shown.original.astype(int) - shown.coded), 0, 255).astype(np.uint8)
    edges = np.where(shown.mask != 0, 0, 255).astype(np.uint8)
    panels = [
        (shown.original, "original"),
        (shown.coded, f"{shown.title}\n{shown.bpp:.3f} bpp, {quality}"),
        (change, f"difference, {GAIN} times"),
        (edges, "edges"),
    ]
    for index, (cell, (picture, title)) in enumerate(zip(grid[0].subgridspec(1, 4, wspace=0.03), panels, strict=True)):
        axes = _picture(figure.add_subplot(cell), picture)
        axes.set_title(title, fontsize=SIZE, color=INK)
        if index < 2:
            _draw_boxes(axes, shown.boxes)
    if faces:
        cells = grid[1].subgridspec(1, 2 * FACES, wspace=0.06)
        for index, box in enumerate(shown.boxes[:faces]):
            first, _ = (_picture(figure.add_subplot(cells[2 * index + side]), crop(picture, box))
                        for side, picture in enumerate((shown.original, shown.coded)))  # fmt: skip
            first.set_title(f"face {index}", fontsize=SIZE - 1, color=MUTED, loc="left")
            values = "\n".join(f"{name} {found[index]:.3f}" for name, found in shown.similarities.items())
            first.text(0, -0.06, values, transform=first.transAxes, fontsize=SIZE - 1.5, color=INK, va="top")
    return figure


def flow(shown: Shown) -> Any:
    """The way of an image through the evaluation: coded and decoded above, its first face compared below."""
    figure = _figure(WIDTHS["page"], HEIGHT)
    height, width = shown.original.shape[:2]
    square = WIDTHS["page"] / HEIGHT
    tall = min(0.42, 0.30 * square * height / width)
    for left, picture, title in ((0.02, shown.original, "original"), (0.68, shown.coded, "coded picture")):
        axes = _picture(figure.add_axes((left, 0.94 - tall, 0.30, tall)), picture)
        axes.set_title(title, fontsize=SIZE, color=INK)
        _draw_boxes(axes, shown.boxes)
    middle = 0.94 - tall / 2
    _text(figure, 0.50, middle, f"{shown.title}\n{shown.bytes:,} bytes\n{shown.bpp:.3f} bpp", framed=True)
    _step(figure, (0.33, middle), (0.40, middle))
    _step(figure, (0.60, middle), (0.67, middle))
    if not shown.boxes:
        _text(figure, 0.5, 0.25, "no face found")
        return figure
    box = shown.boxes[0]
    crop_tall = min(0.30, 0.10 * square * box.height / box.width)
    for left, picture, text in (
        (0.12, shown.original, "faces found\nin the original"),
        (0.78, shown.coded, "cut out at\nthe same boxes"),
    ):
        _picture(figure.add_axes((left, 0.05, 0.10, crop_tall)), crop(picture, box))
        _step(figure, (left + 0.05, 0.94 - tall - 0.01), (left + 0.05, 0.05 + crop_tall + 0.01), text)
    at = 0.05 + crop_tall / 2
    lines = "\n".join(f"{name}: {values[0]:.3f}" for name, values in shown.similarities.items())
    _text(figure, 0.50, at, f"recognise both\ncosine similarity\n{lines}", framed=True)
    _step(figure, (0.23, at), (0.39, at))
    _step(figure, (0.77, at), (0.61, at))
    return figure


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def _picture(axes: Any, picture: np.ndarray) -> Any:
    axes.set(xticks=[], yticks=[])
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
    axes.set_axis_off()
    return axes


def _draw_boxes(axes: Any, boxes: Sequence[Box]) -> None:
    from matplotlib.patches import Rectangle

    for index, box in enumerate(boxes):
        axes.add_patch(Rectangle((box.x, box.y), box.width, box.height, fill=False, edgecolor=_BOX, linewidth=1.1))
        axes.text(box.x, max(box.y - 2, 14), str(index), fontsize=SIZE - 2.5, color="black", va="bottom",
                  bbox={"facecolor": _BOX, "edgecolor": "none", "pad": 0.6})  # fmt: skip


def _text(figure: Any, x: float, y: float, text: str, framed: bool = False) -> None:
    frame = {"boxstyle": "round,pad=0.5", "facecolor": "#f1f2f0", "edgecolor": MUTED, "linewidth": 0.7}
    figure.text(x, y, text, ha="center", va="center", fontsize=SIZE, color=INK, bbox=frame if framed else None)


def _step(figure: Any, start: tuple[float, float], end: tuple[float, float], text: str = "") -> None:
    from matplotlib.patches import FancyArrowPatch

    figure.add_artist(FancyArrowPatch(start, end, transform=figure.transFigure, arrowstyle="-|>", mutation_scale=9,
                                      color=MUTED, linewidth=1))  # fmt: skip
    if text:
        figure.text(start[0] + 0.012, (start[1] + end[1]) / 2, text, fontsize=SIZE - 1, color=MUTED, va="center")
