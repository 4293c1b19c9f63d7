"""Bjontegaard differences: how far two curves of operating points lie apart on average, where both have values.

Bjontegaard, "Calculation of average PSNR differences between RD-curves", ITU-T VCEG-M33 (2001), with piecewise cubic
Hermite interpolation (PCHIP) through the points on a logarithmic rate axis, as the test conditions of JCT-VC and JVET
have it. A measure of machine vision need not rise with the rate at every step; where one must be inverted and does not
rise, its curve is first replaced by the nearest cubic in log rate that rises and is concave (`monotone_fit`), as MPEG's
tests of video coding for machines do (Wang et al., "Improvements of the BD-Rate Metrics Using Monotonic Curve-Fitting
Methods", Picture Coding Symposium 2024). Nothing is extrapolated: a comparison that cannot be made is a reason.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from icm.metrics.resampling import percentile_interval

LEAST_POINTS = 4  # as in VCEG-M33


@dataclass(frozen=True)
class Curve:
    """The operating points of one codec, in any order.

    Attributes:
        rates: (points,) positive, any unit that both curves share.
        values: (points,) the measure, any unit.
        sampled_rates, sampled_values: (points, resamples) the same numbers in resamples of the images, for the
            interval (`icm.metrics.resampling`); resample i is the same draw for every curve of a comparison.
    """

    rates: np.ndarray
    values: np.ndarray
    sampled_rates: np.ndarray | None = None
    sampled_values: np.ndarray | None = None


@dataclass(frozen=True)
class Difference:
    """Test curve against anchor.

    Attributes:
        value: The difference; None when it cannot be had, and then ``reason`` says why.
        ci95: 95 % interval; None without resamples, or when over a twentieth of them allow no comparison.
        span: What both curves share of the axis the mean is taken along: (low, high) in its unit.
        overlap: That span as a share, 0 to 1, of what the two curves cover together. Below 0.75 or so the difference
            speaks of a part of the curves only.
        fitted: Whether a curve was replaced by its monotone fit.
        reason: Why there is no value, in words; None when there is one.
    """

    value: float | None
    ci95: tuple[float, float] | None = None
    span: tuple[float, float] | None = None
    overlap: float = 0.0
    fitted: bool = False
    reason: str | None = None


def bd_rate(anchor: Curve, test: Curve, rises: bool = True, least: int = LEAST_POINTS) -> Difference:
    """Mean difference in rate at equal measure, as a share of the anchor's rate: -0.1 is ten per cent less.

    Args:
        anchor, test: The curves.
        rises: Whether the measure rises with the rate; False for distances such as LPIPS.
        least: Points that each curve needs.

    Raises ValueError for numbers that are not finite or rates that are not positive.
    """

    def compare(a: list[np.ndarray], b: list[np.ndarray]) -> Difference:
        (rate_a, value_a, fit_a), (rate_b, value_b, fit_b) = _rising(a, rises), _rising(b, rises)
        found = _gap(value_a, np.log(rate_a), value_b, np.log(rate_b), fit_a or fit_b, least)
        return found if rises else _turned(found)

    return _with_interval(compare, [anchor], [test], np.expm1)


def bd_measure(anchor: Curve, test: Curve, least: int = LEAST_POINTS) -> Difference:
    """Mean difference of the measure at equal rate, along log rate, in the measure's unit. ``span`` is in rates.

    Raises ValueError for numbers that are not finite or rates that are not positive.
    """

    def compare(a: list[np.ndarray], b: list[np.ndarray]) -> Difference:
        (rate_a, value_a), (rate_b, value_b) = _by_rate(a), _by_rate(b)
        found = _gap(np.log(rate_a), value_a, np.log(rate_b), value_b, False, least)
        return found if found.span is None else replace(found, span=(np.exp(found.span[0]), np.exp(found.span[1])))

    return _with_interval(compare, [anchor], [test])


def bd_measure_at_equal(
    anchor_base: Curve,
    anchor: Curve,
    test_base: Curve,
    test: Curve,
    rises: bool = True,
    least: int = LEAST_POINTS,
) -> Difference:
    """Mean difference of one measure at equal values of another: similarity of faces at equal mAP, for example.

    Args:
        anchor_base, test_base: The measure that is held equal. Its points are those of ``anchor`` and ``test``, in the
            same order.
        anchor, test: The measure that is compared.
        rises: Whether the measure that is held equal rises with the rate.
        least: Points that each curve needs.

    Raises ValueError for numbers that are not finite or rates that are not positive.
    """

    for base, curve in ((anchor_base, anchor), (test_base, test)):
        if not np.array_equal(base.rates, curve.rates):
            raise ValueError("both measures of a codec need the same points, in the same order")

    def compare(a: list[np.ndarray], b: list[np.ndarray]) -> Difference:
        bases, fits = zip(*(_rising(each[:2], rises)[1:] for each in (a, b)), strict=True)
        values = [_by_rate(each[2:])[1] for each in (a, b)]
        found = _gap(bases[0], values[0], bases[1], values[1], any(fits), least)
        return found if rises else _turned(found)

    return _with_interval(compare, [anchor_base, anchor], [test_base, test])


def monotone_fit(rates: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The cubic in log rate that rises and is concave over the points and is nearest to them in squared error.

    Args:
        rates: (n,) positive, rising.
        values: (n,) numbers.

    Returns:
        (n,) the cubic at ``rates``.
    """
    from scipy.optimize import nnls

    # With u from 0 to 1 along log rate, a cubic is concave when its second derivative -(p (1 - u) + q u) has p, q >= 0,
    # and then it rises everywhere if its slope r at the end is >= 0. Integrated twice from the end, the cubic is
    # c - r (1 - u) - p (1 - u)^3 / 6 - q (1/3 - u/2 + u^3/6): least squares under r, p, q >= 0, c free.
    u = (np.log(rates) - np.log(rates[0])) / (np.log(rates[-1]) - np.log(rates[0]))
    one = np.ones_like(u)
    basis = np.stack([one, -one, u - 1, -((1 - u) ** 3) / 6, -(1 / 3 - u / 2 + u**3 / 6)], axis=1)
    middle, spread = values.mean(), np.ptp(values) or 1.0
    coefficients, _ = nnls(basis, (values - middle) / spread)
    return middle + spread * (basis @ coefficients)


def pchip_area(x: np.ndarray, y: np.ndarray, low: float, high: float) -> float:
    """The integral of the PCHIP interpolant (Fritsch and Butland 1984) through a few points.

    The same as scipy's ``PchipInterpolator(x, y).integrate(low, high)`` in a twentieth of the time, which a bootstrap
    spends thousands of times.

    Args:
        x: (n,) rising, at least 2.
        y: (n,) numbers.
        low, high: Limits, within ``x`` and in this order.
    """
    xs, ys = x.tolist(), y.tolist()
    steps = [b - a for a, b in itertools.pairwise(xs)]
    slopes = [(b - a) / step for (a, b), step in zip(itertools.pairwise(ys), steps, strict=True)]
    area = 0.0
    for k, (step, start, end) in enumerate(zip(steps, *_derivatives(steps, slopes), strict=True)):
        t0, t1 = (min(max((limit - xs[k]) / step, 0.0), 1.0) for limit in (low, high))
        for t, sign in ((t0, -step), (t1, step)):
            rise = t**3 - t**4 / 2  # the Hermite basis, integrated
            tangents = start * (t**2 / 2 - 2 * t**3 / 3 + t**4 / 4) + end * (t**4 / 4 - t**3 / 3)
            area += sign * (ys[k] * (t - rise) + ys[k + 1] * rise + step * tangents)
    return area


def _derivatives(steps: list[float], slopes: list[float]) -> tuple[list[float], list[float]]:
    """PCHIP's derivatives at the start and at the end of every piece."""
    if len(slopes) == 1:
        return slopes, slopes
    inner = [0.0 if a * b <= 0 else 3 * (h + g) / ((h + 2 * g) / a + (g + 2 * h) / b)
             for a, b, h, g in zip(slopes, slopes[1:], steps, steps[1:], strict=False)]  # fmt: skip
    first = _end_derivative(steps[0], steps[1], slopes[0], slopes[1])
    last = _end_derivative(steps[-1], steps[-2], slopes[-1], slopes[-2])
    return [first, *inner], [*inner, last]


def _end_derivative(near: float, far: float, slope: float, next_slope: float) -> float:
    """One-sided three-point derivative, kept from overshooting."""
    found = ((2 * near + far) * slope - near * next_slope) / (near + far)
    if found * slope <= 0:
        return 0.0
    return 3 * slope if slope * next_slope < 0 and abs(found) > 3 * abs(slope) else found


def _by_rate(columns: list[np.ndarray]) -> list[np.ndarray]:
    """The columns, rates first, by rising rate; points of equal rate are averaged."""
    levels, group = np.unique(columns[0], return_inverse=True)
    return [levels, *(np.bincount(group, column) / np.bincount(group) for column in columns[1:])]


def _rising(columns: list[np.ndarray], rises: bool) -> tuple[np.ndarray, np.ndarray, bool]:
    """Rates, a measure that rises with them (a falling one with its sign turned), and whether it had to be fitted."""
    rates, values = _by_rate(columns)
    values = values if rises else -values
    if len(rates) < 2 or (np.diff(values) > 0).all():
        return rates, values, False
    return rates, monotone_fit(rates, values), True


def _gap(
    base_a: np.ndarray, value_a: np.ndarray, base_b: np.ndarray, value_b: np.ndarray, fitted: bool, least: int
) -> Difference:
    """Mean of value_b - value_a over the part of the base axis that both curves cover."""
    for which, base in (("the anchor", base_a), ("the test curve", base_b)):
        if len(base) < max(least, 2):
            return Difference(None, reason=f"{which} has {len(base)} points of different rate, {least} are needed")
        # A fit to values that fall with the rate is level.
        if not (np.diff(base) > 1e-9 * np.ptp(base)).all():
            return Difference(None, fitted=fitted, reason=f"the measure of {which} does not rise with the rate")
    low, high = max(base_a[0], base_b[0]), min(base_a[-1], base_b[-1])
    overlap = (high - low) / (max(base_a[-1], base_b[-1]) - min(base_a[0], base_b[0]))
    if overlap <= 0:
        return Difference(None, fitted=fitted, reason="the curves do not overlap")
    areas = [pchip_area(base, value, low, high) for base, value in ((base_a, value_a), (base_b, value_b))]
    return Difference((areas[1] - areas[0]) / (high - low), None, (float(low), float(high)), float(overlap), fitted)


def _turned(found: Difference) -> Difference:
    """A difference along a measure with its sign turned, with the span in the measure's own sign."""
    return found if found.span is None else replace(found, span=(-found.span[1], -found.span[0]))


def _with_interval(
    compare: Callable[[list[np.ndarray], list[np.ndarray]], Difference],
    anchor: list[Curve],
    test: list[Curve],
    scale: Callable = np.asarray,
) -> Difference:
    """``compare`` on the curves' own points, and on those of each resample."""
    sides = [[np.asarray(a, np.float64) for c in side for a in (c.rates, c.values)] for side in (anchor, test)]
    for side in sides:
        if len({column.shape for column in side}) > 1 or side[0].ndim != 1:
            raise ValueError(f"shapes do not fit: {[column.shape for column in side]}")
        if not all(np.isfinite(column).all() for column in side) or not all((r > 0).all() for r in side[::2]):
            raise ValueError("a curve needs finite values and positive rates")
    found = compare(*sides)
    if found.value is None:
        return found
    curves = [*anchor, *test]
    interval = None
    if all(curve.sampled_rates is not None and curve.sampled_values is not None for curve in curves):
        columns = [np.asarray(a, np.float64).T for c in curves for a in (c.sampled_rates, c.sampled_values)]
        split = 2 * len(anchor)
        samples = [_sample(compare, draw[:split], draw[split:]) for draw in zip(*columns, strict=True)]
        interval = percentile_interval(scale(np.array(samples)))
    return replace(found, value=float(scale(found.value)), ci95=interval)


def _sample(compare: Callable, anchor: tuple, test: tuple) -> float:
    if not all(np.isfinite(column).all() for column in (*anchor, *test)):
        return np.nan
    value = compare(list(anchor), list(test)).value
    return np.nan if value is None else value
