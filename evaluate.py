"""Measure what coding does to faces: one codec at one operating point, or with -m a whole grid of them.

python evaluate.py codec=vvc qp=37
python evaluate.py -m codec=vvc qp=32,35,37,40
"""

import logging
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from icm import failures
from icm.config import build
from icm.errors import UserError
from icm.report.sweep_report import SweepReport

log = logging.getLogger(__name__)


def evaluate(cfg: DictConfig, directory: Path, sweep: Path | None = None):
    """Run one job and write its result files, report and W&B record.

    Args:
        cfg: the composed configuration of conf/evaluate.yaml.
        directory: the run directory; made when missing.
        sweep: the folder of the sweep this job belongs to, if any. A job that repeats a finished cell of it is not
            run again.

    Returns:
        The `icm.evaluation.results.Run`, of the earlier job when the cell is a repeat.
    """
    from icm import preflight, provenance
    from icm.evaluation.cache import Cache, content_key
    from icm.evaluation.pipeline import evaluate_faces, label_of
    from icm.evaluation.results import load_runs, write_run
    from icm.files import atomic_write

    _check(cfg)
    (directory / "summary.json").unlink(missing_ok=True)  # of an earlier run in this folder
    codec = build(cfg.codec)
    source = build(cfg.faces)
    detector = build(cfg.detector)
    embedders = list(build(cfg.embedder).values())
    preflight.check(problem for part in (source, detector, *embedders) for problem in part.preflight())
    resolved = OmegaConf.to_container(cfg, resolve=True)
    cell = content_key(
        codec=[codec.name, codec.parameters, codec.version],
        faces=resolved["faces"],
        detector=[detector.name, detector.parameters, detector.version],
        embedders=[[embedder.name, embedder.parameters, embedder.version] for embedder in embedders],
        seed=cfg.seed,
    )
    for run in load_runs(sweep) if sweep else []:
        if run.summary["cell"] == cell:
            log.info("%s is already measured in %s: not repeated", label_of(codec), run.directory)
            return run

    cache = Cache(cfg.cache)
    for folder in (directory, cache.root):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: cannot be made ({error.strerror}); name another folder") from error
    atomic_write(directory / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    run = evaluate_faces(
        codec, source.images(), detector, embedders, cache, directory, seed=cfg.seed, workers=cfg.workers
    )
    run.summary.update(
        source=source.name,
        detector=detector.name,
        settings={part: _values(resolved[part]) for part in ("faces", "detector")},
        cell=cell,
        seed=cfg.seed,
        versions=provenance.versions(),
        git_commit=provenance.git_commit(),
    )
    write_run(run)
    if cfg.logger.name == "wandb":
        from icm.report.wandb import log_run

        options = {key: value for key, value in resolved["logger"].items() if key != "name"}
        log_run(run, group=sweep.name if sweep else None, config=resolved, **options)
    return run


def _check(cfg: DictConfig) -> None:
    """UserError on a seed or a number of workers that cannot be used."""
    if not isinstance(cfg.seed, int) or cfg.seed < 0:
        raise UserError(f"seed={cfg.seed}: must be a whole number of at least 0")
    if cfg.workers is not None and (not isinstance(cfg.workers, int) or cfg.workers < 1):
        raise UserError(f"workers={cfg.workers}: must be a whole number of at least 1, or null for all cores")
    if not cfg.cache:
        raise UserError(f"cache={cfg.cache}: name the folder for finished work, or leave it at its default")


def _values(options: dict) -> dict:
    return {name: value for name, value in options.items() if name != "_target_"}


def report(run, directory: Path) -> None:
    """Write the table and the report of a single run beside its results and print the table."""
    from icm.report.html import write_report
    from icm.report.tables import print_table, write_table

    write_table([run], directory)
    write_report([run], directory / "report.html")
    print_table([run])
    for entry in run.summary["skipped"]:
        print(f"skipped {entry['image']}: {entry['reason']}")
    print(f"results in {directory}\nreport     {directory / 'report.html'}")


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(cfg: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    directory = Path(hydra_config.runtime.output_dir)
    if hydra_config.mode == RunMode.RUN:
        try:
            report(evaluate(cfg, directory), directory)
        except UserError as error:
            sys.exit(f"evaluate.py: {error}")
        return
    # icm.report.sweep_report ends the command with the list of failures and a non-zero status.
    with failures.recorded(directory):
        evaluate(cfg, directory, Path(hydra_config.sweep.dir))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        # It may also come between two jobs of a sweep, where no job can catch it.
        SweepReport.end_early()
        print("evaluate.py: interrupted; what was finished is cached, the same command goes on from there")
        sys.exit(130)
