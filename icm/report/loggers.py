"""Where finished runs are mirrored besides their own files: ``logger=`` of evaluate.py, one or several."""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from icm.evaluation.results import Run

# The modules that mirror runs and sweeps, by the names in `evaluate` of conf/logger; each takes the options there.
_MIRRORS = {"wandb": "icm.report.wandb", "tensorboard": "icm.report.tensorboard"}


def check_logger(cfg: DictConfig) -> None:
    """UserError when something is missing for ``cfg.logger``, before anything is measured."""
    for mirror, _ in _mirrors(cfg.logger):
        mirror.ready()


def log_run(run: Run, cfg: DictConfig, sweep: Path | None = None) -> None:
    """Mirror a finished run as ``cfg.logger`` says; ``sweep`` is the folder of the sweep it belongs to, if any."""
    config = OmegaConf.to_container(cfg, resolve=True)
    for mirror, options in _mirrors(cfg.logger):
        mirror.log_run(run, config, group=sweep.name if sweep else None, **options)
        # The sweep says it once for all its jobs.
        if sweep is None:
            mirror.print_where(run.directory)


def log_sweep(runs: Sequence[Run], directory: Path, logger: DictConfig) -> None:
    """Mirror what a sweep found as a whole, as its ``logger`` says."""
    for mirror, options in _mirrors(logger):
        mirror.log_sweep(runs, directory, **options)
        mirror.print_where(directory)


def _mirrors(logger: DictConfig) -> Iterator[tuple[ModuleType, dict[str, Any]]]:
    for name, options in logger.evaluate.items():
        yield importlib.import_module(_MIRRORS[name]), dict(options)
