"""The end of ``python train.py -m ...``: what was trained, and which jobs failed."""

import json
import sys
from pathlib import Path

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from icm.sweeps import failed_jobs, print_failures
from icm.wandb_mode import print_where


class SweepSummary(Callback):
    """Hydra callback that lists the checkpoints of a sweep; a failed job makes the command exit with status 1."""

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
