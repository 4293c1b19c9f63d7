"""Intervals for measurements taken on faces, of which several may come from one image.

Faces of one image share its lighting, focus and coding, so they are not independent: every interval here resamples
whole clusters (images), not single values. The cluster bootstrap follows Davison and Hinkley, "Bootstrap Methods and
their Application" (1997), section 3.8; the percentile interval is that of Efron and Tibshirani, "An Introduction to
the Bootstrap" (1993), chapter 13.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
Floats = NDArray[np.float64]
_BLOCK = 1 << 18  # indices drawn at once


def bootstrap_mean_ci(
    values: Sequence[float] | Floats,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = 2000,
) -> tuple[float | None, float | None]:
    """Percentile 95 % bootstrap interval of the mean of ``values``.

    Args:
        values: (n,) finite numbers; the mean is over values, so a cluster weighs as many values as it holds.
        clusters: (n,) labels; values with the same label are drawn together. Without it every value is its own
            cluster.
        seed: Seeds the resampling; the same input and seed give the same interval.
        resamples: Number of bootstrap samples.

    Returns:
        (low, high), or (None, None) with a single cluster or value, from which no spread can be estimated.

    Raises:
        ValueError: there is no value, a value is not finite, or the lengths differ.
    """
    means = bootstrap_means(values, clusters, seed, resamples)
    return (None, None) if means is None else percentile_interval(means)


def bootstrap_means(
    values: Sequence[float] | Floats,
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = 2000,
) -> Floats | None:
    """The mean of ``values`` in every resample of whole clusters: arguments and errors as `bootstrap_mean_ci`.

    Returns:
        (resamples,), or None with a single cluster. The clusters drawn depend on their number and the seed alone, so
        that values of the same faces under two codecs can be compared resample by resample.
    """
    sums, counts = _cluster_sums(values, clusters)
    if len(sums) < 2:
        return None
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    # Drawn in blocks: memory stays small even for the images of a whole COCO split.
    block = max(1, _BLOCK // len(sums))
    for start in range(0, resamples, block):
        drawn = rng.integers(0, len(sums), (min(block, resamples - start), len(sums)))
        means[start : start + block] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means


def percentile_interval(replicates: Floats) -> tuple[float, float]:
    """The 95 % percentile interval of bootstrap replicates; NaN among them are left out."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(replicates, [tail, 1 - tail])
    return float(low), float(high)


def _cluster_sums(values: Sequence[float] | Floats, clusters: Sequence[Hashable] | None) -> tuple[Floats, Floats]:
    """Sum and count of the values of each cluster, clusters in order of first appearance."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"need a one-dimensional list of at least one value, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{int((~np.isfinite(array)).sum())} of {array.size} values are not finite")
    if clusters is None:
        return array, np.ones(array.size)
    if len(clusters) != array.size:
        raise ValueError(f"{array.size} values but {len(clusters)} cluster labels")
    position: dict[Hashable, int] = {}
    index = np.array([position.setdefault(label, len(position)) for label in clusters])
    return np.bincount(index, weights=array).astype(np.float64), np.bincount(index).astype(np.float64)


@dataclass(frozen=True)
class PairedDifference:
    """Mean over faces of (similarity under A) minus (similarity under B at A's rate).

    Attributes:
        bpp: The rate of the comparison, in bits per pixel.
        faces: How many faces are compared.
        difference: None when the comparison cannot be made.
        ci95: The 95 % interval of the difference; None when there is no difference, or all faces are in one image.
        reason: Why the comparison cannot be made; None when it can.
    """

    bpp: float
    faces: int
    difference: float | None
    ci95: tuple[float, float] | None
    reason: str | None = None


def paired_difference(
    similarity_a: Sequence[float],
    bpp_a: float,
    similarity_b: Sequence[Sequence[float]],
    bpp_b: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
    resamples: int = 2000,
) -> PairedDifference:
    """Compare codec A at one operating point with codec B at the same rate, face by face.

    Codecs seldom land on the same rate, so B's similarity of each face is interpolated along B's own rate curve at A's
    mean bpp, linearly in log(bpp): rate curves are near straight there, which is why Bjontegaard's comparison
    (ITU-T VCEG-M33, 2001) also works on the logarithm of the rate. Pairing by face removes the spread between easy and
    hard faces from the interval. There is no extrapolation: outside B's rates the result is a reason, not a number.

    Args:
        similarity_a: (faces,) similarity of each face under A.
        bpp_a: Mean rate of A in bits per pixel, > 0.
        similarity_b: (points, faces) similarity of the same faces, in the same order, at each operating point of B.
        bpp_b: (points,) mean rate of B at each point, > 0, in any order; equal rates are averaged.
        clusters: (faces,) image of each face, for the interval (`bootstrap_mean_ci`).
        seed: Seeds the interval.
        resamples: Number of bootstrap samples of the interval.

    Returns:
        The difference, or the reason why there is none.

    Raises:
        ValueError: shapes do not fit together, or rates are not positive.
    """
    first = np.asarray(similarity_a, dtype=np.float64)
    curve = np.asarray(similarity_b, dtype=np.float64)
    rates = np.asarray(bpp_b, dtype=np.float64)
    if first.ndim != 1 or curve.shape != (rates.size, first.size) or rates.ndim != 1:
        raise ValueError(f"shapes do not fit: A {first.shape}, B {curve.shape} at {rates.shape} rates")
    if not bpp_a > 0 or not (rates > 0).all():
        raise ValueError(f"rates must be positive, got {bpp_a} and {rates.tolist()}")
    if first.size == 0:
        return PairedDifference(bpp_a, 0, None, None, "no face in common")
    levels = np.unique(rates)
    if levels.size == 0 or not levels[0] <= bpp_a <= levels[-1]:
        span = f"{levels[0]:.3f} to {levels[-1]:.3f}" if levels.size else "no"
        return PairedDifference(bpp_a, first.size, None, None, f"{bpp_a:.3f} bpp is outside the other's {span} bpp")
    second = at_rate(bpp_a, rates, curve)
    differences = first - second
    low_limit, high_limit = bootstrap_mean_ci(differences, clusters, seed, resamples)
    interval = None if low_limit is None or high_limit is None else (low_limit, high_limit)
    return PairedDifference(bpp_a, first.size, float(differences.mean()), interval)


def at_rate(bpp: float, rates: Floats, rows: Floats) -> Floats:
    """What a curve has at a rate on it, linearly in log(bpp) between its neighbouring points.

    Args:
        bpp: From the lowest to the highest of ``rates``.
        rates: (points,) bits per pixel, > 0, in any order; points of equal rate are averaged.
        rows: (points, ...) what was measured at each.

    Returns:
        (...), a row.
    """
    levels = np.unique(rates)
    merged = np.stack([rows[rates == level].mean(axis=0) for level in levels])
    if levels.size == 1:
        return np.asarray(merged[0])
    upper = min(max(int(np.searchsorted(levels, bpp)), 1), levels.size - 1)
    low, high = np.log(levels[upper - 1]), np.log(levels[upper])
    weight = (np.log(bpp) - low) / (high - low)
    return np.asarray((1 - weight) * merged[upper - 1] + weight * merged[upper])


@dataclass(frozen=True)
class Estimate:
    """A measured number with its 95 % interval.

    Attributes:
        value: The number over everything measured; None where it is refused, and ``note`` says why.
        low, high: Limits of the interval; None where there are fewer than two units, which show no spread.
        n: What the value is taken over: faces, images, genuine comparisons or probes.
        units: People or pictures that were resampled for the interval.
        note: What a reader must know of this very number.
        replicates: The value in each resample; equal data and seed give equal resamples, so that differences between
            codecs can be taken resample by resample. Empty where they are not kept.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    units: int = 0
    note: str = ""
    replicates: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)


def mean_share(values: Floats, units: NDArray[np.int_], seed: int = 0, resamples: int = 2000) -> Estimate:
    """Mean of values between 0 and 1, with the interval of `bootstrap_mean_ci` over units, widened by `widened`.

    Args:
        values: (n,) in [0, 1].
        units: (n,) int, what is resampled.
        seed: Seeds the resampling.
        resamples: Number of bootstrap samples.
    """
    count = len(np.unique(units))
    if len(values) == 0:
        return Estimate(None, note="nothing to measure")
    means = bootstrap_means(values, units.tolist(), seed, resamples)
    low, high = (None, None) if means is None else widened(*percentile_interval(means), count)
    return Estimate(float(np.mean(values)), low, high, len(values), count, replicates=means)


def widened(low: float, high: float, units: int) -> tuple[float, float]:
    """An interval of a quantity in [0, 1] that resampling left without width at 0 or 1, given an honest one.

    When all of ``units`` units say 0 (or all say 1) every resample repeats it. The exact binomial limit
    (Clopper and Pearson 1934) then holds, also for units whose values are means: where they average m, all of n are 1
    with a probability of at most m^n. Other intervals are returned as they are.
    """
    tail = ((1 - CONFIDENCE) / 2) ** (1 / units)
    if low == high == 1.0:
        return tail, 1.0
    if low == high == 0.0:
        return 0.0, 1.0 - tail
    return low, high


def unit_counts(units: int, resamples: int, seed: int = 0) -> np.ndarray:
    """(resamples, units) int: how often each unit is drawn in resamples of ``units`` draws with replacement."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(units, np.full(units, 1 / units), size=resamples)
