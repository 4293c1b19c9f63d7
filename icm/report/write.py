"""Write the tables and the report of any runs, and print what a person wants to see at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from icm.evaluation.results import Run


def report_run(run: Run, directory: Path) -> None:
    """Write the table and the report of a single run beside its results, and print the table."""
    write_reports([run], directory)
    print(f"results in {directory}\nreport     {directory / 'report.html'}")


def write_reports(runs: Sequence[Run], directory: Path, missing: Mapping[str, str] | None = None) -> list[Path]:
    """Print the table, name each skipped image once, write the tables and report.html into ``directory``.

    bd.csv is among them where two codecs can be compared over their curves. ``missing``: the jobs of a sweep without a
    result, and why (`icm.jobs.missing`); the page lists them.
    """
    from icm.report.bjontegaard import bd_entries, write_bd
    from icm.report.html import write_report
    from icm.report.points import collect_points
    from icm.report.tables import print_table, write_table

    print_table(runs)
    skipped = dict.fromkeys((entry["image"], entry["reason"]) for run in runs for entry in run.summary["skipped"])
    for image, reason in skipped:
        print(f"skipped {image}: {reason}")
    differences = bd_entries(collect_points(runs))
    written = [*write_table(runs, directory), *([write_bd(differences, directory)] if differences else [])]
    written.append(write_report(runs, directory / "report.html", missing=missing, differences=differences))
    return written
