"""A job from its configuration (conf/evaluate.yaml)."""

import logging
import shutil
import tempfile
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from icm.codecs.base import DrawsOnPeople
from icm.config import build
from icm.download import use_cache_folder
from icm.errors import UserError
from icm.evaluation.cache import Cache, shared_cache
from icm.evaluation.finished import all_parts, find_earlier, is_finished, mark, remember, reuse, run_key, write_mark
from icm.evaluation.job import Job, NothingToMeasureError
from icm.evaluation.results import Run, load_run, load_runs
from icm.faces.sources import Shard
from icm.files import atomic_write, unwritable
from icm.parts import preflight
from icm.shards import parse_shard
from icm.sweeps import forget, put_back

log = logging.getLogger(__name__)


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
    source = build(cfg.sources[own[0]] if own else cfg.faces)
    if cfg.shard is not None:
        source = Shard(source, *parse_shard(cfg.shard))
    tasks = [build(task) for task in cfg.task.values()]
    return Job(build(cfg.codec), source, tasks, cfg.seed, cfg.workers)


def plan(cfg: DictConfig, directory: Path) -> tuple[str, bool]:
    """What names the job of a configuration, and whether its folder holds it finished (`icm.evaluation.finished`)."""
    job = configured_job(cfg)
    return f"{job.cell} {cfg.shard}", is_finished(job, directory)


def run_configured(cfg: DictConfig, directory: Path, sweep: Path | None = None) -> tuple[Run | None, bool]:
    """Build the job of a configuration, check what it needs, run it in ``directory``.

    Args:
        cfg: The composed configuration of conf/evaluate.yaml.
        directory: Where its results go.
        sweep: The folder of the sweep it belongs to, if any. What an earlier command has finished there, under the
            same pictures, is not repeated.

    Returns:
        The run, and whether it is an earlier one. The job of one part of the pictures (``shard``) has no run: its work
        is in the cache. The last part of a sweep to finish then makes the run of all pictures.

    Raises:
        UserError: A value that cannot be used, or something missing (`icm.preflight.PreflightError`).
    """
    job = configured_job(cfg)
    if sweep and is_finished(job, directory):
        put_back(directory)
        log.info("%s is measured already in %s: not repeated", job.codec.title, directory)
        return (load_run(directory) if (directory / "summary.json").is_file() else None), True
    cache = shared_cache()
    key = None if isinstance(job.source, Shard) else run_key(job)
    earlier = find_earlier(key, cache) if key else None
    if earlier is None or earlier[0] != directory.resolve():
        forget(directory)
    if earlier is None:
        preflight(job.parts)
    found = mark(job)
    if isinstance(job.source, Shard):
        _work_on_part(job, directory, cache)
        write_mark(directory, found)
        if sweep is None or not all_parts(sweep, found):
            log.info("part %s is in the cache; once all are, the same without shard= has little to do", cfg.shard)
            return None, False
        cfg = OmegaConf.merge(cfg, {"shard": None})
        job = configured_job(cfg)
    for run in load_runs(sweep) if sweep else []:
        if run.summary["cell"] == job.cell:
            log.info("%s is already measured in %s: not repeated", job.codec.title, run.directory)
            return run, True
    atomic_write(directory / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    if earlier:
        log.info("%s is measured already in %s: copied", job.codec.title, earlier[0])
        run = reuse(*earlier, directory)
    else:
        run = job.run(cache, directory)
    files = write_mark(directory, found)
    if key:
        remember(key, directory, files, cache)
    return run, False


def _work_on_part(job: Job, directory: Path, cache: Cache) -> None:
    """Leave in the cache whatever a job of all pictures needs of one part of them.

    The measures of a part mean nothing, but taking them embeds its faces.
    """
    if isinstance(job.codec, DrawsOnPeople):
        raise UserError(f"shard: codec={job.codec.name} needs all pictures at once; leave shard= out")
    for abandoned in directory.glob(".shard-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    with unwritable(directory):
        scratch = tempfile.TemporaryDirectory(prefix=".shard-", dir=directory, ignore_cleanup_errors=True)
    with scratch as folder:
        try:
            job.run(cache, Path(folder))
        except NothingToMeasureError as error:
            log.info("%s", error)


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
