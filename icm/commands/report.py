"""``python -m icm report``: rebuild the table, the report and the figures of finished runs."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from icm.errors import UserError
from icm.evaluation.results import Run

DESCRIPTION = """Rebuild table.csv, table.md and report.html from finished runs: run folders or sweep folders of
evaluate.py, several of them merged into one table."""
STRIP_FACES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="a run folder or a sweep folder")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where to write; needed with several DIR, else that folder itself"
    )
    parser.add_argument("--figures", type=Path, metavar="DIR", help="also write every figure there as SVG and PNG")


def run(arguments: argparse.Namespace) -> int:
    from icm.report.write import write_reports

    if arguments.output is None and len(arguments.directories) > 1:
        raise UserError(f"--output: {len(arguments.directories)} folders to merge; name the folder to write to")
    runs = merged_runs(arguments.directories)
    written = write_reports(runs, arguments.output or arguments.directories[0])
    if arguments.figures is not None:
        written += write_figures(runs, arguments.figures)
    for path in written:
        print(path)
    return 0


def merged_runs(directories: Sequence[Path]) -> list[Run]:
    """The finished runs of all the folders, each cell once (the first folder named wins)."""
    from icm.evaluation.results import load_runs

    cells: dict[str, Run] = {}
    for directory in directories:
        if not directory.is_dir():
            raise UserError(f"{directory}: no such folder; name a run or sweep folder of evaluate.py")
        runs = load_runs(directory)
        if not runs:
            raise UserError(f"{directory}: no finished run in it; a finished one holds summary.json")
        for found in runs:
            cells.setdefault(found.summary["cell"], found)
    return list(cells.values())


def write_figures(runs: Sequence[Run], directory: Path) -> list[Path]:
    """Every figure of the runs as ``<name>.svg`` and ``<name>.png``, the faces as ``faces.jpg``; returns the paths.

    A measure with several subjects (recognisers, attacks, models) has one figure for each, and one of all.
    """
    from icm.report import figures
    from icm.report.points import collect_points, measures_of

    points = collect_points(runs)
    drawn = {}
    for measure, subjects in measures_of(points).items():
        if len(subjects) > 1:
            drawn[measure.key] = figures.overview_figure(points, measure)
        for subject in subjects:
            name = "_".join([measure.key, *(part for part in subject if part not in ("", "none"))])
            drawn[name] = figures.measure_figure(points, measure, subject)
    paths = [directory / f"{name}.{suffix}" for name in drawn for suffix in ("svg", "png")]
    if faces := points[0].face_keys()[:STRIP_FACES]:
        drawn["faces"] = figures.strip_figure(points, faces)
        paths.append(directory / "faces.jpg")
    return [figures.save(drawn[path.stem], path) for path in paths]
