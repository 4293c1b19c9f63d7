"""The results table: long form for programs, wide form (the paper's layout) for people."""

from collections.abc import Sequence
from pathlib import Path

from icm.evaluation.results import Run, rows_to_csv
from icm.files import atomic_write
from icm.metrics.statistics import PairedDifference
from icm.report.comparisons import Comparison, compare
from icm.report.points import Point, Similarity, collect_points, embedder_title, embedders_of

COLUMNS = (
    "codec", "label", "qp", "quality", "images", "faces", "bpp", "bpp_total", "psnr", "embedder", "cosine_similarity",
    "ci95_low", "ci95_high", "calibrated_similarity", "calibrated_ci95_low", "calibrated_ci95_high",
)  # fmt: skip
NO_VALUE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def table(runs: Sequence[Run]) -> list[dict]:
    """One row per codec point and recogniser, with the columns `COLUMNS`; None where there is no value."""
    return [_row(point, name) for point in collect_points(runs) for name in point.similarity]


def _row(point: Point, embedder: str) -> dict:
    similarity = point.similarity[embedder]
    low, high = similarity.ci95 or (None, None)
    calibrated_low, calibrated_high = similarity.calibrated_ci95 or (None, None)
    return {
        "codec": point.codec,
        "label": point.label(),
        "qp": point.qp,
        "quality": point.quality,
        "images": point.images,
        "faces": point.faces,
        "bpp": point.bpp,
        "bpp_total": point.bpp_total,
        "psnr": point.psnr,
        "embedder": embedder,
        "cosine_similarity": similarity.mean,
        "ci95_low": low,
        "ci95_high": high,
        "calibrated_similarity": similarity.calibrated_mean,
        "calibrated_ci95_low": calibrated_low,
        "calibrated_ci95_high": calibrated_high,
    }


def number(value: float | None, digits: int, sign: bool = False) -> str:
    """A number for reading: fixed digits, a true minus sign, a dash for None."""
    if value is None:
        return NO_VALUE
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", MINUS)


def interval(limits: tuple[float, float] | None, digits: int = 3, sign: bool = False) -> str:
    """``[low, high]``, or nothing where there is no interval."""
    return "" if limits is None else f"[{', '.join(number(limit, digits, sign) for limit in limits)}]"


def wide_table(points: Sequence[Point], calibrated: bool = False) -> tuple[list[str], list[list[str]]]:
    """Heading and rows in the paper's layout: codec, bpp, PSNR, then a column per recogniser."""
    names = embedders_of(points)
    heading = ["Codec", "bpp", "PSNR", *(embedder_title(name) for name in names)]
    rows = [
        [
            point.title,
            number(point.bpp, 3),
            "lossless" if point.psnr is None else number(point.psnr, 2),
            *(_similarity_cell(point.similarity.get(name), calibrated) for name in names),
        ]
        for point in points
    ]
    return heading, rows


def _similarity_cell(similarity: Similarity | None, calibrated: bool) -> str:
    if similarity is None:
        return NO_VALUE
    mean = similarity.calibrated_mean if calibrated else similarity.mean
    limits = similarity.calibrated_ci95 if calibrated else similarity.ci95
    return f"{number(mean, 3)} {interval(limits)}".rstrip()


def difference_table(comparisons: Sequence[Comparison]) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the differences of cosine similarity at equal rate."""
    names = list(dict.fromkeys(name for comparison in comparisons for name in comparison.raw))
    heading = ["Codec", "against", "at bpp", *(embedder_title(name) for name in names)]
    rows = [
        [
            comparison.point.title,
            comparison.against,
            number(comparison.point.bpp, 3),
            *(_difference_cell(comparison.raw.get(name)) for name in names),
        ]
        for comparison in comparisons
    ]
    return heading, rows


def _difference_cell(found: PairedDifference | None) -> str:
    if found is None or found.difference is None:
        return NO_VALUE
    return f"{number(found.difference, 3, sign=True)} {interval(found.ci95, sign=True)}".rstrip()


def describe_data(points: Sequence[Point]) -> str:
    """``27 images, 39 faces``, or the ranges where points differ."""
    counts = []
    for noun, values in (("image", [p.images for p in points]), ("face", [p.faces for p in points])):
        low, high = min(values), max(values)
        counts.append(f"{low if low == high else f'{low} to {high}'} {noun}{'' if high == 1 else 's'}")
    return ", ".join(counts)


CAPTION = "Mean cosine similarity of a face before and after coding, with its 95 % interval (bootstrap over images)."
CALIBRATED_CAPTION = "The same, calibrated: 0 is the mean of two different people, 1 the unchanged face."
DIFFERENCE_CAPTION = (
    "Difference of cosine similarity at equal rate, paired by face (the other codec is interpolated at this rate); "
    "below 0: faces are less recognisable than with the other codec."
)


def _sections(points: Sequence[Point]) -> list[tuple[str, list[str], list[list[str]]]]:
    sections = [(f"{CAPTION} {describe_data(points)}.", *wide_table(points))]
    if any(value.calibrated_mean is not None for point in points for value in point.similarity.values()):
        sections.append((CALIBRATED_CAPTION, *wide_table(points, calibrated=True)))
    comparisons = compare(points)
    if comparisons:
        sections.append((DIFFERENCE_CAPTION, *difference_table(comparisons)))
    return sections


def to_markdown(points: Sequence[Point]) -> str:
    """The wide tables (raw, calibrated, paired differences) as Markdown, one after the other."""
    return "\n".join(f"{caption}\n\n{_markdown(heading, rows)}" for caption, heading, rows in _sections(points))


def _markdown(heading: list[str], rows: list[list[str]]) -> str:
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    escapes = str.maketrans({"|": "&#124;", "<": "&lt;", "&": "&amp;"})
    return "".join(f"| {' | '.join(cell.translate(escapes) for cell in line)} |\n" for line in lines)


def to_text(points: Sequence[Point]) -> str:
    """The same tables with aligned columns, for a terminal: plain dashes, which every encoding has."""
    text = "\n".join(f"{caption}\n\n{_aligned(heading, rows)}" for caption, heading, rows in _sections(points))
    return text.replace(MINUS, "-").replace(NO_VALUE, "-")


def _aligned(heading: list[str], rows: list[list[str]]) -> str:
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
    return (
        atomic_write(directory / "table.csv", rows_to_csv(COLUMNS, table(runs))),
        atomic_write(directory / "table.md", to_markdown(collect_points(runs))),
    )
