"""Pictures composed of cut-outs on a background, with the exact outline of everything pasted.

Copy-paste composition after Dwibedi et al. 2017 ("Cut, Paste and Learn") and Ghiasi et al. 2021; dead leaves after Lee,
Mumford and Huang 2001.
"""

from collections.abc import Sequence

import cv2
import numpy as np

Box = tuple[float, float, float, float]  # x, y, width, height in pixels


class Canvas:
    """A picture under construction.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        labels: (H, W) int32, the number of the topmost cut-out at each pixel, 0 for the background.
        own_edges: (H, W) uint8 of 0 and 1, edges that the background and the cut-outs bring inside their own outline.
        faces: (H, W) uint8 of 0 and 1, where faces are seen.
        count: Number of cut-outs.
    """

    def __init__(self, pixels: np.ndarray, own_edges: np.ndarray | None = None, faces: np.ndarray | None = None):
        self.pixels = np.array(pixels)
        self.labels = np.zeros(pixels.shape[:2], np.int32)
        self.own_edges = np.zeros(pixels.shape[:2], np.uint8) if own_edges is None else np.array(own_edges)
        self.faces = np.zeros(pixels.shape[:2], np.uint8) if faces is None else np.array(faces)
        self.count = 0

    def paste(
        self,
        pixels: np.ndarray,
        alpha: np.ndarray,
        y: int,
        x: int,
        own_edges: np.ndarray | None = None,
        faces: np.ndarray | None = None,
    ) -> None:
        """Lay a cut-out over the picture.

        Args:
            pixels: (h, w, 3) uint8 RGB.
            alpha: (h, w) uint8 opacity; the outline runs where it passes one half.
            y: Row of its top left corner, which may lie outside.
            x: Column of that corner.
            own_edges: (h, w) uint8 of 0 and 1, known edges inside the cut-out, or None.
            faces: (h, w) uint8 of 0 and 1, the faces in it, or None.
        """
        height, width = self.labels.shape
        top, left = max(y, 0), max(x, 0)
        bottom, right = min(y + alpha.shape[0], height), min(x + alpha.shape[1], width)
        if bottom <= top or right <= left:
            return
        here = (slice(top, bottom), slice(left, right))
        there = (slice(top - y, bottom - y), slice(left - x, right - x))
        opacity = alpha[there][..., None].astype(np.uint16)
        mixed = pixels[there] * opacity + self.pixels[here] * (255 - opacity) + 127
        self.pixels[here] = mixed // 255
        inside = alpha[there] >= 128
        self.count += 1
        self.labels[here][inside] = self.count
        for layer, own in ((self.own_edges, own_edges), (self.faces, faces)):
            layer[here][inside] = 0 if own is None else own[there][inside]

    def outlines(self) -> np.ndarray:
        """Visible outlines of cut-outs, (H, W) uint8 of 0 and 1; one pixel wide, none along the picture's border."""
        return label_outlines(self.labels)


def label_outlines(labels: np.ndarray) -> np.ndarray:
    """(H, W) uint8 of 0 and 1: 1 where the right or the lower neighbour has another label."""
    edges = np.zeros(labels.shape, np.uint8)
    edges[:, :-1] = labels[:, 1:] != labels[:, :-1]
    edges[:-1] |= labels[1:] != labels[:-1]
    return edges


def draw_faces(boxes: Sequence[Box], window: tuple[slice, slice], height: int, width: int) -> np.ndarray:
    """Ellipses over faces, from chin to hairline and ear to ear, in a part of a picture that is resized.

    Args:
        boxes: (x, y, width, height) in the picture, as a detector draws them.
        window: Rows and columns of the part.
        height: It is resized to.
        width: Likewise.

    Returns:
        (height, width) uint8 of 0 and 1.
    """
    rows, columns = window
    mask = np.zeros((height, width), np.uint8)
    down, right = height / (rows.stop - rows.start), width / (columns.stop - columns.start)
    for x, y, w, h in boxes:
        centre = (round((x + w / 2 - columns.start) * right), round((y + h / 2 - rows.start) * down))
        cv2.ellipse(mask, centre, (round(0.62 * w * right), round(0.6 * h * down)), 0, 0, 360, 1, -1)
    return mask


def soften(mask: np.ndarray) -> np.ndarray:
    """Opacity (H, W) uint8 of a mask (H, W) of 0 and 1 with an outline about one pixel soft, as a lens leaves it."""
    return cv2.blur(mask.astype(np.uint8) * 255, (3, 3), borderType=cv2.BORDER_REPLICATE)


def random_outline(rng: np.random.Generator) -> np.ndarray:
    """An ellipse, polygon or blob around the origin, (n, 2) float64 of (x, y), reaching 1 at its farthest."""
    kind = rng.integers(3)
    if kind == 0:
        angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        points = np.stack([np.cos(angle), rng.uniform(0.3, 1) * np.sin(angle)], axis=1)
    elif kind == 1:
        angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
        points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(0.5, 1, (len(angle), 1))
    else:
        angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        radius = 1 + sum(rng.normal(0, 0.5 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
        points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.maximum(radius, 0.25)[:, None]
    turn = rng.uniform(0, 2 * np.pi)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return points / np.linalg.norm(points, axis=1).max()


def colour_change(rng: np.random.Generator, strength: float) -> np.ndarray:
    """A random gain, offset and gamma as a lookup table, (1, 256, 3) uint8; a ``strength`` of 0 changes nothing."""
    level = np.linspace(0, 1, 256)[:, None]
    gamma = np.exp(rng.uniform(-0.5, 0.5, 1) * strength)
    gain = np.exp(rng.uniform(-0.4, 0.4, 1) * strength + rng.uniform(-0.25, 0.25, 3) * strength)
    offset = rng.uniform(-0.15, 0.15, 1) * strength
    return np.rint(255 * np.clip(gain * level**gamma + offset, 0, 1)).astype(np.uint8)[None]


def random_window(
    rng: np.random.Generator, height: int, width: int, out_height: int, out_width: int, low: float, high: float
) -> tuple[slice, slice]:
    """A random part of a picture that has the proportions of an output.

    Args:
        rng: Where the randomness comes from.
        height: Of the picture, pixels.
        width: Of the picture.
        out_height: Of the output.
        out_width: Of the output.
        low: Least magnification of the part when it is resized to the output.
        high: Largest magnification, drawn evenly in logarithm; it is exceeded where the picture is too small for it.

    Returns:
        Its rows and columns.
    """
    factor = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    factor = max(factor, out_height / height, out_width / width)
    rows = min(height, max(1, round(out_height / factor)))
    columns = min(width, max(1, round(out_width / factor)))
    y, x = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    return slice(y, y + rows), slice(x, x + columns)


def fit(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """``pixels`` resized to (height, width): area averaging when shrinking, linear interpolation when growing."""
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = pixels.shape[0] > height
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def fit_edges(edges: np.ndarray, height: int, width: int) -> np.ndarray:
    """One pixel wide edges (uint8 of 0 and 1) resized to (height, width): connected, one or two pixels wide."""
    if edges.shape == (height, width):
        return edges
    # A line one pixel wide, shrunk by a factor of at least one half, leaves at least a quarter in one of two pixels.
    return (fit(edges * np.uint8(255), height, width) >= 64).astype(np.uint8)
