"""Where finished runs are mirrored besides their own files: ``logger=`` of evaluate.py."""

import importlib
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from icm.errors import UserError
from icm.evaluation.results import Run

# The module whose ``log_run`` mirrors a run; None: the files of the run directory are all.
_MIRRORS = {"csv": None, "wandb": "icm.report.wandb"}


def check_logger(cfg: DictConfig) -> None:
    """UserError when ``cfg.logger`` is for train.py alone."""
    if cfg.logger.name not in _MIRRORS:
        raise UserError(f"logger={cfg.logger.name}: only train.py writes that; use {' or '.join(_MIRRORS)}")


def log_run(run: Run, cfg: DictConfig, sweep: Path | None = None) -> None:
    """Mirror a finished run as ``cfg.logger`` says; ``sweep`` is the folder of the sweep it belongs to, if any."""
    module = _MIRRORS[cfg.logger.name]
    if module:
        config = OmegaConf.to_container(cfg, resolve=True)
        options = {key: value for key, value in config["logger"].items() if key in ("project", "entity")}
        importlib.import_module(module).log_run(run, config, group=sweep.name if sweep else None, **options)
