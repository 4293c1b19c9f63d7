"""A job from its configuration (conf/evaluate.yaml)."""

import logging
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from icm.config import build
from icm.download import cache_folder, use_cache_folder
from icm.errors import UserError
from icm.evaluation.cache import Cache
from icm.evaluation.job import Job
from icm.evaluation.results import Run, load_runs
from icm.files import atomic_write
from icm.parts import preflight

log = logging.getLogger(__name__)


def run_configured(cfg: DictConfig, directory: Path, sweep: Path | None = None) -> tuple[Run, bool]:
    """Build the job of a configuration, check what it needs, run it in ``directory``.

    Args:
        cfg: The composed configuration of conf/evaluate.yaml.
        directory: Where its results go.
        sweep: The folder of the sweep it belongs to, if any.

    Returns:
        The run, and whether it is that of an earlier job of the sweep with the same cell.

    Raises:
        UserError: A value that cannot be used, or something missing (`icm.preflight.PreflightError`).
    """
    job = configured_job(cfg)
    (directory / "summary.json").unlink(missing_ok=True)  # of an earlier run in this folder
    preflight(job.parts)
    cell = job.cell
    for run in load_runs(sweep) if sweep else []:
        if run.summary["cell"] == cell:
            log.info("%s is already measured in %s: not repeated", job.codec.title, run.directory)
            return run, True
    atomic_write(directory / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    return job.run(Cache(cache_folder()), directory), False


def configured_job(cfg: DictConfig) -> Job:
    """The job of a configuration, its parts made and not yet checked.

    Raises:
        UserError: A value that cannot be used.
    """
    _check(cfg)
    use_cache_folder(cfg.cache)
    own = [name for name in cfg.task if name in cfg.sources]
    if own and len(cfg.task) > 1:
        raise UserError(f"task=[{', '.join(cfg.task)}]: {own[0]} has images of its own here; run one task at a time")
    source = cfg.sources[own[0]] if own else cfg.faces
    tasks = [build(task) for task in cfg.task.values()]
    return Job(build(cfg.codec), build(source), tasks, cfg.seed, cfg.workers)


def _check(cfg: DictConfig) -> None:
    """UserError on a seed, a number of workers or a set of tasks that cannot be used."""
    if not isinstance(cfg.seed, int) or cfg.seed < 0:
        raise UserError(f"seed={cfg.seed}: must be a whole number of at least 0")
    if cfg.workers is not None and (not isinstance(cfg.workers, int) or cfg.workers < 1):
        raise UserError(f"workers={cfg.workers}: must be a whole number of at least 1, or null for all cores")
    if not cfg.cache:
        raise UserError(f"cache={cfg.cache}: name the folder for finished work, or leave it at its default")
    if not OmegaConf.select(cfg, "task"):
        raise UserError("task=[]: choose at least one task, such as task=faces")
