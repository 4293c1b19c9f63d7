"""What a paper takes from a sweep: figures of column or page width, and tables in LaTeX."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from icm.evaluation.measures import Measure, Subject
from icm.evaluation.results import Run
from icm.files import atomic_write
from icm.report import figures
from icm.report.bjontegaard import CAPTION, bd_entries, bd_table
from icm.report.comparisons import compare
from icm.report.equal_rate import attackers, common_rate, is_privacy, pareto_front, privacy_measures, rate_grid
from icm.report.points import Point, collect_points, measures_of, series_of
from icm.report.tables import (
    JOINT_CAPTION,
    Cells,
    describe_data,
    difference_caption,
    difference_table,
    joint_table,
    shown,
    wide_table,
)

STRIP_FACES = 4
INLINE_COLUMNS = 5
_ESCAPES = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\symbol{34}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}  # fmt: skip


def write_figures(runs: Sequence[Run], directory: Path, width: str = "column") -> list[Path]:
    """Every figure of the runs as PDF, SVG and PNG, the faces as ``faces.jpg``; returns the paths.

    Args:
        width: ``column``: a figure for each subject (recogniser, attack, model) of a measure. ``page``: one for each
            measure, a panel for each subject.
    """
    points = collect_points(runs)
    paths = [
        figures.save(figure, directory / f"{name}.{suffix}")
        for name, figure in _figures(points, width)
        for suffix in ("pdf", "svg", "png")
    ]
    if faces := points[0].face_keys()[:STRIP_FACES]:
        paths.append(figures.save(figures.strip_figure(points, faces), directory / "faces.jpg"))
    return paths


def _figures(points: Sequence[Point], width: str) -> Iterator[tuple[str, Any]]:
    measures = measures_of(points)
    for measure, subjects in measures.items():
        if width == "page":
            yield measure.key, figures.overview_figure(points, measure, width)
        else:
            for subject in subjects:
                yield _name(measure.key, subject), figures.measure_figure(points, measure, subject, width)
    for privacy, utility in _trade_offs(points):
        name = f"{_name(privacy[0].key, privacy[1])}_{_name(utility[0].key, utility[1])}"
        front = pareto_front(points, privacy, utility)
        yield name, figures.trade_off_figure(points, privacy, utility, front, width)
    near = _nearest(points)
    for kind in ("det", "cmc", "genuine"):
        for subject in dict.fromkeys(
            Subject(curve.embedder, curve.attack)
            for point in near
            for curve in point.curves
            if curve.kind == kind and (kind != "det" or figures.has_errors(curve))
        ):
            name = _name("scores" if kind == "genuine" else kind, subject)
            yield name, figures.recognition_figure(near, kind, subject, width)


def first_figures(points: Sequence[Point]) -> dict[str, Callable[[], Any]]:
    """What draws the figures to look at first: the headline of privacy, each measure of utility, one by the other."""
    measures = measures_of(points)
    shown = [*privacy_measures(points)[:1], *(measure for measure in measures if not is_privacy(measure))]
    drawn: dict[str, Callable[[], Any]] = {
        measure.key: partial(figures.overview_figure, points, measure) for measure in shown
    }
    for privacy, utility in _trade_offs(points)[:1]:
        front = pareto_front(points, privacy, utility)
        drawn["trade_off"] = partial(figures.trade_off_figure, points, privacy, utility, front)
    return drawn


def _nearest(points: Sequence[Point]) -> list[Point]:
    """Of every codec the point nearest to the highest rate that most have: at equal rate, as far as it was measured."""
    rates = rate_grid(points)
    rate = common_rate(points, rates) if rates else 1.0
    coded = [point for point in points if not point.is_ceiling] or points
    return [min(members, key=lambda point: abs(math.log(point.bpp / rate))) for members in series_of(coded).values()]


def _trade_offs(points: Sequence[Point]) -> list[tuple[tuple[Measure, Subject], tuple[Measure, Subject]]]:
    """The headline measure of privacy under each recogniser without attack, against every measure of utility."""
    measures = measures_of(points)
    useful = [(measure, subject) for measure in measures if not is_privacy(measure) for subject in measures[measure]]
    return [
        ((measure, subjects[0]), utility)
        for measure in privacy_measures(points)[:1]
        for subjects in attackers(points, measure).values()
        for utility in useful
    ]


def _name(measure: str, subject: Subject) -> str:
    parts = [measure, *(part for part in subject if part not in ("", "none"))]
    return re.sub(r"[^\w.-]+", "-", "_".join(parts))


# LaTeX ---------------------------------------------------------------------------------------------------------------


def write_latex(runs: Sequence[Run], directory: Path) -> list[Path]:
    """``table_<measure>.tex`` for every measure, ``differences_<measure>.tex`` at equal rate, and ``bd.tex``.

    ``table.tex`` has one row a codec point where several sets of pictures were measured.
    """
    points = collect_points(runs)
    comparisons = compare(points)
    written = []
    for measure, subjects in shown(points).items():
        caption = f"{measure.caption} {describe_data(points)}."
        tables = {f"table_{measure.key}": (caption, wide_table(points, measure, subjects))}
        if any(comparison.of(measure) for comparison in comparisons):
            found = difference_table(points, comparisons, measure)
            tables[f"differences_{measure.key}"] = difference_caption(measure), found
        for name, (text, cells) in tables.items():
            written.append(atomic_write(directory / f"{name}.tex", latex_table(name, text, cells)))
    if joint := joint_table(points):
        written.append(atomic_write(directory / "table.tex", latex_table("joint", JOINT_CAPTION, joint)))
    if differences := bd_entries(points):
        cells = bd_table(points, differences)
        written.append(atomic_write(directory / "bd.tex", latex_table("bd", CAPTION, cells)))
    return written


def latex_table(label: str, caption: str, cells: Cells) -> str:
    """A floating table in the manner of booktabs; names are escaped.

    With many columns it spans the page, intervals stand under their values, and what is still too wide is shrunk.
    """
    heading, rows = cells
    stacked = len(heading) > INLINE_COLUMNS
    # The starred one spans both columns of a page that has two.
    table = "table*" if stacked else "table"
    lines = [
        _latex_row(heading, ", " if stacked else None),
        *(_latex_row(row, " [" if stacked else None) for row in rows),
    ]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs,graphicx}",
            rf"\begin{{{table}}}",
            r"\centering",
            rf"\caption{{{latex_text(caption)}}}",
            rf"\label{{tab:{label.replace('_', '-')}}}",
            r"\smallskip",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(heading) - 1)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}}",
            rf"\end{{{table}}}",
            "",
        ]
    )


def _latex_row(cells: Sequence[str], broken_at: str | None) -> str:
    """A line of a table; ``broken_at``: what comes after this in a cell stands under what comes before, but not in the
    first column."""
    first, *others = cells
    # LaTeX takes a bracket or a star at the start of a line for an argument of the line break before it.
    return " & ".join(["{}" + latex_text(first), *(_stacked(cell, broken_at) for cell in others)]) + r" \\"


def _stacked(cell: str, broken_at: str | None) -> str:
    above, _, below = cell.partition(broken_at) if broken_at else (cell, "", "")
    if not below:
        return latex_text(cell)
    bracket = broken_at.lstrip(", ") if broken_at else ""
    return rf"\shortstack[r]{{{latex_text(above)}\\{{\scriptsize {latex_text(bracket + below)}}}}}"


def latex_text(text: str) -> str:
    """Any text as LaTeX that prints it; letters beyond Latin, which its fonts lack, by their numbers in Unicode."""
    return "".join(_latex_character(character) for character in " ".join(text.split()))


def _latex_character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isascii() or (unicodedata.name(character, "").startswith("LATIN") and ord(character) < 0x180):
        return character
    return f"U+{ord(character):04X}"
