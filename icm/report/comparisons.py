"""Paired differences between codecs at equal rate, for every pair of curves that allows one."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from icm.evaluation.measures import Measure, Subject
from icm.metrics.statistics import PairedDifference, paired_difference
from icm.report.equal_rate import RateCurve
from icm.report.points import Point, measures_of, series_of


@dataclass(frozen=True)
class Comparison:
    """``point`` against the curve ``against`` at the point's rate; negative: less than with the other codec.

    Attributes:
        differences: By measure and subject.
    """

    point: Point
    against: str
    differences: dict[tuple[Measure, Subject], PairedDifference]

    @property
    def first(self) -> tuple[Measure, Subject]:
        """The first measure and subject that has a number."""
        return next(key for key, found in self.differences.items() if found.difference is not None)

    def of(self, measure: Measure) -> bool:
        """Whether the two could be compared by a measure."""
        return any(key[0] == measure and found.difference is not None for key, found in self.differences.items())


def compare(points: Sequence[Point]) -> list[Comparison]:
    """Every point against every other curve whose rates enclose it and that measured the same faces.

    Each pair of curves is compared once, at the points of the one that is not the other's baseline, as the codecs say
    (VVC is everyone's, a control network its codec's; else the curve that comes first). Pairs without a single
    computable number are left out.
    """
    series = series_of([point for point in points if not point.is_ceiling])
    ranks = {name: (baseline_rank(members[0]), index) for index, (name, members) in enumerate(series.items())}
    found = []
    for name, other in itertools.permutations(series, 2):
        # A single point is no curve to interpolate along: it is held against the other, whatever their ranks.
        other_is_baseline = ranks[other] < ranks[name] or len(series[name]) == 1
        if len(series[other]) < 2 or not other_is_baseline:
            continue
        for point in series[name]:
            # Faces are paired by image and number, which mean the same face in the same data alone.
            if any(member.data != point.data for member in series[other]):
                continue
            comparison = _compare(point, other, series[other])
            if any(result.difference is not None for result in comparison.differences.values()):
                found.append(comparison)
    return found


def baseline_rank(point: Point) -> int:
    return {"*": 0, "": 2}.get(point.baseline_of, 1)


def _compare(point: Point, other: str, curve: list[Point]) -> Comparison:
    differences = {}
    for measure, subjects in measures_of([point]).items():
        if measure.task == "coding":
            continue
        for subject in subjects:
            measured = [member for member in curve if member.estimate(measure.key, subject)]
            if measured:
                differences[measure, subject] = _difference(point, measured, measure, subject)
    return Comparison(point, other, differences)


def _difference(point: Point, measured: list[Point], measure: Measure, subject: Subject) -> PairedDifference:
    if measure.of not in ("faces", "images"):
        own_curve, other_curve = (RateCurve(tuple(found), measure, subject) for found in ([point], measured))
        if other_curve.covers(point.bpp):
            return own_curve.minus(other_curve, point.bpp)
        return PairedDifference(point.bpp, 0, None, None, f"{point.bpp:.3f} bpp is outside the other's rates")
    own = point.scores(measure, subject)
    others = [member.scores(measure, subject) for member in measured]
    faces = [key for key in own if all(key in scores for scores in others)]
    return paired_difference(
        [own[key] for key in faces],
        point.bpp,
        [[scores[key] for key in faces] for scores in others],
        [member.bpp for member in measured],
        clusters=[image for image, _ in faces],
    )
