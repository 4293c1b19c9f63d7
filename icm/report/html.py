"""report.html: one self-contained page over any number of runs. Its script, styles and pictures are all inside it."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from icm.evaluation.cache import content_key, shared_cache
from icm.evaluation.measures import Estimate, Measure, Subject
from icm.evaluation.results import Run, rows_to_csv
from icm.files import atomic_write
from icm.report import figures, findings
from icm.report.bjontegaard import CAPTION, BdEntry, bd_entries
from icm.report.comparisons import compare
from icm.report.drawings import drawings
from icm.report.equal_rate import privacy_measures, unrated
from icm.report.gallery import Gallery, all_faces, make_gallery
from icm.report.methods import methods, provenance
from icm.report.page_data import answers, embedded, page_data
from icm.report.points import (
    Point,
    attack_title,
    collect_points,
    series_of,
    several_attacks,
    subject_title,
    subjects_of,
)
from icm.report.tables import describe_data, interval, number, shown, table
from icm.sweeps import is_job

MOST_BYTES = 5_000_000
IMAGE_ROWS = 500
STATIC_FACES = 4
FOLDER = Path(__file__).parent


def write_report(
    runs: Sequence[Run],
    path: Path | str,
    title: str = "Face privacy of image codecs",
    missing: Mapping[str, str] | None = None,
    differences: Sequence[BdEntry] | None = None,
) -> Path:
    """Write the page to ``path``; the same runs give the same bytes. Returns the path.

    ``missing``: jobs without a result, and why.

    The page asks for nothing from the network and has at most `MOST_BYTES` bytes: crops get what room the rest leaves.
    ``differences`` are those of `icm.report.bjontegaard.bd_entries`, from callers that have them at hand.
    """
    return atomic_write(path, render(runs, title, missing, differences))


def render(
    runs: Sequence[Run],
    title: str,
    missing: Mapping[str, str] | None = None,
    differences: Sequence[BdEntry] | None = None,
) -> str:
    """The text of the page: readable without its script, which sorts, filters and draws."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        bytecode_cache=jinja2.MemcachedBytecodeCache(_Templates()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, interval=interval, values=_values)
    points = collect_points(runs)
    comparisons = compare(points)
    if differences is None:
        differences = bd_entries(points)
    found = answers(points)
    ranked = found.first
    several = several_attacks(points)
    rows = table(runs)

    def page(gallery: Gallery) -> str:
        data = page_data(points, found, gallery, rows_to_csv(rows[0], rows))
        return environment.get_template("report.html.j2").render(
            title=title,
            data=describe_data(points),
            json=Markup(embedded({**data, "severalAttacks": several})),
            css=_source("report.css"),
            script=_source("report.js"),
            points=points,
            psnr=Subject(),
            infinite=float("inf"),
            measures=shown(points),
            subjects={subject: subject_title(points, subject) for subject in [Subject(), *subjects_of(points)]},
            series=series_of(points),
            colors=figures.series_colors(points),
            found=found,
            ranking=ranked[0] if ranked else None,
            unrated=unrated(points, ranked[0].measure, ranked[0].subject) if ranked else [],
            answer=findings.answer(ranked[0], points, several) if ranked else "",
            agreement=" ".join(filter(None, [findings.agreement(ranked), findings.silent(found.others)])),
            curve_findings=findings.curve_findings(points),
            rate=findings.rate_text(found.rates[found.start]) if found.rates else "",
            attacks={subject.attack: attack_title(points, subject) for subject in subjects_of(points)},
            several_attacks=several,
            comparisons=comparisons,
            compared=list(dict.fromkeys(key[1] for comparison in comparisons for key in comparison.differences)),
            bd=[(entry, *entry.names(points)) for entry in differences],
            bd_caption=CAPTION,
            drawings=svgs,
            gallery=gallery,
            static_faces=gallery.strips[:STATIC_FACES],
            face_scores=_face_scores(points),
            images=_images(points),
            image_limit=IMAGE_ROWS,
            skipped=_skipped(runs),
            missing=missing or {},
            methods=methods(runs, points),
            provenance=[provenance(run) for run in runs],
            command=_command(runs),
        )

    svgs = drawings(points)
    # Everything but the crops first: it tells how much room they have.
    empty = Gallery((), 0, 0, len(all_faces(points)))
    room = MOST_BYTES - len(page(empty).encode()) - _scores_bytes(points)
    return page(make_gallery(points, room))


class _Templates:
    """The compiled template in the cache, as jinja2 asks a memcached for it."""

    def get(self, name: str) -> bytes | None:
        return shared_cache().get("template", content_key(template=name))

    def set(self, name: str, code: bytes, timeout: int | None = None) -> None:
        shared_cache().put("template", content_key(template=name), code)


def _source(name: str):
    """A file of this folder as it stands, for the inside of a style or script element."""
    from markupsafe import Markup

    return Markup((FOLDER / name).read_text(encoding="utf-8"))


def _scores_bytes(points: Sequence[Point]) -> int:
    """At most what the scores and names of all faces take in the page."""
    keys = all_faces(points)
    rows = sum(len({row["attack"] + row["embedder"] for row in run.faces}) for point in points for run in point.runs)
    return 6 * rows * len(keys) + sum(100 + 3 * len(points) + 6 * len(image) for image, _ in keys)


def _values(estimate: Estimate | None) -> dict[str, str]:
    """A number and its interval as table.csv has them, for sorting and downloads."""
    if estimate is None or estimate.value is None:
        return {}
    cells = {"v": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: f"{value:.6f}" for name, value in cells.items() if value is not None}


def _face_scores(points: Sequence[Point]) -> tuple[Measure, list[dict]] | None:
    """The measure that stands under the faces before anything is chosen, and its values at every point."""
    measure = next((measure for measure in privacy_measures(points) if measure.of == "faces"), None)
    if measure is None:
        return None
    subject = next(subject for point in points for key, subject in point.estimates if key == measure.key)
    return measure, [point.scores(measure, subject) for point in points]


def _images(points: Sequence[Point]) -> list[dict]:
    """One row per image: size, faces, and bpp and PSNR under every point, the first `IMAGE_ROWS` of them."""
    rows: dict[str, dict] = {}
    for index, point in enumerate(points):
        for image in point.runs[0].images:
            size = f"{image['width']} x {image['height']}"
            row = rows.setdefault(image["image"], {"image": image["image"], "size": size, "faces": image.get("faces"),
                                                   "cells": [None] * len(points)})  # fmt: skip
            row["cells"][index] = image
    return list(rows.values())[:IMAGE_ROWS]


def _skipped(runs: Sequence[Run]) -> list[dict]:
    """Every skipped image and reason once."""
    pairs = dict.fromkeys((entry["image"], entry["reason"]) for run in runs for entry in run.summary["skipped"])
    return [{"image": image, "reason": reason} for image, reason in pairs]


def _command(runs: Sequence[Run]) -> str:
    """The command that rebuilds this page, relative to where it was made when the runs lie below there."""
    folders = dict.fromkeys(run.directory.parent if is_job(run.directory) else run.directory for run in runs)
    return shlex.join(["python", "-m", "icm", "report", *(os.path.relpath(folder) for folder in folders)])
