"""Measure what coding does to pictures: one codec at one operating point, or with -m a whole grid of them.

python evaluate.py codec=vvc qp=37
python evaluate.py -m codec=vvc qp=32,35,37,40
python evaluate.py -m codec=vvc qp=32,35,37,40 hydra/launcher=submitit_slurm --dry-run
"""

import gc
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from icm.config import help_text
from icm.errors import UserError, begin_command, end_at_sigterm, exit_status, is_interruption
from icm.overrides import advice, dry_run
from icm.report.sweep_report import SweepReport
from icm.sweeps import failures_recorded


def evaluate(cfg: DictConfig, directory: Path, sweep: Path | None = None):
    """Run one job and write its result files and their mirror in the logger.

    Args:
        cfg: The composed configuration of conf/evaluate.yaml.
        directory: The run directory; made when missing.
        sweep: The folder of the sweep this job belongs to, if any. A job that repeats a finished cell of it is not
            run again.

    Returns:
        The `icm.evaluation.results.Run`, of the earlier job when the cell is a repeat; None for one part of the
        pictures (``shard``).

    Raises:
        UserError: Something is missing or wrong; nothing has been measured.
    """
    from icm.evaluation.configured import run_configured
    from icm.report.loggers import check_logger, log_run

    check_logger(cfg)
    run, repeated = run_configured(cfg, directory, sweep)
    if run and not repeated:
        log_run(run, cfg, sweep)
    return run


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(cfg: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    directory = Path(hydra_config.runtime.output_dir)
    if hydra_config.mode == RunMode.RUN:
        from icm.report.write import report_run

        try:
            if run := evaluate(cfg, directory):
                report_run(run, directory)
        except UserError as error:
            sys.exit(f"evaluate.py: {error}")
        return
    # icm.report.sweep_report ends the command with the list of failures and a non-zero status.
    with failures_recorded(directory):
        evaluate(cfg, directory, Path(hydra_config.sweep.dir))


if __name__ == "__main__":
    gc.set_threshold(50_000)  # composing and reporting make many objects that stay: looking at them took 7 % of a start
    begin_command("evaluate.py")
    if mistake := advice("evaluate", sys.argv[1:]):
        sys.exit(f"evaluate.py: {mistake}")
    if text := help_text("evaluate", sys.argv[1:]):
        print(text)
        sys.exit()
    sys.argv[1:] = dry_run(sys.argv[1:])
    end_at_sigterm()
    try:
        main()
    except (KeyboardInterrupt, SystemExit) as error:
        # It may also come between two jobs of a sweep, where no job can catch it and Hydra composes the next one.
        if not is_interruption(error):
            raise
        SweepReport.end_early()
        print("evaluate.py: interrupted; what was finished is cached, the same command goes on from there")
        sys.exit(exit_status(error))
