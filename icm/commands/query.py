"""``python -m icm query``: questions in SQL to the result files of finished runs."""

import argparse
import csv
import sys
from pathlib import Path

DESCRIPTION = """Ask the result files of run or sweep folders a question in SQL (DuckDB). The views are runs, estimates,
images, faces and every further table of the runs; each has the columns run (its folder) and label (codec and point)."""

EXAMPLES = """\
examples:
  python -m icm query "SELECT label, bpp, psnr FROM runs ORDER BY bpp" outputs/demo
  python -m icm query "SELECT label, avg(cosine_similarity) FROM faces WHERE width < 40 GROUP BY label" outputs/demo
  python -m icm query "SELECT label, value, low, high FROM estimates WHERE measure = 'rank1'" outputs/demo --csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("sql", metavar="SQL", help="one SELECT statement")
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="a run folder or a sweep folder")
    parser.add_argument("--csv", action="store_true", help="print CSV instead of a table for reading")


def run(arguments: argparse.Namespace) -> int:
    from icm.commands.report import merged_runs
    from icm.report.query import ask
    from icm.report.tables import aligned

    heading, rows = ask(merged_runs(arguments.directories), arguments.sql)
    if arguments.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(heading)
        writer.writerows([["" if cell is None else cell for cell in row] for row in rows])
    else:
        print(aligned(heading, [[_text(cell) for cell in row] for row in rows]), end="")
    return 0


def _text(cell: object) -> str:
    if cell is None:
        return ""
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)
