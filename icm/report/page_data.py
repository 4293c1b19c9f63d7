"""The numbers that the script of a report works with, as JSON inside the page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from icm.evaluation.measures import Measure, Subject
from icm.report import figures
from icm.report.equal_rate import HEADLINES, Ranking, common_rate, is_privacy, privacy_measures, rankings, rate_grid
from icm.report.gallery import Gallery
from icm.report.points import Point, attack_title, measures_of, subject_title

CURVE_POINTS = 64


@dataclass(frozen=True)
class Answers:
    """Every ranking that a reader can ask for, and the one that stands there at first.

    Attributes:
        rates: The rates to choose from; empty where nothing is coded.
        start: The index of the first.
        rankings: By measure and recogniser, one for each rate.
    """

    rates: list[float]
    start: int
    rankings: dict[Measure, dict[Subject, list[Ranking]]]

    @property
    def first(self) -> list[Ranking]:
        """The headline measure at the first rate, under every recogniser."""
        by_recogniser = next(iter(self.rankings.values()), {})
        return [found[self.start] for found in by_recogniser.values()]

    @property
    def others(self) -> list[Ranking]:
        """The other measures at the first rate, under the first recogniser of the headline."""
        if not self.first:
            return []
        who = self.first[0].subject
        return [found[who][self.start] for found in list(self.rankings.values())[1:] if who in found]


def answers(points: Sequence[Point]) -> Answers:
    rates = rate_grid(points)
    if not rates:
        return Answers([], 0, {})
    start = rates.index(common_rate(points, rates))
    return Answers(rates, start, {measure: rankings(points, measure, rates) for measure in privacy_measures(points)})


def page_data(points: Sequence[Point], found: Answers, gallery: Gallery, table_csv: str) -> dict[str, Any]:
    """All that report.js reads; indices stand for points, series, measures and subjects."""
    measures = list(measures_of(points))
    subjects = list(dict.fromkeys(subject for found in measures_of(points).values() for subject in found))
    recognisers = list(dict.fromkeys(subject._replace(attack="") for subject in subjects))
    series = figures.series_looks(points)
    names = list(series)
    return {
        "series": [
            {"name": name, "color": color, "marker": marker, "dashes": dashes}
            for name, (color, marker, dashes) in series.items()
        ],
        "points": [
            {"series": names.index(point.series), "title": point.title, "short": point.short, "bpp": point.bpp,
             "ceiling": point.is_ceiling} for point in points
        ],
        "measures": [
            {"key": measure.key, "title": measure.title, "axis": measure.axis, "digits": measure.digits,
             "task": measure.task, "lower": measure.direction.startswith("lower"), "private": is_privacy(measure)}
            for measure in measures
        ],
        "recognisers": [subject_title(points, who) for who in recognisers],
        "subjects": [
            {**subject._asdict(), "recogniser": recognisers.index(subject._replace(attack="")),
             "title": subject_title(points, subject), "attackTitle": attack_title(points, subject)}
            for subject in subjects
        ],
        "estimates": [[_estimates(points, measure, subject) for subject in subjects] for measure in measures],
        "privacy": [measures.index(measure) for measure in privacy_measures(points)],
        "headlines": [index for index, measure in enumerate(measures) if measure.key in HEADLINES],
        "rates": found.rates,
        "start": found.start,
        "answers": {
            measures.index(measure): {
                recognisers.index(who): [_places(ranking, names, subjects) for ranking in ranked]
                for who, ranked in by_recogniser.items()
            }
            for measure, by_recogniser in found.rankings.items()
        },
        "curves": _curves(points, subjects),
        "faces": [
            {"image": strip.key[0], "number": strip.key[1], "shown": [int(shown) for shown in strip.shown]}
            for strip in gallery.strips
        ],
        **_scores(points, measures, subjects, gallery),
        "table": table_csv,
    }  # fmt: skip


def embedded(data: dict[str, Any]) -> str:
    """JSON that stays text inside a script element: no character of it can end the element or a line of it."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _estimates(points: Sequence[Point], measure: Measure, subject: Subject) -> list[list[float | None] | None] | None:
    found = [point.estimate(measure.key, subject) for point in points]
    if not any(found):
        return None
    return [[each.value, each.low, each.high] if each and each.value is not None else None for each in found]


def _places(ranking: Ranking, series: list[str], subjects: list[Subject]) -> list[list[Any]]:
    rows = []
    for place in ranking.places:
        subject = ranking.subject._replace(attack=place.attack)
        gap = place.behind
        values = [place.estimate.value, *(place.estimate.interval or (None, None))]
        values += [gap.difference, *(gap.ci95 or (None, None))] if gap else [None] * 3
        # Rounded once, here: the script writes the same digits as the page without it.
        shown = [None if value is None else float(f"{value:.{ranking.measure.digits}f}") for value in values]
        rows.append([series.index(place.series), subjects.index(subject), *shown, gap.reason if gap else None])
    return rows


def _curves(points: Sequence[Point], subjects: list[Subject]) -> list[dict[str, Any]]:
    known = {(subject.embedder, subject.attack): index for index, subject in enumerate(subjects)}
    return [
        {"point": index, "kind": curve.kind, "subject": known[curve.embedder, curve.attack],
         "x": _rounded(_thinned(curve.x, curve.kind)), "y": _rounded(_thinned(curve.y, curve.kind))}
        for index, point in enumerate(points) for curve in point.curves if (curve.embedder, curve.attack) in known
    ]  # fmt: skip


def _thinned(values: Sequence[float], kind: str) -> Sequence[float]:
    if kind in ("genuine", "impostor") or len(values) <= CURVE_POINTS:
        return values
    step = (len(values) - 1) / (CURVE_POINTS - 1)
    return [values[round(index * step)] for index in range(CURVE_POINTS)]


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def _scores(
    points: Sequence[Point], measures: list[Measure], subjects: list[Subject], gallery: Gallery
) -> dict[str, Any]:
    """The value of every shown face by the first measure of faces, in units of its last digit."""
    measure = next((measure for measure in privacy_measures(points) if measure.of == "faces"), None)
    if measure is None:
        return {"faceMeasure": None, "scores": []}
    scale = 10**measure.digits

    def of(point: Point, subject: Subject) -> list[int | None] | None:
        found = point.scores(measure, subject)
        if not found:
            return None
        values = [found.get(strip.key) for strip in gallery.strips]
        return [None if value is None else round(float(f"{value:.{measure.digits}f}") * scale) for value in values]

    return {
        "faceMeasure": measures.index(measure),
        "scores": [[of(point, subject) for point in points] for subject in subjects],
    }
