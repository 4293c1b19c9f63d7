"""What happens at the end of a multirun: one table and one report over all its jobs.

Imported by Hydra when a command starts, so nothing heavy is imported here at the top.
"""

import shutil
import sys
import traceback
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from icm.errors import UserError
from icm.jobs import is_dry_run, missing
from icm.sweeps import failed_jobs, is_pending, print_failures, set_aside, stop_unless_writable


class SweepReport(Callback):
    """Writes ``table.csv``, ``table.md`` and ``report.html`` into the sweep directory and prints the table.

    All of it is mirrored as ``logger`` says.

    A job that failed has left ``error.txt`` in its folder; the failed jobs are listed with their reasons and the
    command exits with status 1, after the report of the others is written. So it does when the report itself fails:
    Hydra turns any other exception of a callback into a warning and a success.
    """

    # The folder of the sweep that is under way in this process, and its logger.
    running: ClassVar[tuple[Path, DictConfig | None] | None] = None

    @classmethod
    def end_early(cls) -> None:
        """Report the jobs that have finished of a sweep that was interrupted."""
        if cls.running:
            _report(*cls.running)

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        stop_unless_writable(Path(config.hydra.runtime.cwd) / config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        directory = Path(config.hydra.runtime.cwd) / config.hydra.sweep.dir
        if is_dry_run(config):
            return
        stop_unless_writable(directory)
        SweepReport.running = directory, config.get("logger")
        set_aside(directory)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        directory = Path(config.hydra.runtime.cwd) / config.hydra.sweep.dir
        if is_dry_run(config):
            # Hydra has made the folder to keep the command in it.
            if [path.name for path in directory.iterdir()] == ["multirun.yaml"]:
                shutil.rmtree(directory)
            return
        SweepReport.running = None
        failed = _report(directory, config.get("logger"))
        if failed is None or not all(is_pending(reason) for reason in failed.values()):
            raise SystemExit(1)

    def plan(self, config: DictConfig, folder: Path) -> tuple[str, bool]:
        """What names a job of a launcher, and whether its folder holds it finished (`icm.evaluation.configured`)."""
        from icm.evaluation.configured import plan

        try:
            return plan(config, folder)
        except UserError:
            return "", False  # the job will say so


def _report(directory: Path, logger: DictConfig | None) -> dict[str, str] | None:
    """`finish_sweep`; None where that fails, which is said."""
    try:
        return finish_sweep(directory, logger)
    except Exception as error:
        if not isinstance(error, UserError | OSError):
            traceback.print_exc()
        print(f"{directory}: no report: {error}", file=sys.stderr)
        return None


def finish_sweep(directory: Path, logger: DictConfig | None = None) -> dict[str, str]:
    """Report the finished jobs of a sweep directory, mirror the report as ``logger`` says (None: nowhere).

    Returns:
        The jobs without a result, folder name to reason (`icm.jobs.missing`).
    """
    from icm.evaluation.results import load_runs
    from icm.report.loggers import log_sweep
    from icm.report.write import write_reports

    without = missing(directory)
    runs = [run for run in load_runs(directory) if run.directory.name not in failed_jobs(directory)]
    if runs:
        for path in write_reports(runs, directory, without):
            print(path)
        if logger is not None:
            log_sweep(runs, directory, logger)
    else:
        print(f"{directory}: no job finished, so there is no table", file=sys.stderr)
    print_failures(directory, without)
    return without
