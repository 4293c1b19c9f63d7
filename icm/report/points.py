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
from typing import Any, NamedTuple

import numpy as np

from icm.evaluation.measures import MEASURES, Estimate, Measure, Subject
from icm.evaluation.results import Row, Run, crop_name
from icm.report.curves import Curve, curves_of, replicates_of
from icm.sweeps import is_job

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
        data: Names the measured pictures and faces, and what recognised them where runs differ in that: only points of
            equal data are compared face by face.
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
    data: str
    runs: tuple[Run, ...]

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
    groups: dict[tuple, list[tuple[Run, _Apart]]] = {}
    for run, apart in zip(runs, _told_apart(runs), strict=True):
        # Runs over the same images code them to the same bytes, so an equal rate tells one point from another.
        summary = run.summary
        key = (summary["codec"], summary["title"], summary["bpp"], summary["data"], apart)
        groups.setdefault(key, []).append((run, apart))
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


def several_attacks(points: Iterable[Point]) -> bool:
    """Whether more than one attack was measured."""
    return len({subject.attack for subject in subjects_of(points)} - {""}) > 1


def run_name(run: Run) -> str:
    """The folder of a run for people: its own name, with that of its sweep where it is a mere number."""
    return "/".join(run.directory.parts[-2:]) if is_job(run.directory) else run.directory.name


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


class _Apart(NamedTuple):
    """What sets a run apart from others of its name: on the row of a point, on its curve, and in what it is paired by.

    Attributes:
        title, series: Texts for the point and for its curve; empty where nothing differs.
        recognised: What differs in recognisers, attacks or models.
    """

    title: str
    series: str
    recognised: str


def _point(runs: list[Run], apart: _Apart) -> Point:
    first = runs[0].summary
    suffix = f" ({apart.series})" if apart.series else ""
    return Point(
        codec=first["codec"],
        series=first["series"] + suffix,
        title=first["title"] + (f" ({apart.title})" if apart.title else ""),
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
        data=" ".join(filter(None, [first["data"], apart.recognised])),
        runs=tuple(runs),
    )


def _told_apart(runs: Sequence[Run]) -> list[_Apart]:
    """What sets every run apart, as far as the runs differ in it; the same for all that share it."""
    found = []
    for measured, recognised, (point, curve) in zip(
        _measured_on(runs), _recognised_by(runs), _coded_with(runs), strict=True
    ):
        texts = (", ".join(filter(None, [measured, recognised, coded])) for coded in (point, curve))
        found.append(_Apart(*texts, recognised))
    return found


def _measured_on(runs: Sequence[Run]) -> list[str]:
    """Pictures, source and detector."""
    settings = [_data_settings(run) for run in runs]
    names = dict.fromkeys(name for own in settings for name in own)
    varying = [name for name in names if _varies(name, settings)]
    # Its digest names the data only where nothing readable does.
    if len(varying) > 1:
        varying = [name for name in varying if name != "data"]
    return [_named(own, varying) for own in settings]


def _varies(name: str, settings: Sequence[dict[str, str]]) -> bool:
    """Whether runs differ in a setting; in one of a part's own, whether runs of this very part do."""
    part = name.partition(".")[0] if "." in name else ""
    values: dict[str | None, set[str | None]] = {}
    for own in settings:
        values.setdefault(own.get(part), set()).add(own.get(name))
    return any(len(found) > 1 for found in values.values())


def _recognised_by(runs: Sequence[Run]) -> list[str]:
    """Settings and versions of recognisers, attacks and models that runs have in common by name alone."""
    settings = []
    for run in runs:
        names = {name for _, subject in run.estimates for name in subject if name}
        parts = [part for part in run.summary["parts"][2:] if part["name"] in names]
        own = {}
        for part in parts:
            own |= {f"{part['name']}.{name}": _text(value) for name, value in part["parameters"].items()}
            own[f"{part['name']}.version"] = part["version"]
        settings.append(own)
    return [_named(own, _conflicts(settings)) for own in settings]


def _coded_with(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Settings, version and checkpoint of codecs that have the same name and are not the same.

    A checkpoint stands on the row of its point alone, for the points of one curve may each have their own; the curve is
    then named after the folder it comes from.
    """
    settings = [_codec_settings(run) for run in runs]
    titles = [(run.summary["codec"], run.summary["title"]) for run in runs]
    curves = [(run.summary["codec"], run.summary["series"]) for run in runs]
    found = []
    for run, own, curve in zip(runs, settings, curves, strict=True):
        alike = {title for title, other in zip(titles, curves, strict=True) if other == curve}
        conflicts = {name: None for title in alike for name in _conflicts(
            [other for other, name in zip(settings, titles, strict=True) if name == title])}  # fmt: skip
        folder = run.directory.parent if is_job(run.directory) else run.directory
        shared = [_named(own, [name for name in conflicts if name != "checkpoint"])]
        series = shared + ([f"from {folder.name}"] if "checkpoint" in conflicts else [])
        found.append((_named(own, list(conflicts)), ", ".join(filter(None, series))))
    return found


def _codec_settings(run: Run) -> dict[str, str]:
    own = {name: _text(value) for name, value in run.summary["parameters"].items()}
    if "checkpoint_sha256" in own:
        own["checkpoint"] = own.pop("checkpoint_sha256")[:12]
    return {**own, "version": run.summary["codec_version"]}


def _conflicts(settings: Sequence[dict[str, str]]) -> list[str]:
    """The names that stand for more than one value."""
    names = dict.fromkeys(name for own in settings for name in own)
    return [name for name in names if len({own[name] for own in settings if name in own}) > 1]


def _named(own: dict[str, str], names: Sequence[str]) -> str:
    return ", ".join(_setting(name, own[name]) for name in names if own.get(name))


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
