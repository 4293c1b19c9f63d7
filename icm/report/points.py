"""The operating points of a set of runs: what one row of the table, one dot of a curve and one crop column stand for.

Runs of one codec at one point that measured different things are one point. Codecs name themselves and their curves
(`icm.codecs.base.Codec`); where the runs differ in what they measured, every name says on what.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from icm.evaluation.measures import MEASURES, Estimate, Measure, Subject
from icm.evaluation.results import Row, Run, crop_name
from icm.report.curves import Curve, curves_of, replicates_of

FaceKey = tuple[str, int]
# Parts whose settings say what was measured, in the order in which a difference is named.
_DATA_PARTS = ("source", "detector")


@dataclass(frozen=True)
class Point:
    """One codec at one operating point.

    Attributes:
        codec: Its name.
        series: The name of its curve.
        title: The name of the point.
        short: What sets the point apart on its curve.
        baseline_of: The series that this codec is a baseline of; ``*`` for every other, empty for none.
        is_ceiling: It codes nothing, so it has no place on a rate axis.
        images, faces: What was measured; faces None where none were looked for.
        bpp, bpp_total, bpp_pooled: Bits per pixel.
        psnr: In dB; None for a lossless codec.
        estimates: By the key of the measure and the subject, in the order in which they were measured.
        runs: The runs it was collected from.
    """

    codec: str
    series: str
    title: str
    short: str
    baseline_of: str
    is_ceiling: bool
    qp: float | None
    quality: float | None
    images: int
    faces: int | None
    bpp: float
    bpp_total: float
    bpp_pooled: float
    psnr: float | None
    estimates: dict[tuple[str, Subject], Estimate]
    runs: tuple[Run, ...]

    @property
    def data(self) -> str:
        """What names the measured pictures and faces."""
        return self.runs[0].summary["data"]

    def label(self) -> str:
        return self.runs[0].summary["label"]

    def estimate(self, measure: str, subject: Subject) -> Estimate | None:
        return self.estimates.get((measure, subject))

    def scores(self, measure: Measure, subject: Subject) -> dict[FaceKey, float]:
        """The value of every face, or of every picture where that is what the measure is of.

        Returns:
            By (image, number of the face, 0 for a picture); what has no finite number is left out.
        """
        rows = self.runs[0].images if measure.of == "images" else self._rows.get((subject.embedder, subject.attack), [])
        found = ((row["image"], row.get("face", 0), row.get(measure.key)) for row in rows)
        return {(image, face): value for image, face, value in found if value is not None and math.isfinite(value)}

    @cached_property
    def _rows(self) -> dict[tuple[str, str], list[Row]]:
        """The rows of faces.csv by recogniser and attack."""
        found: dict[tuple[str, str], list[Row]] = {}
        for row in (row for run in self.runs for row in run.faces):
            found.setdefault((row["embedder"], row["attack"]), []).append(row)
        return found

    @cached_property
    def replicates(self) -> dict[tuple[str, Subject], np.ndarray]:
        """Bootstrap replicates of the measures that kept theirs, (resamples,) each (`icm.report.curves`)."""
        return {key: values for run in self.runs for key, values in replicates_of(run).items()}

    @cached_property
    def curves(self) -> list[Curve]:
        """What there is to draw of this point alone."""
        return [curve for run in self.runs for curve in curves_of(run)]

    def face_keys(self) -> list[FaceKey]:
        """Every measured face once, in file order."""
        return list(dict.fromkeys((row["image"], row["face"]) for run in self.runs for row in run.faces))

    def crop(self, kind: str, key: FaceKey) -> Path | None:
        """The crop file of a face, ``kind`` being ``original`` or ``coded``; None where it was not kept."""
        paths = (run.directory / "crops" / kind / crop_name(*key) for run in self.runs)
        return next((path for path in paths if path.is_file()), None)


def collect_points(runs: Sequence[Run]) -> list[Point]:
    """The points of ``runs``: series in order of first appearance, falling rate within a series."""
    groups: dict[tuple, list[tuple[Run, str]]] = {}
    for run, where in zip(runs, _measured_on(runs), strict=True):
        # Runs over the same images code them to the same bytes, so an equal rate tells one point from another.
        summary = run.summary
        key = (summary["codec"], summary["title"], summary["bpp"], summary["data"], where)
        groups.setdefault(key, []).append((run, where))
    points = [_point([run for run, _ in members], members[0][1]) for members in groups.values()]
    order = {series: index for index, series in reversed(list(enumerate(point.series for point in points)))}
    return sorted(points, key=lambda point: (order[point.series], -point.bpp))


def series_of(points: Sequence[Point]) -> dict[str, list[Point]]:
    """The points of every series, in the order of `collect_points`."""
    series: dict[str, list[Point]] = {}
    for point in points:
        series.setdefault(point.series, []).append(point)
    return series


def measures_of(points: Sequence[Point], empty: bool = False) -> dict[Measure, list[Subject]]:
    """Every measure that has a value at any point, in table order, with its subjects in order of first appearance.

    PSNR is among them; rates are not measures. ``empty``: also the measures that were tried and gave no value.
    """
    found: dict[str, dict[Subject, None]] = {}
    for point in points:
        for (key, subject), estimate in point.estimates.items():
            if empty or estimate.value is not None:
                found.setdefault(key, {})[subject] = None
    return {measure: list(found[measure.key]) for measure in MEASURES if measure.key in found}


def subjects_of(points: Iterable[Point]) -> list[Subject]:
    """Every recogniser (under an attack) or model with an estimate at any point, in order of first appearance."""
    return list(dict.fromkeys(subject for point in points for _, subject in point.estimates if any(subject)))


def subject_title(points: Iterable[Point], subject: Subject) -> str:
    """A subject for people: ``Dlib``, or ``Dlib, coded gallery`` under an attack."""
    titles = _titles(points)
    names = [name for name in subject if name and name != "none"]
    return ", ".join(titles.get(name, name) for name in names)


def attack_title(points: Iterable[Point], subject: Subject) -> str:
    """The attack of a subject for people, ``no attack`` among them."""
    return _titles(points).get(subject.attack, subject.attack)


def _titles(points: Iterable[Point]) -> dict[str, str]:
    return {
        name: title for point in points for run in point.runs for name, title in run.summary.get("titles", {}).items()
    }


def _point(runs: list[Run], where: str) -> Point:
    first = runs[0].summary
    suffix = f" ({where})" if where else ""
    return Point(
        codec=first["codec"],
        series=first["series"] + suffix,
        title=first["title"] + suffix,
        short=first["short"],
        baseline_of=first["baseline_of"] + suffix if first["baseline_of"] not in ("", "*") else first["baseline_of"],
        is_ceiling=first["ceiling"],
        qp=first["qp"],
        quality=first["point"].get("quality"),
        images=first["images"],
        faces=next((run.summary["faces"] for run in runs if "faces" in run.summary), None),
        bpp=first["bpp"],
        bpp_total=first["bpp_total"],
        bpp_pooled=first["bpp_pooled"],
        psnr=first["psnr"],
        estimates={key: estimate for run in runs for key, estimate in run.estimates.items()},
        runs=tuple(runs),
    )


def _measured_on(runs: Sequence[Run]) -> list[str]:
    """For every run what it was measured on, as far as the runs differ in it; the same on every row that shares it."""
    settings = [_data_settings(run) for run in runs]
    names = dict.fromkeys(name for own in settings for name in own)
    varying = [name for name in names if len({own.get(name) for own in settings}) > 1]
    # Its digest names the data only where nothing readable does.
    if len(varying) > 1:
        varying = [name for name in varying if name != "data"]
    return [", ".join(_setting(name, own[name]) for name in varying if own.get(name)) for own in settings]


def _data_settings(run: Run) -> dict[str, str]:
    summary = run.summary
    found: dict[str, str] = {"source": summary["source"], "detector": summary.get("detector", "")}
    for part in summary["parts"]:
        for kind in _DATA_PARTS:
            if part["name"] == found[kind]:
                found |= {f"{kind}.{name}": _text(value) for name, value in part["parameters"].items()}
    return {**found, "data": summary["data"]}


def _setting(name: str, value: str) -> str:
    return value if name in _DATA_PARTS else f"{name} {value}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return f"{value:g}" if isinstance(value, float) else str(value)
