"""Train a learned codec under the masked rate-distortion objective of SA-ICM.

python train.py experiment=sa_icm data.path=COCO trainer.devices=4 run=NAME     the published recipe
python train.py                                                                 a trial on a few images, on a CPU
"""

import logging
import re
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from icm.config import build, help_text
from icm.errors import UserError, begin_command
from icm.files import atomic_write
from icm.overrides import advice
from icm.sweeps import failures_recorded
from icm.training.checks import check_matmul_precision, check_parts
from icm.training.processes import (
    default_run_name,
    hold_back_requeue,
    is_first_process,
    refuse_distributed_sweep,
)
from icm.training.run_folder import FinishedRunError, RunFolder
from icm.training.start import find_start
from icm.training.summary import Summary, first_line, label, summarise
from icm.training.trainer import build_trainer, fit, quieten
from icm.wandb_mode import print_where

log = logging.getLogger(__name__)
OmegaConf.register_new_resolver("run_name", default_run_name, replace=True)


@dataclass(frozen=True)
class Training:
    """A finished run: the checkpoint to use, what summary.json holds, and the step it was resumed from (0: none)."""

    checkpoint: Path
    summary: Summary
    resumed_step: int


def train(cfg: DictConfig, directory: Path, sweep: str | None = None) -> Training:
    """Train one network, or go on with an interrupted run in the same folder.

    Args:
        cfg: The composed configuration of conf/train.yaml.
        directory: The run folder (`icm.training.run_folder`); made when missing.
        sweep: Name of the sweep that the run is a job of, if any.

    Raises:
        UserError: The folder must not be used, or an option, the data or a checkpoint does not fit.
    """
    config = OmegaConf.to_container(cfg, resolve=True)
    folder = RunFolder(directory)
    check_matmul_precision(cfg.matmul_precision)
    start = find_start(config, folder)

    import pytorch_lightning as pl

    from icm.malloc import keep_large_blocks
    from models.checkpoint import initialise
    from models.lightning import CodecTraining

    quieten()
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    network, objective, data = (build(cfg[part]) for part in ("network", "objective", "data"))
    check_parts(network, objective, data)
    if is_first_process():
        print(first_line(cfg, network, objective, _options()), flush=True)
    initialised = asdict(initialise(network, start.weights)) if start.weights else None
    module = CodecTraining(network, objective, seed=cfg.seed, config=config, **config["optimizer"])
    finished = folder.summary.read_text() if folder.finished else None
    # Only one process may write; the others find what they need in their command line.
    if is_first_process():
        folder.begin(config, start.resuming, initialised)
    if start.checkpoint:
        log.info("%s from step %d of %s", "resumed" if start.resuming else "starting", start.step, start.checkpoint)

    keep_large_blocks()
    trainer, checkpoints = build_trainer(cfg, folder, sweep, start.step if start.resuming else None)
    seconds = fit(trainer, module, data, start.checkpoint)
    # A run that was killed after its last step, before its summary, has nothing to train either, and ends here.
    if trainer.global_step == start.step and (finished or not start.resuming):
        if finished and trainer.is_global_zero:
            atomic_write(folder.summary, finished)
        raise UserError(
            f"nothing to train: step {start.step} is already at trainer.max_epochs={cfg.trainer.max_epochs} "
            f"trainer.max_steps={cfg.trainer.max_steps}; raise them"
        )
    name = label(network, objective, data)
    summary = summarise(
        name, network, trainer, checkpoints.best, seconds, data.batch_size, start.step, folder.init_from()
    )
    if trainer.is_global_zero:
        folder.finish(summary)
    return Training(directory / summary["checkpoint"], summary, start.step)


def _options() -> dict[str, str]:
    """The option chosen of every group, where Hydra runs this."""
    return dict(HydraConfig.get().runtime.choices) if HydraConfig.initialized() else {}


def evaluate_line(checkpoint: Path, region: str) -> str:
    """The shell command that measures a checkpoint of a network trained for a region."""
    value = str(checkpoint)
    if not re.fullmatch(r"[\w./+-]+", value):
        # Hydra reads quotes of its own, inside the shell's.
        value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    codec = "sa_icm" if region == "edge" else "learned"
    return f"python evaluate.py codec={codec} {shlex.quote(f'codec.checkpoint={value}')} faces=demo"


def report(training: Training, region: str) -> None:
    """Print where the checkpoint is and how to measure it."""
    figures = ", ".join(f"{name} {value:.4g}" for name, value in training.summary["validation"].items())
    print(f"trained to step {training.summary['steps']}; validation: {figures or 'none'}")
    print(f"checkpoint {training.checkpoint}")
    print(f"measure it: {evaluate_line(training.checkpoint, region)}")


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> None:
    directory = Path(HydraConfig.get().runtime.output_dir)
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        try:
            training = train(cfg, directory)
        except UserError as error:
            sys.exit(f"train.py: {error}")
        if is_first_process():
            report(training, cfg.objective.region)
            print_where(directory)
        return
    try:
        refuse_distributed_sweep(cfg.trainer)
    except UserError as error:
        sys.exit(f"train.py: {error}")
    # icm.training.sweep_summary ends the command with the list of failures and a non-zero status.
    with failures_recorded(directory):
        try:
            report(train(cfg, directory, sweep=directory.parent.name), cfg.objective.region)
        except FinishedRunError:
            log.info("%s is already trained: not repeated", directory)


if __name__ == "__main__":
    begin_command("train.py")
    hold_back_requeue()
    if mistake := advice("train", sys.argv[1:]):
        sys.exit(f"train.py: {mistake}")
    if text := help_text("train", sys.argv[1:]):
        print(text)
        sys.exit()
    main()
