"""The results table: long form for programs, wide form (the paper's layout) for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from icm.evaluation.measures import Estimate, Measure, Subject
from icm.evaluation.results import Run, rows_to_csv
from icm.files import atomic_write
from icm.metrics.statistics import PairedDifference
from icm.report.comparisons import Comparison, compare
from icm.report.points import Point, collect_points, measures_of, subject_title, subjects_of

JOINT_CAPTION = "Every codec point with what was measured on each set of pictures, and the rate there."
NO_VALUE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
Cells = tuple[list[str], list[list[str]]]


def table(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row per codec point and subject (recogniser, attack, model); None where there is no value."""
    points = collect_points(runs)
    measures = measures_of(points, empty=True)
    rows = []
    for point in points:
        for subject in subjects_of([point]) or [Subject()]:
            rows.append(_row(point, subject, measures))
    # A column that no row needs says nothing: attacks and models are there once there is one.
    unused = [name for name in ("attack", "model") if all(row[name] in (None, "none") for row in rows)]
    # Merged sweeps: what their points differ in besides codec and setting.
    unused += ["title"] if all(point.title == point.runs[0].summary["title"] for point in points) else []
    return [{name: value for name, value in row.items() if name not in unused} for row in rows]


def _row(point: Point, subject: Subject, measures: dict[Measure, list[Subject]]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "codec": point.codec,
        "label": point.label(),
        "title": point.title,
        "qp": point.qp,
        "quality": point.quality,
        "images": point.images,
        "faces": point.faces,
        "bpp": point.bpp,
        "bpp_total": point.bpp_total,
        "psnr": point.psnr,
        "embedder": subject.embedder or None,
        "attack": subject.attack or None,
        "model": subject.model or None,
    }
    for measure in measures:
        # What is the codec's alone stands in every row.
        found = point.estimate(measure.key, subject) or point.estimate(measure.key, Subject()) or Estimate(None)
        row |= dict(zip(measure.columns, (found.value, found.low, found.high), strict=True))
    return {**row, "bpp_pooled": point.bpp_pooled}


def number(value: float | None, digits: int, sign: bool = False) -> str:
    """A number for reading: fixed digits, a true minus sign, a dash for None."""
    if value is None:
        return NO_VALUE
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", MINUS)


def interval(limits: tuple[float, float] | None, digits: int = 3, sign: bool = False) -> str:
    """``[low, high]``, or nothing where there is no interval."""
    return "" if limits is None else f"[{', '.join(number(limit, digits, sign) for limit in limits)}]"


def shown(points: Sequence[Point]) -> dict[Measure, list[Subject]]:
    """The measures that get a table of their own: all but those of the coded picture, which stand in every table."""
    return {measure: subjects for measure, subjects in measures_of(points).items() if measure.task != "coding"}


def wide_table(points: Sequence[Point], measure: Measure, subjects: Sequence[Subject]) -> Cells:
    """Heading and rows in the paper's layout: codec, bpp, PSNR, then a column per subject of the measure."""
    heading = ["Codec", "bpp", "PSNR", *(subject_title(points, subject) or measure.title for subject in subjects)]
    rows = [
        [
            point.title,
            number(point.bpp, 3),
            "lossless" if point.psnr is None else number(point.psnr, 2),
            *(_estimate_cell(point.estimate(measure.key, subject), measure.digits) for subject in subjects),
        ]
        for point in points
    ]
    return heading, rows


def joint_table(points: Sequence[Point]) -> Cells | None:
    """One row a codec point where its measures were taken on several sets of pictures, as in the paper's table.

    Every set has its rate, the first headline measure of its first task and a column for each subject of that. None for
    a single set.
    """
    sets: dict[str, dict[tuple[str, str], Point]] = {}
    for point in points:
        summary = point.runs[0].summary
        sets.setdefault(point.data, {})[summary["codec"], summary["title"]] = point
    shared = [key for key in next(iter(sets.values()), {}) if all(key in own for own in sets.values())]
    if len(sets) < 2 or not shared:
        return None
    heading, columns = ["Codec"], [[title for _, title in shared]]
    for own in sets.values():
        members = [own[key] for key in shared]
        heading.append(f"bpp, {members[0].runs[0].summary['source']}")
        columns.append([number(point.bpp, 3) for point in members])
        measures = shown(members)
        for measure in [measure for measure in measures if measure.headline][:1]:
            for subject in measures[measure]:
                heading.append(f"{measure.title}, {subject_title(members, subject)}")
                found = (point.estimate(measure.key, subject) for point in members)
                columns.append([_estimate_cell(each, measure.digits) for each in found])
    return heading, [list(row) for row in zip(*columns, strict=True)]


def _estimate_cell(estimate: Estimate | None, digits: int) -> str:
    if estimate is None:
        return NO_VALUE
    return f"{number(estimate.value, digits)} {interval(estimate.interval, digits)}".rstrip()


def difference_table(points: Sequence[Point], comparisons: Sequence[Comparison], measure: Measure) -> Cells:
    """Heading and rows of the differences of one measure at equal rate."""
    found = [comparison for comparison in comparisons if any(key[0] == measure for key in comparison.differences)]
    subjects = list(
        dict.fromkeys(key[1] for comparison in found for key in comparison.differences if key[0] == measure)
    )
    heading = ["Codec", "against", "at bpp", *(subject_title(points, subject) for subject in subjects)]
    rows = [
        [
            comparison.point.title,
            comparison.against,
            number(comparison.point.bpp, 3),
            *(_difference_cell(comparison.differences.get((measure, subject)), measure.digits) for subject in subjects),
        ]
        for comparison in found
    ]
    return heading, rows


def _difference_cell(found: PairedDifference | None, digits: int) -> str:
    if found is None or found.difference is None:
        return NO_VALUE
    return f"{number(found.difference, digits, sign=True)} {interval(found.ci95, digits, sign=True)}".rstrip()


def describe_data(points: Sequence[Point]) -> str:
    """``27 images, 39 faces``, or the ranges where points differ."""
    counts = []
    faces = [point.faces for point in points if point.faces is not None]
    for noun, values in (("image", [point.images for point in points]), ("face", faces)):
        if values:
            low, high = min(values), max(values)
            counts.append(f"{low if low == high else f'{low} to {high}'} {noun}{'' if high == 1 else 's'}")
    return ", ".join(counts)


def difference_caption(measure: Measure) -> str:
    """What a table of differences of a measure shows."""
    less = "faces are less recognisable" if measure.direction == "lower is private" else "it is less"
    return (
        f"Difference of {measure.title} at equal rate, paired by face (the other codec is interpolated at this rate); "
        f"below 0: {less} than with the other codec."
    )


def _sections(points: Sequence[Point], headlines: bool = False) -> list[tuple[str, list[str], list[list[str]]]]:
    sections: list[tuple[str, list[str], list[list[str]]]] = []
    if joint := joint_table(points):
        sections.append((JOINT_CAPTION + f" {describe_data(points)}.", *joint))
    for measure, subjects in shown(points).items():
        if headlines and not measure.headline:
            continue
        data = "" if sections else f" {describe_data(points)}."
        sections.append((measure.caption + data, *wide_table(points, measure, subjects)))
    comparisons = compare(points)
    if comparisons:
        # The first measure alone: on paper one kind of difference is enough, the report has them all.
        measure = comparisons[0].first[0]
        sections.append((difference_caption(measure), *difference_table(points, comparisons, measure)))
    return sections or [(f"Rate and quality. {describe_data(points)}.", *_rate_table(points))]


def _rate_table(points: Sequence[Point]) -> Cells:
    rows = [[p.title, number(p.bpp, 3), "lossless" if p.psnr is None else number(p.psnr, 2)] for p in points]
    return ["Codec", "bpp", "PSNR"], rows


def to_markdown(points: Sequence[Point]) -> str:
    """A wide table per measure and the paired differences as Markdown, one after the other."""
    return "\n".join(f"{caption}\n\n{_markdown(heading, rows)}" for caption, heading, rows in _sections(points))


def _markdown(heading: list[str], rows: list[list[str]]) -> str:
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    escapes = str.maketrans({"|": "&#124;", "<": "&lt;", "&": "&amp;"})
    return "".join(f"| {' | '.join(cell.translate(escapes) for cell in line)} |\n" for line in lines)


def to_text(points: Sequence[Point]) -> str:
    """The tables of the headline measures with aligned columns, for a terminal: plain dashes, as every encoding has."""
    sections = _sections(points, headlines=True)
    text = "\n".join(f"{caption}\n\n{aligned(heading, rows)}" for caption, heading, rows in sections)
    return text.replace(MINUS, "-").replace(NO_VALUE, "-")


def aligned(heading: list[str], rows: list[list[str]]) -> str:
    lines = [heading, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading))]
    lines.insert(1, ["-" * width for width in widths])
    return "".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
                   for line in lines)  # fmt: skip


def print_table(runs: Sequence[Run]) -> None:
    """Print the tables of `to_text`."""
    print(to_text(collect_points(runs)))


def write_table(runs: Sequence[Run], directory: Path | str) -> tuple[Path, Path]:
    """Write table.csv (long) and table.md (wide) into ``directory``; the same runs give the same bytes."""
    directory = Path(directory)
    rows = table(runs)
    return (
        atomic_write(directory / "table.csv", rows_to_csv(rows[0], rows)),
        atomic_write(directory / "table.md", to_markdown(collect_points(runs))),
    )
