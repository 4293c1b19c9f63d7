"""report.html: one self-contained page over any number of runs (inline styles, drawings and pictures)."""

import base64
import io
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from icm.evaluation.results import Run
from icm.files import atomic_write
from icm.report import figures
from icm.report.comparisons import Comparison, compare
from icm.report.points import FaceKey, Point, collect_points, measures_of, series_of, subject_title
from icm.report.tables import describe_data, interval, number, shown
from icm.sweeps import is_job

GALLERY_FACES = 8
GALLERY_PICTURES = 160
CROP_SIDE = 128
IMAGE_ROWS = 200


def write_report(runs: Sequence[Run], path: Path | str, title: str = "Face privacy of image codecs") -> Path:
    """Write the page to ``path``; the same runs give the same bytes. Returns the path.

    The page asks for nothing from the network. Crops are scaled to at most 128 pixels a side (WebP, quality 95), and
    the first `GALLERY_FACES` faces are shown, fewer where that would exceed `GALLERY_PICTURES` pictures.
    """
    return atomic_write(path, render(runs, title))


def render(runs: Sequence[Run], title: str) -> str:
    """The text of the page."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, interval=interval)
    points = collect_points(runs)
    comparisons = compare(points)
    measures = shown(points)
    subjects = list(dict.fromkeys(subject for found in measures.values() for subject in found))
    return environment.get_template("report.html.j2").render(
        title=title,
        data=describe_data(points),
        points=points,
        measures=measures,
        subjects={subject: subject_title(points, subject) for subject in subjects},
        series=series_of(points),
        colors=figures.series_colors(points),
        findings=_findings(points, comparisons),
        comparisons=comparisons,
        compared=list(dict.fromkeys(key[1] for comparison in comparisons for key in comparison.differences)),
        drawings=_drawings(points),
        gallery=_gallery(points),
        face_count=len(dict.fromkeys(key for point in points for key in point.face_keys())),
        images=_images(points),
        image_limit=IMAGE_ROWS,
        skipped=_skipped(runs),
        provenance=[_provenance(run) for run in runs],
        command=_command(runs),
    )


# Words ---------------------------------------------------------------------------------------------------------------


def _findings(points: Sequence[Point], comparisons: Sequence[Comparison]) -> list[str]:
    # What nothing coded leaves of a face is no finding, unless nothing else was measured.
    coded = [point for point in points if not point.is_ceiling] or points
    return [*map(_curve_finding, series_of(coded).values()), *_comparison_findings(comparisons)]


def _curve_finding(members: list[Point]) -> str:
    """One sentence on what a codec does to faces over its range of rates, by its first measure and recogniser."""
    first, last = members[0], members[-1]
    head = f"{first.title} codes at {number(first.bpp, 3)} bpp"
    found = figures.first_of_faces(members)
    start, end = (point.estimate(found[0].key, found[1]) if found else None for point in (first, last))
    if found is None or start is None or start.value is None:
        return f"{head}."
    kept = f"{head} and leaves faces {number(start.value, 3)} similar ({subject_title(members, found[1])})"
    if len(members) == 1 or end is None or end.value is None:
        return f"{kept}."
    return f"{kept}; {last.short} at {number(last.bpp, 3)} bpp leaves {number(end.value, 3)}."


def _comparison_findings(comparisons: Sequence[Comparison]) -> list[str]:
    """For each pair of curves the comparison nearest the middle of the rates, by its first recogniser."""
    pairs: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        pairs.setdefault((comparison.point.series, comparison.against), []).append(comparison)
    return [_comparison_finding(members[len(members) // 2]) for members in pairs.values()]


def _comparison_finding(comparison: Comparison) -> str:
    measure, subject = comparison.first
    found = comparison.differences[measure, subject]
    limits = interval(found.ci95, measure.digits, sign=True)
    if found.ci95 is None:
        verdict = "too few images for an interval"
    elif found.ci95[0] <= 0 <= found.ci95[1]:
        verdict = f"no clear difference, 95\N{NO-BREAK SPACE}% interval {limits}"
    else:
        lower = found.ci95[1] < 0
        faces = f"faces are {'less' if lower else 'more'} recognisable"
        verdict = f"{faces}, 95\N{NO-BREAK SPACE}% interval {limits}"
    return (
        f"At {number(comparison.point.bpp, 3)} bpp {comparison.point.series} differs from {comparison.against} by "
        f"{number(found.difference, measure.digits, sign=True)} in {subject_title([comparison.point], subject)} "
        f"{measure.title}: {verdict}."
    )


# Pictures ------------------------------------------------------------------------------------------------------------


def _drawings(points: Sequence[Point]) -> list[dict]:
    """The curves, each as an inline SVG with a heading for readers that do not see it."""
    measures = measures_of(points)
    # Faces first, the picture's own quality last.
    ordered = sorted(measures, key=lambda measure: measure.task == "coding")
    drawings: list[dict] = []
    for subject in dict.fromkeys(subject for measure in ordered for subject in measures[measure]):
        for measure in ordered:
            if subject in measures[measure]:
                caption = ": ".join(filter(None, [subject_title(points, subject), measure.title]))
                figure = figures.measure_figure(points, measure, subject)
                drawings.append(_drawing(figure, f"{caption} against bits per pixel", len(drawings)))
    return drawings


def _drawing(figure, caption: str, index: int) -> dict:
    from markupsafe import Markup

    svg = figures.svg_text(figure, salt=f"drawing {index}")
    svg = svg[svg.index("<svg ") :]
    # Every drawing shares the page's name space: its ids become its own, and its ink follows the page's.
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>d{index}-", svg)
    svg = svg.replace(figures.INK, "currentColor")
    svg = svg.replace(figures.MUTED, "var(--muted)").replace(figures.GRID, "var(--line)")
    # Matplotlib escapes the text it draws, and the rest is its own markup.
    return {"svg": Markup(svg), "caption": caption}


def _gallery(points: Sequence[Point]) -> list[dict]:
    """The first faces with their crops under every point: the same faces for all."""
    keys = list(dict.fromkeys(key for point in points for key in point.face_keys()))
    count = max(1, min(GALLERY_FACES, GALLERY_PICTURES // (len(points) + 1)))
    first = figures.first_of_faces(points)
    subjects = measures_of(points)[first[0]] if first else []
    scores = [
        {subject_title(points, subject): point.scores(first[0].key, subject) for subject in subjects if first}
        for point in points
    ]
    return [_gallery_face(key, points, scores) for key in keys[:count]]


def _gallery_face(key: FaceKey, points: Sequence[Point], scores: list[dict[str, dict[FaceKey, float]]]) -> dict:
    original = next((path for point in points if (path := point.crop("original", key))), None)
    coded = [
        {
            "title": point.title,
            "series": point.series,
            "bpp": point.bpp,
            "picture": _picture(point.crop("coded", key)),
            "scores": {name: found.get(key) for name, found in own.items()},
        }
        for point, own in zip(points, scores, strict=True)
    ]
    return {"image": key[0], "number": key[1], "picture": _picture(original), "coded": coded}


def _picture(path: Path | None) -> str | None:
    """The picture as a data URI, at most `CROP_SIDE` pixels a side; None without a file."""
    from PIL import Image

    if path is None:
        return None
    with Image.open(path) as file:
        image = file.convert("RGB")
    image.thumbnail((CROP_SIDE, CROP_SIDE), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, format="WEBP", quality=95, method=4)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"


# Lists ---------------------------------------------------------------------------------------------------------------


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


def _provenance(run: Run) -> dict:
    config = run.directory / "config.yaml"
    return {
        "label": run.summary["label"],
        "directory": run.directory.name,
        "commit": run.summary.get("git_commit"),
        "seed": run.summary.get("seed"),
        "codec_version": run.summary["codec_version"],
        "versions": run.summary.get("versions", {}),
        "parameters": run.summary["parameters"],
        "config": config.read_text(encoding="utf-8") if config.is_file() else None,
    }


def _command(runs: Sequence[Run]) -> str:
    """The command that rebuilds this page, relative to where it was made when the runs lie below there."""
    folders = dict.fromkeys(run.directory.parent if is_job(run.directory) else run.directory for run in runs)
    return shlex.join(["python", "-m", "icm", "report", *(os.path.relpath(folder) for folder in folders)])
