"""``python -m icm dashboard``: a saved workspace in Weights & Biases to review a sweep in."""

import argparse
from pathlib import Path

from icm.errors import UserError

DESCRIPTION = """Save a workspace in Weights & Biases that is laid out for reviewing a sweep: its answer, plots of
privacy and utility over its runs, tables of faces and images. Its runs must have been uploaded, and you logged in."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="DIR", help="the sweep folder of evaluate.py")
    parser.add_argument("--project", default="icm", help="where its runs are; default: icm")
    parser.add_argument("--entity", help="whose project that is; default: yours")


def run(arguments: argparse.Namespace) -> int:
    from icm.commands.report import merged_runs
    from icm.report.dashboard import workspace
    from icm.report.mirror import headline
    from icm.report.points import collect_points
    from icm.wandb_mode import default_mode, sync_command

    points = collect_points(merged_runs([arguments.directory]))
    sweep = arguments.directory.resolve().name
    # Made before anything is asked of the network: a missing package is said first.
    draft = workspace(points, sweep, arguments.project, arguments.entity or "", headline(points))
    if default_mode() != "online":
        upload = sync_command(arguments.directory)
        raise UserError(f"not logged in to Weights & Biases; run: wandb login{f', then: {upload}' if upload else ''}")
    import wandb

    draft.entity = arguments.entity or wandb.Api().default_entity
    print(draft.save().url)
    return 0
