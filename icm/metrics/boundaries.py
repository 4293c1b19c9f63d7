"""How well edges survive coding: the boundary F-measure of a coded picture's edges against the original's.

Martin, Fowlkes and Malik, "Learning to Detect Natural Image Boundaries Using Local Brightness, Color, and Texture Cues"
(2004), as in the Berkeley benchmark (BSDS): edge pixels of one map are paired one to one with edge pixels of the other
no farther away than a share of the picture's diagonal. The benchmark seeks the largest number of pairs; on dense edges
that takes minutes a picture, so pairs are made here from the nearest outwards: every edge pixel still has one partner
at most, the nearest that is free, and the number of pairs is a little below the largest.

Edges are those of Canny (1986) on luma. The thresholds come from the original alone and serve both pictures: a blurred
picture has fewer edges then, and not the same number of weaker ones.
"""

from dataclasses import dataclass

import cv2
import numpy as np

TOLERANCE = 0.0075  # of the diagonal, as in BSDS
EDGE_SHARE = 0.1
_SIGMA = 2**0.5  # of the Gaussian before the gradient, as in MATLAB's Canny
_LOW = 0.4  # of the high threshold, as there
_SCALE = 16  # a step from 0 to 255 then has a gradient of about 9,200, which fits Canny's 16 bits
_LEAST_STEP = 4  # grey levels: fainter steps are no edges, whatever the share


@dataclass(frozen=True)
class BoundaryCounts:
    """Edge pixels of a picture, or of the part of it inside a mask; sums over pictures are counts of all of them.

    Attributes:
        original: Edge pixels of the original.
        found: Those that have a partner in the coded picture.
        coded: Edge pixels of the coded picture.
        correct: Those that have a partner in the original.
    """

    original: int
    found: int
    coded: int
    correct: int

    def __add__(self, other: "BoundaryCounts") -> "BoundaryCounts":
        return BoundaryCounts(
            self.original + other.original,
            self.found + other.found,
            self.coded + other.coded,
            self.correct + other.correct,
        )

    @property
    def recall(self) -> float | None:
        """Share of the original's edge pixels found again, 0 to 1; None without any."""
        return self.found / self.original if self.original else None

    @property
    def precision(self) -> float | None:
        """Share of the coded picture's edge pixels that the original has, 0 to 1; None without any."""
        return self.correct / self.coded if self.coded else None

    @property
    def f_measure(self) -> float | None:
        """Harmonic mean of both, 0 to 1; 0 when one picture alone has edges, None when neither has."""
        if not self.original and not self.coded:
            return None
        if not self.found or not self.correct or self.precision is None or self.recall is None:
            return 0.0
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def boundary_counts(
    original: np.ndarray,
    coded: np.ndarray,
    mask: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
    edge_share: float = EDGE_SHARE,
) -> dict[str, BoundaryCounts]:
    """Compare the edges of a coded picture with the original's.

    Args:
        original, coded: (H, W, 3) uint8 RGB of one size.
        mask: (H, W), anything but 0 inside. An edge pixel counts where it lies; its partner may lie anywhere.
        tolerance: Largest distance of partners as a share of the picture's diagonal.
        edge_share: See `canny_thresholds`.

    Returns:
        ``all``, and with a mask ``inside`` and ``outside``.

    Raises ValueError when the sizes differ.
    """
    if original.shape != coded.shape or (mask is not None and mask.shape != original.shape[:2]):
        raise ValueError(f"sizes differ: {original.shape}, {coded.shape}" + ("" if mask is None else f", {mask.shape}"))
    thresholds = canny_thresholds(original, edge_share)
    edges = canny(original, thresholds), canny(coded, thresholds)
    paired = match_boundaries(*edges, tolerance)
    regions = {"all": np.ones(original.shape[:2], bool)}
    if mask is not None:
        regions |= {"inside": mask != 0, "outside": mask == 0}
    maps = edges[0], paired[0], edges[1], paired[1]
    return {name: BoundaryCounts(*(int((one & region).sum()) for one in maps)) for name, region in regions.items()}


def canny_thresholds(picture: np.ndarray, edge_share: float = EDGE_SHARE) -> tuple[float, float]:
    """Canny's low and high threshold, such that ``edge_share`` of the pixels have a gradient above the high one.

    Steps of less than four grey levels stay below it in any picture.
    """
    horizontal, vertical = _gradient(picture)
    magnitude = np.hypot(horizontal.astype(np.float32), vertical.astype(np.float32))
    faintest = _SCALE * 8 * _LEAST_STEP / (_SIGMA * (2 * np.pi) ** 0.5)
    high = max(float(np.quantile(magnitude, 1 - edge_share)), faintest)
    return _LOW * high, high


def canny(picture: np.ndarray, thresholds: tuple[float, float]) -> np.ndarray:
    """(H, W) bool, the Canny edges of a picture's luma (BT.601).

    Args:
        picture: (H, W, 3) uint8 RGB.
        thresholds: Low and high, of `canny_thresholds`.
    """
    return cv2.Canny(*_gradient(picture), *thresholds, L2gradient=True) != 0


def match_boundaries(
    first: np.ndarray, second: np.ndarray, tolerance: float = TOLERANCE
) -> tuple[np.ndarray, np.ndarray]:
    """Pair edge pixels of two maps one to one, nearest first.

    Args:
        first, second: (H, W) bool.
        tolerance: Largest distance as a share of the diagonal.

    Returns:
        The pixels of ``first`` and those of ``second`` that have a partner, (H, W) bool each, equally many.
    """
    height, width = first.shape
    limit = tolerance * float(np.hypot(height, width))
    reach = int(limit)
    steps = range(-reach, reach + 1)
    free_first = first.copy()
    free_second = np.pad(second, reach)
    # Pixels one fixed step apart form disjoint pairs: all pairs of a step are made at once.
    for _, down, right in sorted((y * y + x * x, y, x) for y in steps for x in steps if y * y + x * x <= limit * limit):
        shifted = free_second[reach + down : reach + down + height, reach + right : reach + right + width]
        pairs = free_first & shifted
        free_first ^= pairs
        shifted ^= pairs
    return first & ~free_first, second & ~free_second[reach : reach + height, reach : reach + width]


def _gradient(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(luma, (0, 0), _SIGMA)
    horizontal, vertical = (cv2.Sobel(smooth, cv2.CV_32F, *order, scale=_SCALE) for order in ((1, 0), (0, 1)))
    return np.rint(horizontal).astype(np.int16), np.rint(vertical).astype(np.int16)
