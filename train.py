"""Train a learned codec under the masked rate-distortion objective of SA-ICM.

python train.py
python train.py experiment=sa_icm data.path=COCO trainer.devices=4 run=NAME
"""

import logging
import re
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from icm.config import build
from icm.errors import UserError
from icm.overrides import advice
from icm.sweeps import failures_recorded
from icm.training.processes import default_run_name, is_first_process, refuse_distributed_sweep
from icm.training.run_folder import FinishedRunError, RunFolder
from icm.training.start import check_parts, checked_step, start_checkpoint
from icm.training.summary import TrainingSummary

log = logging.getLogger(__name__)
OmegaConf.register_new_resolver("run_name", default_run_name, replace=True)


@dataclass(frozen=True)
class Training:
    """A finished run: the checkpoint to use, what summary.json holds, and the step it was resumed from (0: none)."""

    checkpoint: Path
    summary: TrainingSummary
    resumed_step: int


def train(cfg: DictConfig, directory: Path) -> Training:
    """Train one network, or go on with an interrupted run in the same folder.

    Args:
        cfg: The composed configuration of conf/train.yaml.
        directory: The run folder (`icm.training.run_folder`); made when missing.

    Raises:
        UserError: The folder must not be used, or an option, the data or a checkpoint does not fit.
    """
    config = OmegaConf.to_container(cfg, resolve=True)
    folder = RunFolder(directory)
    resume = folder.checkpoint_to_resume(config, cfg.existing)
    source = resume or start_checkpoint(cfg.ckpt_path)

    import pytorch_lightning as pl

    from icm.malloc import keep_large_blocks
    from icm.training.loggers import close_loggers, make_loggers
    from icm.training.summary import first_line, summarize
    from icm.training.trainer import make_trainer, quieten
    from models.lightning import CodecTraining

    resumed_step = checked_step(source, config) if source else 0
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    network, objective, data = (build(cfg[part]) for part in ("network", "objective", "data"))
    check_parts(network, objective, data)
    module = CodecTraining(network, objective, seed=cfg.seed, config=config, **config["optimizer"])
    finished = folder.summary.read_text() if folder.finished else None
    # Only one process may write; the others find what they need in their command line.
    if is_first_process():
        folder.begin(config, resuming=resume is not None)
        print(first_line(network, objective, data), flush=True)
    if source:
        log.info("%s from step %d of %s", "resumed" if resume else "starting", resumed_step, source)

    keep_large_blocks()
    quieten()
    loggers = make_loggers(config["logger"], folder, directory.parent.name if _is_sweep() else None)
    trainer, checkpoints = make_trainer(cfg, folder, loggers, resumed_step if resume else None)
    began = time.monotonic()
    try:
        trainer.fit(module, data, ckpt_path=source, weights_only=True)
    finally:
        close_loggers()
    seconds = time.monotonic() - began

    # A run that was killed after its last step, before its summary, has nothing to train either, and ends here.
    if trainer.global_step == resumed_step and (finished or not resume):
        if finished and trainer.is_global_zero:
            folder.restore_summary(finished)
        raise UserError(
            f"nothing to train: step {resumed_step} is already at trainer.max_epochs={cfg.trainer.max_epochs} "
            f"trainer.max_steps={cfg.trainer.max_steps}; raise them"
        )
    checkpoint = folder.best if checkpoints.best else folder.last
    summary = summarize(trainer, module, data, checkpoint.name, checkpoints.best, seconds, resumed_step)
    if trainer.is_global_zero:
        folder.finish(summary)
    return Training(checkpoint, summary, resumed_step)


def _is_sweep() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def evaluate_line(checkpoint: Path, region: str) -> str:
    """The shell command that measures a checkpoint, trained for the pixels of a region."""
    value = str(checkpoint)
    if not re.fullmatch(r"[\w./+-]+", value):
        # Hydra reads quotes of its own, inside the shell's.
        value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    codec = "sa_icm" if region == "edge" else "learned"
    return f"python evaluate.py codec={codec} {shlex.quote(f'codec.checkpoint={value}')} faces=demo"


def report(training: Training) -> None:
    """Print where the checkpoint is and how to measure it."""
    figures = ", ".join(f"{name} {value:.4g}" for name, value in training.summary["validation"].items())
    print(f"trained to step {training.summary['steps']}; validation: {figures or 'none'}")
    print(f"checkpoint {training.checkpoint}")
    print(f"measure it: {evaluate_line(training.checkpoint, training.summary['region'])}")


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> None:
    directory = Path(HydraConfig.get().runtime.output_dir)
    if not _is_sweep():
        try:
            training = train(cfg, directory)
        except UserError as error:
            sys.exit(f"train.py: {error}")
        if is_first_process():
            report(training)
        return
    try:
        refuse_distributed_sweep(cfg.trainer)
    except UserError as error:
        sys.exit(f"train.py: {error}")
    # icm.training.sweep_summary ends the command with the list of failures and a non-zero status.
    with failures_recorded(directory):
        try:
            report(train(cfg, directory))
        except FinishedRunError:
            log.info("%s is already trained: not repeated", directory)


if __name__ == "__main__":
    if mistake := advice("train", sys.argv[1:]):
        sys.exit(f"train.py: {mistake}")
    main()
