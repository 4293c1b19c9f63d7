"""Where finished runs are mirrored besides their own files: ``logger=`` of evaluate.py."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from icm.errors import UserError
from icm.evaluation.results import Run

# The module that mirrors runs and sweeps; None: the files of the run directory are all.
_MIRRORS = {"csv": None, "wandb": "icm.report.wandb"}


def check_logger(cfg: DictConfig) -> None:
    """UserError when ``cfg.logger`` is for train.py alone."""
    if cfg.logger.name not in _MIRRORS:
        raise UserError(f"logger={cfg.logger.name}: only train.py writes that; use {' or '.join(_MIRRORS)}")


def log_run(run: Run, cfg: DictConfig, sweep: Path | None = None) -> None:
    """Mirror a finished run as ``cfg.logger`` says; ``sweep`` is the folder of the sweep it belongs to, if any."""
    if mirror := _mirror(cfg.logger):
        config = OmegaConf.to_container(cfg, resolve=True)
        mirror.log_run(run, config, group=sweep.name if sweep else None, **_options(cfg.logger))
        # The sweep says it once for all its jobs.
        if sweep is None:
            mirror.print_where(run.directory)


def log_sweep(runs: Sequence[Run], directory: Path, logger: DictConfig) -> None:
    """Mirror what a sweep found as a whole, as its ``logger`` says."""
    if mirror := _mirror(logger):
        mirror.log_sweep(runs, directory, **_options(logger))
        mirror.print_where(directory)


def _mirror(logger: DictConfig) -> ModuleType | None:
    module = _MIRRORS[logger.name]
    return importlib.import_module(module) if module else None


def _options(logger: DictConfig) -> dict[str, Any]:
    return {key: logger[key] for key in ("project", "entity") if key in logger}
