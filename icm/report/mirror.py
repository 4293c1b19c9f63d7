"""What every mirror of finished runs shows, whichever it is: the numbers, figures and answer of runs and sweeps."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from icm.evaluation.results import Run
from icm.report import figures, findings
from icm.report.curves import timings_of
from icm.report.kept import kept
from icm.report.page_data import answers
from icm.report.paper import first_figures
from icm.report.points import Point, measures_of, several_attacks

# Crops are sent one by one: enough to look at, not a copy of a whole data set.
TABLE_FACES = 200


def headline(points: Sequence[Point]) -> str:
    """The first sentence of the report; empty where there is no privacy to compare."""
    ranked = answers(points).first
    return findings.answer(ranked[0], points, several_attacks(points)) if ranked else ""


def metrics(run: Run) -> dict:
    """Summary numbers with flat names: ``bpp``, ``cosine_similarity/dlib``, ``cosine_similarity/dlib/low``."""
    summary = run.summary
    names = (
        "codec",
        "title",
        "series",
        "label",
        "images",
        "faces",
        "bpp",
        "bpp_total",
        "bpp_pooled",
        "data",
        "git_commit",
    )
    found = {name: summary.get(name) for name in names}
    found |= {f"point/{name}": value for name, value in summary["point"].items()}
    found["skipped"] = len(summary["skipped"])
    found |= {f"seconds/{stage}": value for stage, value in timings_of(run).items()}
    for (measure, subject), estimate in run.estimates.items():
        name = metric_name(measure, *subject)
        found |= {name: estimate.value, f"{name}/low": estimate.low, f"{name}/high": estimate.high}
    return {name: value for name, value in found.items() if value is not None}


def metric_name(measure: str, *subject: str) -> str:
    """The summary metric of an estimate."""
    return "/".join([measure, *(part for part in subject if part not in ("", "none"))])


def finite(value: Any) -> Any:
    """The value, None for a number that is not finite: the PSNR of a lossless picture."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def job_pictures(point: Point) -> dict[str, bytes]:
    """The figures of a single job as PNG files: how its faces spread under each measure, and a strip of the first."""
    drawn: dict[str, Callable[[], Any]] = {
        f"spread/{measure.key}": partial(figures.spread_figure, point, measure)
        for measure in measures_of([point])
        if measure.of == "faces"
    }
    if point.face_keys():
        drawn["strip"] = partial(figures.strip_figure, [point], point.face_keys()[:4])
    return _pictures([point], drawn)


def sweep_pictures(points: Sequence[Point]) -> dict[str, bytes]:
    """The figures of a sweep to look at first, as PNG files (`icm.report.paper.first_figures`)."""
    return _pictures(points, first_figures(points))


def _pictures(points: Sequence[Point], drawn: Mapping[str, Callable[[], Any]]) -> dict[str, bytes]:
    def png(name: str) -> bytes:
        return figures.png_bytes(drawn[name]())

    return {name: kept(name, points, partial(png, name)) for name in drawn}
