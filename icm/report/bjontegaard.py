"""Codecs on equal terms over their whole curves: Bjontegaard differences in rate, and in measures, of a set of runs.

In rate at equal utility (BD-rate), in every measure of pictures and faces at equal rate, and in the similarity of faces
at equal utility. How a difference is taken is said in `icm.metrics.bjontegaard`. Rates are those of the images that a
measure was taken on. Intervals resample images, the same ones for both codecs and for rate and measure alike.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from icm.evaluation.measures import Measure, Subject
from icm.evaluation.results import rows_to_csv
from icm.files import atomic_write
from icm.metrics.bjontegaard import Curve, Difference, bd_measure, bd_measure_at_equal, bd_rate
from icm.metrics.resampling import image_weights, resampled_means
from icm.report.comparisons import baseline_rank
from icm.report.equal_rate import RateCurve, is_privacy, lower_is_better, rate_curves
from icm.report.points import Point, measures_of, series_of, subject_title
from icm.report.tables import Cells, interval, number

RESAMPLES = 500  # as many as `icm.evaluation.detection` keeps of an AP
_Quantity = tuple[Measure, Subject]
CAPTION = (
    "Bjontegaard differences to the other codec, means over the part of the curves that both cover: below 0 the codec "
    "needs less rate, or has less of the measure."
)
COLUMNS = (
    "anchor", "test", "difference", "equal", "embedder", "attack", "model", "value", "low", "high", "unit",
    "span_low", "span_high", "overlap", "fitted", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class BdEntry:
    """The test codec against the anchor.

    Attributes:
        anchor, test: Names of their curves.
        of: The measure that differs, and whose it is; None: the rate.
        equal: What is held equal; None: the rate.
        found: A share of the anchor's rate where ``of`` is None, else in the measure's unit.
    """

    anchor: str
    test: str
    of: _Quantity | None
    equal: _Quantity | None
    found: Difference

    @property
    def subject(self) -> Subject:
        """Whose measure it is; that of what is held equal where the rate differs."""
        quantity = self.of or self.equal
        return quantity[1] if quantity else Subject()

    @property
    def measure(self) -> Measure:
        """The measure whose table it belongs to."""
        quantity = self.of or self.equal
        assert quantity is not None
        return quantity[0]

    @property
    def digits(self) -> int:
        return self.of[0].digits if self.of else 1

    @property
    def scaled(self) -> tuple[float | None, tuple[float, float] | None]:
        """Value and interval for people: a rate in per cent."""
        scale = 1.0 if self.of else 100.0
        limits = self.found.ci95
        return (
            None if self.found.value is None else scale * self.found.value,
            None if limits is None else (scale * limits[0], scale * limits[1]),
        )

    def names(self, points: Sequence[Point]) -> tuple[str, str]:
        """What differs and what is equal, for people."""
        return _name(points, self.of), _name(points, self.equal)

    @property
    def remark(self) -> str:
        """Why there is no value, or what to know of it."""
        if self.found.reason:
            return self.found.reason
        fitted = "after a monotone fit" if self.found.fitted else ""
        part = f"over {self.found.overlap:.0%} of the curves" if self.found.overlap < 0.995 else ""
        return ", ".join(filter(None, [fitted, part]))


def bd_entries(points: Sequence[Point]) -> list[BdEntry]:
    """Every pair of curves that measured the same pictures, by every measure that both have.

    The anchor is the codec that is the other's baseline, else the one that comes first. Comparisons that too few points
    or curves without overlap do not allow are there with the reason.
    """
    series = series_of([point for point in points if not point.is_ceiling])
    order = sorted(series, key=lambda name: baseline_rank(series[name][0]))
    found = []
    for anchor, test in itertools.combinations(order, 2):
        members = [*series[anchor], *series[test]]
        if len({point.data for point in members}) == 1 and min(len(series[anchor]), len(series[test])) > 1:
            entries = [BdEntry(anchor, test, *entry) for entry in _pair(members, anchor, test)]
            # Where nothing can be compared, one reason is enough.
            found += entries if any(entry.found.value is not None for entry in entries) else entries[:1]
    return found


def _pair(
    members: list[Point], anchor: str, test: str
) -> Iterator[tuple[_Quantity | None, _Quantity | None, Difference]]:
    curves = {}
    for measure, subjects in measures_of(members).items():
        for subject in subjects:
            if _compared(measure, subject):
                both = rate_curves(members, measure, subject)
                if anchor in both and test in both:
                    curves[measure, subject] = both[anchor], both[test]
    draws = _Draws(members)
    sampled = {quantity: (draws.curve(both[0]), draws.curve(both[1])) for quantity, both in curves.items()}
    useful = [quantity for quantity in sampled if not is_privacy(quantity[0])]
    for quantity in useful:
        yield None, quantity, bd_rate(*sampled[quantity], rises=not lower_is_better(quantity[0]))
    for quantity in sampled:
        yield quantity, None, bd_measure(*sampled[quantity])
    for quantity, base in itertools.product(sampled, useful):
        if is_privacy(quantity[0]) and (base[0].headline or base[0].task == "coding"):
            sides = [_matched(curves[base][side], sampled[base][side], curves[quantity][side], sampled[quantity][side])
                     for side in (0, 1)]  # fmt: skip
            compare = partial(bd_measure_at_equal, rises=not lower_is_better(base[0]))
            yield quantity, base, compare(*sides[0], *sides[1])


def _compared(measure: Measure, subject: Subject) -> bool:
    """Measures of faces as they are; of pictures; and the headline AP of a detector, but for the smoke test."""
    if measure.of in ("faces", "images"):
        return subject.attack in ("", "none")
    return not is_privacy(measure) and measure.headline and measure.task != "people"


def _matched(base: RateCurve, base_curve: Curve, of: RateCurve, of_curve: Curve) -> tuple[Curve, Curve]:
    """Two measures of one codec at the points that have both. Their rate only orders points, so one serves both."""
    places = [{point.title: index for index, point in enumerate(curve.points)} for curve in (base, of)]
    both = [title for title in places[0] if title in places[1]]
    first, second = (_picked(curve, [place[title] for title in both])
                     for curve, place in zip((base_curve, of_curve), places, strict=True))  # fmt: skip
    return first, replace(second, rates=first.rates, sampled_rates=first.sampled_rates)


def _picked(curve: Curve, rows: list[int]) -> Curve:
    sampled = (None if each is None else each[rows] for each in (curve.sampled_rates, curve.sampled_values))
    return Curve(curve.rates[rows], curve.values[rows], *sampled)


class _Draws:
    """Resamples of the images of runs over the same data: the same for every measure and codec."""

    def __init__(self, points: Sequence[Point]):
        self._seed = points[0].runs[0].summary["seed"]
        rates = [{row["image"]: row["bpp"] for run in point.runs for row in run.images} for point in points]
        # By name: the order in which DetectionTask has them.
        self._names = sorted(name for name in rates[0] if all(name in other for other in rates))
        self._rates = dict(zip([point.title for point in points], rates, strict=True))
        self._weights = image_weights(max(len(self._names), 1), RESAMPLES, self._seed)

    def curve(self, curve: RateCurve) -> Curve:
        """The points of a curve with their resamples; without these where its measure cannot be resampled by image."""
        if curve.measure.of in ("faces", "images"):
            return self._of_each(curve)
        found = f"{curve.measure.task}_found"  # in the rows of the pictures that concern the task
        rows = [[row for run in point.runs for row in run.images] for point in curve.points]
        images = {tuple(sorted({row["image"] for row in own if row.get(found) is not None})) for own in rows}
        replicates = [point.replicates.get((curve.measure.key, curve.subject)) for point in curve.points]
        kept = [row for row in replicates if row is not None and len(row) == RESAMPLES]
        if len(images) > 1 or len(kept) < len(replicates):
            return Curve(curve.rates, curve.values)
        rates = self._rates_of(curve, *images)
        weights = image_weights(rates.shape[1], RESAMPLES, self._seed)
        return Curve(rates.mean(axis=1), curve.values, resampled_means(rates, weights), np.stack(kept))

    def _rates_of(self, curve: RateCurve, images: Iterable[str]) -> np.ndarray:
        """(points, images) bits per pixel."""
        return np.array([[self._rates[point.title][name] for name in images] for point in curve.points])

    def _of_each(self, curve: RateCurve) -> Curve:
        """Of a measure with a value for every face or picture."""
        position = {name: index for index, name in enumerate(self._names)}
        keys = [key for key in curve.faces if key[0] in position]
        if not keys:
            return Curve(curve.rates, curve.values)
        measured = sorted({image for image, _ in keys}, key=position.__getitem__)
        kept = [image in position for image, _ in curve.faces]
        scores = np.array(curve.scores)[:, kept]
        rates = self._rates_of(curve, measured)
        if len(measured) < 2:
            return Curve(rates.mean(axis=1), scores.mean(axis=1))
        sampled = [resampled_means(each, self._weights, [position[name] for name in names])
                   for each, names in ((rates, measured), (scores, [image for image, _ in keys]))]  # fmt: skip
        return Curve(rates.mean(axis=1), scores.mean(axis=1), *sampled)


def _name(points: Sequence[Point], quantity: _Quantity | None) -> str:
    if quantity is None:
        return "rate"
    who = subject_title(points, quantity[1])
    return f"{quantity[0].title} ({who})" if who else quantity[0].title


def bd_row(entry: BdEntry) -> dict[str, Any]:
    """A row of bd.csv."""
    found = entry.found
    span = found.span or (None, None)
    low, high = found.ci95 or (None, None)
    keys = (quantity[0].key if quantity else "rate" for quantity in (entry.of, entry.equal))
    subjects = [quantity[1] for quantity in (entry.of, entry.equal) if quantity]
    whose = {name: next(filter(None, (getattr(subject, name) for subject in subjects)), None)
             for name in Subject._fields}  # fmt: skip
    difference, equal = keys
    return {
        "anchor": entry.anchor, "test": entry.test, "difference": difference, "equal": equal, **whose,
        "value": found.value, "low": low, "high": high, "unit": entry.of[0].axis if entry.of else "share of the rate",
        "span_low": span[0], "span_high": span[1], "overlap": found.overlap, "fitted": int(found.fitted),
        "reason": found.reason,
    }  # fmt: skip


def bd_table(points: Sequence[Point], entries: Sequence[BdEntry]) -> Cells:
    """Heading and rows for people."""
    rows = []
    for entry in entries:
        value, limits = entry.scaled
        unit = "" if entry.of else " %"
        shown = number(value, entry.digits, sign=True) + (unit if value is not None else "")
        cell = f"{shown} {interval(limits, entry.digits, sign=True)}".rstrip()
        rows.append([entry.test, entry.anchor, *entry.names(points), cell, entry.remark])
    return ["Codec", "against", "difference in", "at equal", "value", "remark"], rows


def write_bd(entries: Sequence[BdEntry], directory: Path) -> Path:
    """Write bd.csv."""
    return atomic_write(directory / "bd.csv", rows_to_csv(COLUMNS, map(bd_row, entries)))
