"""Codecs at equal rate: what each has at any rate along its curve, who protects best there, and how sure that is.

Between two points of a curve everything is linear in log(bpp), and nothing is said beyond its ends
(`icm.metrics.statistics.at_rate`). The same holds for the bootstrap replicates, which are paired: codecs that measured
the same faces have the same resamples, so a difference is interpolated and taken resample by resample.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from icm.evaluation.measures import Estimate, Measure, Subject
from icm.metrics.statistics import PairedDifference, at_rate, bootstrap_means, percentile_interval
from icm.report.points import FaceKey, Point, measures_of, series_of

# Measures that say best how far faces are protected, the most telling first.
HEADLINES = ("fmr1e-2_rate", "rank1", "calibrated_similarity", "cosine_similarity")
RATES = 48


@dataclass(frozen=True)
class RateCurve:
    """One measure of one subject along the rates of one codec.

    Attributes:
        points: With a value, in any order.
        faces: The faces or pictures to pair with other curves; empty for measures that have no value for each.
    """

    points: tuple[Point, ...]
    measure: Measure
    subject: Subject
    faces: tuple[FaceKey, ...] = ()

    def covers(self, bpp: float) -> bool:
        return bool(self.rates.min() <= bpp <= self.rates.max())

    def value(self, bpp: float) -> float:
        """What the tables say at the rate of a point, interpolated between points."""
        return float(at_rate(bpp, self.rates, self.values))

    def replicates(self, bpp: float) -> np.ndarray | None:
        """(resamples,), or None where the curve cannot be resampled."""
        return None if self._replicates is None else at_rate(bpp, self.rates, self._replicates)

    def estimate(self, bpp: float) -> Estimate:
        """The value with its interval; that of the tables where all resamples are the same, as of a rate of 0 or 1."""
        replicates = self.replicates(bpp)
        limits = _interval(replicates)
        if limits is not None and _flat(replicates) and self._limits is not None:
            low, high = at_rate(bpp, self.rates, self._limits)
            limits = float(low), float(high)
        return Estimate(self.value(bpp), *(limits or (None, None)))

    def minus(self, other: "RateCurve", bpp: float) -> PairedDifference:
        """The difference of two curves at a rate that both cover, paired where both measured the same faces."""
        count = len(self.faces) or self.points[0].estimates[self.measure.key, self.subject].n
        if {point.data for point in self.points} != {point.data for point in other.points}:
            return PairedDifference(bpp, 0, None, None, "not the same faces")
        if self.faces and self.faces == other.faces:
            difference = float(at_rate(bpp, self.rates, self._means) - at_rate(bpp, other.rates, other._means))
        else:
            difference = self.value(bpp) - other.value(bpp)
        own, others = self.replicates(bpp), other.replicates(bpp)
        if own is None or others is None or len(own) != len(others):
            return PairedDifference(bpp, count, difference, None)
        if not _flat(own) and not _flat(others):
            return PairedDifference(bpp, count, difference, _interval(own - others))
        # Resamples that never differ know nothing of the spread: the widest difference of the two intervals does.
        first, second = self.estimate(bpp).interval, other.estimate(bpp).interval
        widest = (first[0] - second[1], first[1] - second[0]) if first and second else None
        return PairedDifference(bpp, count, difference, widest)

    @cached_property
    def rates(self) -> np.ndarray:
        return np.array([point.bpp for point in self.points])

    @cached_property
    def values(self) -> np.ndarray:
        """(points,), what the tables say."""
        return np.array([point.estimates[self.measure.key, self.subject].value for point in self.points])

    @cached_property
    def _limits(self) -> np.ndarray | None:
        """(points, 2), the intervals of the tables; None where one lacks its own."""
        found = [point.estimates[self.measure.key, self.subject].interval for point in self.points]
        return np.array(found, dtype=np.float64) if all(found) else None

    @cached_property
    def scores(self) -> list[list[float]]:
        """Of the paired faces or pictures, for every point."""
        found = (point.scores(self.measure, self.subject) for point in self.points)
        return [[scores[key] for key in self.faces] for scores in found]

    @cached_property
    def _means(self) -> np.ndarray:
        return np.mean(self.scores, axis=1)

    @cached_property
    def _replicates(self) -> np.ndarray | None:
        """(points, resamples)"""
        if self.faces:
            images = [image for image, _ in self.faces]
            rows = [bootstrap_means(scores, images) for scores in self.scores]
        else:
            rows = [point.replicates.get((self.measure.key, self.subject)) for point in self.points]
        kept = [row for row in rows if row is not None]
        same = len(kept) == len(rows) and len({len(row) for row in kept}) == 1
        return np.stack(kept) if same else None


def _interval(replicates: np.ndarray | None) -> tuple[float, float] | None:
    finite = np.array([]) if replicates is None else replicates[np.isfinite(replicates)]
    return percentile_interval(finite) if finite.size else None


def _flat(replicates: np.ndarray | None) -> bool:
    """Whether no resample differs from another, but for rounding."""
    return replicates is not None and bool(np.nanmax(replicates) - np.nanmin(replicates) < 1e-9)


def rate_curves(points: Sequence[Point], measure: Measure, subject: Subject) -> dict[str, RateCurve]:
    """The curve of every series that has the measure for the subject, points without a value left out."""
    series = {
        name: [point for point in members if _has(point, measure, subject)]
        for name, members in series_of([point for point in points if not point.is_ceiling]).items()
    }
    common: dict[str, tuple[FaceKey, ...]] = {}
    for data in {point.data for members in series.values() for point in members}:
        scores = [point.scores(measure, subject) for members in series.values() for point in members
                  if point.data == data]  # fmt: skip
        common[data] = tuple(key for key in scores[0] if all(key in other for other in scores))
    return {name: RateCurve(tuple(members), measure, subject, common[members[0].data])
            for name, members in series.items() if members}  # fmt: skip


def _has(point: Point, measure: Measure, subject: Subject) -> bool:
    found = point.estimate(measure.key, subject)
    return found is not None and found.value is not None


# Who protects best ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A codec in a ranking, under the attack that does best against it.

    Attributes:
        behind: Its value minus that of the first; None for the first itself.
    """

    series: str
    attack: str
    estimate: Estimate
    behind: PairedDifference | None = None

    @property
    def tied(self) -> bool | None:
        """Whether it cannot be told apart from the first; None where no interval says."""
        if self.behind is None or self.behind.ci95 is None:
            return None
        return self.behind.ci95[0] <= 0 <= self.behind.ci95[1]


@dataclass(frozen=True)
class Ranking:
    """Codecs at one rate, the best protecting first.

    Attributes:
        subject: The recogniser (or model); its attack is empty, for each codec has its own in its place.
    """

    measure: Measure
    subject: Subject
    bpp: float
    places: tuple[Place, ...]


def is_privacy(measure: Measure) -> bool:
    return measure.direction.endswith("private")


def lower_is_better(measure: Measure) -> bool:
    return measure.direction.startswith("lower")


def privacy_measures(points: Sequence[Point]) -> list[Measure]:
    """Those of protection that any codec has a number for, the headline first.

    It is the most telling one that all codecs have and that is not the same for every codec at their common rate.
    """
    coded = [point for point in points if not point.is_ceiling] or points
    found = [measure for measure in measures_of(coded) if is_privacy(measure)]
    order = {key: place for place, key in enumerate(HEADLINES)}

    def gaps(measure: Measure) -> int:
        have = [
            {key for (key, _), estimate in point.estimates.items() if estimate.value is not None} for point in coded
        ]
        return sum(measure.key not in keys for keys in have)

    def rank_of(measure: Measure) -> tuple[bool, bool, int]:
        return gaps(measure) > 0, _silent(coded, measure), order.get(measure.key, len(order))

    return sorted(found, key=rank_of)


def _silent(points: Sequence[Point], measure: Measure) -> bool:
    """Whether a measure tells no codec apart: all show the same number at their common rate, for its first subject."""
    rates = rate_grid(points)
    if not rates:
        return False
    rate, subject = common_rate(points, rates), measures_of(points)[measure][0]
    curves = [RateCurve(tuple(found), measure, subject) for members in series_of(points).values()
              if (found := [point for point in members if _has(point, measure, subject)])]  # fmt: skip
    shown = [f"{curve.value(rate):.{measure.digits}f}" for curve in curves if curve.covers(rate)]
    return len(shown) > 1 and len(set(shown)) == 1


def attackers(points: Sequence[Point], measure: Measure) -> dict[Subject, list[Subject]]:
    """Every recogniser or model of a measure, without an attack, and the subjects that are it under an attack."""
    found: dict[Subject, list[Subject]] = {}
    for subject in measures_of(points).get(measure, []):
        found.setdefault(subject._replace(attack=""), []).append(subject)
    return found


def rank(curves: Iterable[dict[str, RateCurve]], bpp: float) -> tuple[Place, ...]:
    """Rank the codecs that have been measured around a rate.

    Args:
        curves: Those of one measure and recogniser, for each attack.
        bpp: The rate.
    """
    worst: dict[str, tuple[float, RateCurve]] = {}
    for by_series in curves:
        for name, curve in by_series.items():
            if curve.covers(bpp):
                sign = 1 if lower_is_better(curve.measure) else -1
                exposed = sign * curve.value(bpp)
                if name not in worst or exposed > worst[name][0]:
                    worst[name] = exposed, curve
    ordered = sorted(worst, key=lambda name: worst[name][0])
    places = []
    for name in ordered:
        curve, first = worst[name][1], worst[ordered[0]][1]
        behind = curve.minus(first, bpp) if name != ordered[0] else None
        places.append(Place(name, curve.subject.attack, curve.estimate(bpp), behind))
    return tuple(places)


def unrated(points: Sequence[Point], measure: Measure, who: Subject) -> list[Place]:
    """What has no rate of its own (no codec, hiding faces by hand), by its own point, the best protecting first."""
    sign = 1 if lower_is_better(measure) else -1
    places = []
    for point in (point for point in points if point.is_ceiling):
        under = [
            (sign * estimate.value, subject.attack, estimate)
            for (key, subject), estimate in point.estimates.items()
            if key == measure.key and subject._replace(attack="") == who and estimate.value is not None
        ]
        if under:
            exposed, attack, estimate = max(under, key=lambda each: each[0])
            places.append((exposed, Place(point.title, attack, estimate)))
    return [place for _, place in sorted(places, key=lambda each: each[0])]


def rankings(points: Sequence[Point], measure: Measure, rates: Sequence[float]) -> dict[Subject, list[Ranking]]:
    """For every recogniser of a privacy measure its rankings at all rates."""
    found = {}
    for who, subjects in attackers(points, measure).items():
        curves = [rate_curves(points, measure, subject) for subject in subjects]
        found[who] = [Ranking(measure, who, bpp, rank(curves, bpp)) for bpp in rates]
    return found


def rate_grid(points: Sequence[Point]) -> list[float]:
    """At most about `RATES` rates to compare codecs at: round numbers, and the rates of codecs measured at only one."""
    spans = _spans(points)
    if not spans:
        return []
    curves = [(low, high) for low, high in spans if low < high] or spans
    low, high = min(low for low, _ in curves), max(high for _, high in curves)
    step = (high / low) ** (1 / RATES)
    wanted = [low * step**index for index in range(RATES + 1)]
    rounded = {float(f"{rate:.2g}") for rate in wanted}
    singles = {single for single, other in spans if single == other and low <= single <= high}
    return sorted({rate for rate in rounded if low <= rate <= high} | singles)


def common_rate(points: Sequence[Point], rates: Sequence[float]) -> float:
    """The highest of ``rates`` among those that the most codecs cover."""
    spans = _spans(points)
    return max(rates, key=lambda rate: (sum(low <= rate <= high for low, high in spans), rate))


def _spans(points: Sequence[Point]) -> list[tuple[float, float]]:
    coded = [point for point in points if not point.is_ceiling and math.isfinite(point.bpp) and point.bpp > 0]
    rates = [[point.bpp for point in members] for members in series_of(coded).values()]
    return [(min(found), max(found)) for found in rates]


def pareto_front(
    points: Sequence[Point], privacy: tuple[Measure, Subject], utility: tuple[Measure, Subject]
) -> list[Point]:
    """The coded points that no other one beats in one of two measures without losing in the other."""

    def good(point: Point, measure: Measure, subject: Subject) -> float | None:
        found = point.estimate(measure.key, subject)
        if point.is_ceiling or found is None or found.value is None:
            return None
        return -found.value if lower_is_better(measure) else found.value

    goods = [
        (point, private, useful)
        for point in points
        if (private := good(point, *privacy)) is not None and (useful := good(point, *utility)) is not None
    ]
    return [
        point
        for point, private, useful in goods
        if not any(p >= private and u >= useful and (p, u) != (private, useful) for _, p, u in goods)
    ]
