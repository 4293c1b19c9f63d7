"""Paired differences between codecs at equal rate, for every pair of curves that allows one."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from icm.metrics.statistics import PairedDifference, paired_difference
from icm.report.points import Point, embedders_of, series_of

# What others are held against when it is there: the paper's baseline, then a network trained without edges.
BASELINE = "vvc"
CONTROL = "control"


@dataclass(frozen=True)
class Comparison:
    """``point`` against the curve ``against`` at the point's rate, by recogniser; negative: less similar faces.

    ``raw`` holds differences of cosine similarity, ``calibrated`` of calibrated similarity.
    """

    point: Point
    against: str
    raw: dict[str, PairedDifference]
    calibrated: dict[str, PairedDifference]


def compare(points: Sequence[Point]) -> list[Comparison]:
    """Every point against every other curve whose rates enclose it and that measured the same faces.

    Each pair of curves is compared once, at the points of the one that is not the baseline (VVC, else a control
    network, else the curve that comes first). Pairs without a single computable number are left out.
    """
    series = series_of([point for point in points if not point.is_ceiling])
    ranks = {name: (_baseline_rank(members[0]), index) for index, (name, members) in enumerate(series.items())}
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
            if any(result.difference is not None for result in comparison.raw.values()):
                found.append(comparison)
    return found


def _baseline_rank(point: Point) -> int:
    if point.codec == BASELINE:
        return 0
    return 1 if CONTROL in point.series else 2


def _compare(point: Point, other: str, curve: list[Point]) -> Comparison:
    names = [name for name in embedders_of([point]) if any(name in member.similarity for member in curve)]
    raw = {name: _difference(point, curve, name, "cosine_similarity") for name in names}
    calibrated = {name: _difference(point, curve, name, "calibrated_similarity") for name in names}
    return Comparison(point, other, raw, calibrated)


def _difference(point: Point, curve: list[Point], embedder: str, column: str) -> PairedDifference:
    measured = [member for member in curve if embedder in member.similarity]
    own = point.scores(embedder, column)
    others = [member.scores(embedder, column) for member in measured]
    faces = [key for key in own if all(key in scores for scores in others)]
    return paired_difference(
        [own[key] for key in faces],
        point.bpp,
        [[scores[key] for key in faces] for scores in others],
        [member.bpp for member in measured],
        clusters=[image for image, _ in faces],
    )
