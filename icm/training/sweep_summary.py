"""Before a training: can its folder be written? After ``python train.py -m ...``: what was trained, what failed?"""

import json
import sys
from pathlib import Path

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from icm.sweeps import failed_jobs, print_failures, stop_unless_writable
from icm.wandb_mode import print_where


class SweepSummary(Callback):
    """Hydra callback: refuses a folder that cannot be written, and lists the checkpoints of a sweep.

    A failed job makes the command exit with status 1.
    """

    def on_run_start(self, config: DictConfig, **kwargs) -> None:
        stop_unless_writable(Path(config.hydra.runtime.cwd) / config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **kwargs) -> None:
        stop_unless_writable(Path(config.hydra.runtime.cwd) / config.hydra.sweep.dir)

    def on_multirun_end(self, config: DictConfig, **kwargs) -> None:
        directory = Path(config.hydra.runtime.cwd) / config.hydra.sweep.dir
        failed = failed_jobs(directory)
        for path in sorted(directory.glob("*/summary.json")):
            if path.parent.name not in failed:
                summary = json.loads(path.read_text())
                figures = ", ".join(f"{name} {value:.4g}" for name, value in summary["validation"].items())
                print(f"{summary['label']}: {path.parent / summary['checkpoint']} ({figures})")
        print_where(directory)
        print_failures(directory, failed)
        if failed:
            sys.exit(1)
