"""``python -m icm report``: rebuild the table, the report and the figures of finished runs."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from icm.errors import UserError
from icm.evaluation.results import Run

DESCRIPTION = """Rebuild table.csv, table.md and report.html from finished runs: run folders or sweep folders of
evaluate.py, several of them merged into one table."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="a run folder or a sweep folder")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where to write; needed with several DIR, else that folder itself"
    )
    parser.add_argument(
        "--figures", type=Path, metavar="DIR",
        help="also write every figure there as PDF, SVG and PNG, and every table as LaTeX (booktabs)",
    )  # fmt: skip
    parser.add_argument(
        "--width", choices=("column", "page"), default="column",
        help="of the figures: one for each recogniser and attack in a column, or all of a measure across the page",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    from icm.jobs import missing
    from icm.report.paper import write_figures, write_latex
    from icm.report.write import write_reports
    from icm.sweeps import print_failures

    if arguments.output is None and len(arguments.directories) > 1:
        raise UserError(f"--output: {len(arguments.directories)} folders to merge; name the folder to write to")
    runs = merged_runs(arguments.directories)
    without = {job: reason for folder in arguments.directories for job, reason in missing(folder).items()}
    written = write_reports(runs, arguments.output or arguments.directories[0], without)
    if arguments.figures is not None:
        written += write_figures(runs, arguments.figures, arguments.width)
        written += write_latex(runs, arguments.figures)
    for path in written:
        print(path)
    for folder in arguments.directories:
        print_failures(folder, missing(folder))
    return 0


def merged_runs(directories: Sequence[Path]) -> list[Run]:
    """The finished runs of all the folders, each cell once (the first folder named wins)."""
    from icm.evaluation.results import load_runs
    from icm.jobs import missing
    from icm.sweeps import print_failures

    cells: dict[str, Run] = {}
    for directory in directories:
        if not directory.is_dir():
            raise UserError(f"{directory}: no such folder; name a run or sweep folder of evaluate.py")
        runs = load_runs(directory)
        if not runs:
            print_failures(directory, missing(directory))
            raise UserError(f"{directory}: no finished run in it; a finished one holds summary.json")
        for found in runs:
            cells.setdefault(found.summary["cell"], found)
    return list(cells.values())
