"""Train a learned codec under the masked rate-distortion objective of SA-ICM.

python train.py
python train.py experiment=sa_icm data.path=COCO trainer.devices=4 run=NAME
"""

import logging
import math
import re
import shlex
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from icm.config import build
from icm.errors import UserError
from icm.sweeps import failures_recorded
from icm.training.processes import default_run_name, is_first_process, refuse_distributed_sweep
from icm.training.run_folder import FinishedRunError, RunFolder

log = logging.getLogger(__name__)
OmegaConf.register_new_resolver("run_name", default_run_name, replace=True)


@dataclass(frozen=True)
class Training:
    """A finished run: the checkpoint to use, what summary.json holds, and the step it was resumed from (0: none)."""

    checkpoint: Path
    summary: dict
    resumed_step: int


def train(cfg: DictConfig, directory: Path) -> Training:
    """Train one network, or go on with an interrupted run in the same folder.

    Args:
        cfg: the composed configuration of conf/train.yaml.
        directory: the run folder (`icm.training.run_folder`); made when missing.

    Raises:
        UserError: the folder must not be used, or an option, the data or a checkpoint does not fit.
    """
    config = OmegaConf.to_container(cfg, resolve=True)
    folder = RunFolder(directory)
    resume = folder.checkpoint_to_resume(config, cfg.existing)
    source = resume or _start_checkpoint(cfg.ckpt_path)

    import pytorch_lightning as pl

    from icm import provenance
    from icm.files import atomic_write
    from icm.malloc import keep_large_blocks
    from models.lightning import CodecTraining

    resumed_step = _checked_step(source, config) if source else 0
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    network, objective, data = (build(cfg[part]) for part in ("network", "objective", "data"))
    _check_parts(network, objective, data)
    module = CodecTraining(network, objective, seed=cfg.seed, config=config, **config["optimizer"])
    finished = folder.summary.read_text() if folder.finished else None
    # Only one process may write; the others find what they need in their command line.
    if is_first_process():
        folder.begin(config, resuming=resume is not None)
    if source:
        log.info("%s from step %d of %s", "resumed" if resume else "starting", resumed_step, source)

    keep_large_blocks()
    _quieten()
    trainer, checkpoints = _trainer(cfg, folder, resumed_step if resume else None)
    began = time.monotonic()
    try:
        trainer.fit(module, data, ckpt_path=source, weights_only=True)
    finally:
        _close_wandb()
    seconds = time.monotonic() - began

    # A run that was killed after its last step, before its summary, has nothing to train either, and ends here.
    if trainer.global_step == resumed_step and (finished or not resume):
        if finished and trainer.is_global_zero:
            atomic_write(folder.summary, finished)
        raise UserError(
            f"nothing to train: step {resumed_step} is already at trainer.max_epochs={cfg.trainer.max_epochs} "
            f"trainer.max_steps={cfg.trainer.max_steps}; raise them"
        )
    checkpoint = folder.best if checkpoints.best else folder.last
    images = (trainer.global_step - resumed_step) * data.batch_size * trainer.accumulate_grad_batches
    summary = {
        "label": _label(cfg),
        "checkpoint": checkpoint.name,
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "validation": {
            name.removeprefix("val/"): value for name, value in checkpoints.best.items() if math.isfinite(value)
        },
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "images_per_second": images * trainer.world_size / seconds,
        "seconds": seconds,
        "resumed_step": resumed_step,
        "versions": provenance.versions(),
        "git_commit": provenance.git_commit(),
    }
    if trainer.is_global_zero:
        folder.finish(summary)
    return Training(checkpoint, summary, resumed_step)


def _quieten() -> None:
    """Leave out what would bury our own lines."""
    # Lightning's notices (hardware, advertisements); its warnings still show.
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    if not is_first_process():
        logging.getLogger().setLevel(logging.WARNING)
    # The data modules' samplers do resume (datamodules.sampling); Lightning looks for it in the loader alone.
    warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")


def _trainer(cfg: DictConfig, folder: RunFolder, resume_step: int | None):
    """The Trainer and its `Checkpoints` callback."""
    from pytorch_lightning.callbacks import RichProgressBar, TQDMProgressBar
    from pytorch_lightning.plugins.environments import SLURMEnvironment
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    from models.keep_checkpoints import AtomicCheckpointIO, Checkpoints
    from models.monitoring import GradientCheck, MetricsFile, ValidationPictures

    curves = MetricsFile(folder.metrics, resume_step)
    curves.begin()
    checkpoints = Checkpoints(folder.directory, **cfg.checkpoints)
    bar = RichProgressBar() if sys.stdout.isatty() else TQDMProgressBar(refresh_rate=10)
    loggers, callbacks, plugins = [curves], [checkpoints, bar], [AtomicCheckpointIO()]
    if SLURMEnvironment.detect():
        # SLURM itself requeues, and last.ckpt is where the run goes on; Lightning would keep a file of its own.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    if cfg.check_gradients:
        callbacks.append(GradientCheck())
    if cfg.logger.name == "wandb":
        loggers.insert(0, _wandb_logger(cfg, folder))
        callbacks.append(ValidationPictures())
    try:
        trainer = hydra.utils.instantiate(cfg.trainer, _partial_=True)(
            callbacks=callbacks,
            logger=loggers,
            default_root_dir=folder.directory,
            plugins=plugins,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error
    return trainer, checkpoints


def _wandb_logger(cfg: DictConfig, folder: RunFolder):
    """Lightning's W&B logger: offline unless the user is logged in, and one W&B run however often it is resumed."""
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    from icm.report.wandb import default_mode

    mode = default_mode()
    options = {key: value for key, value in cfg.logger.items() if key != "name"}
    # The folder name of a job of a sweep is a mere number.
    sweep = folder.directory.parent.name if HydraConfig.initialized() and _is_sweep() else None
    settings = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True)
    # `mode`, not Lightning's `offline`, which would change the environment of every later job too.
    return WandbLogger(
        name=f"{sweep}-{folder.directory.name}" if sweep else folder.directory.name,
        id=folder.identity() if is_first_process() else None,
        save_dir=folder.directory,
        mode=mode,
        resume="allow" if mode == "online" else None,
        group=sweep,
        settings=settings,
        **options,
    )


def _close_wandb() -> None:
    # Each job of a sweep is a W&B run of its own. Where wandb was not imported there is nothing to close.
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish()


def _start_checkpoint(path: str | None) -> Path | None:
    if path is None:
        return None
    if not Path(path).is_file():
        raise UserError(f"ckpt_path={path}: no such file; give a last.ckpt or best.ckpt that train.py wrote")
    return Path(path)


def _checked_step(path: Path, config: dict) -> int:
    """The optimizer steps done in a training checkpoint; UserError when it is none, or of another network."""
    from models.checkpoint import read_training

    step, trained = read_training(path)
    if trained["network"] != config["network"]:
        raise UserError(
            f"{path} holds network {trained['network']}, not {config['network']}; choose the same network= options"
        )
    return step


def _check_parts(network, objective, data) -> None:
    """UserError when parts that are well on their own do not go together."""
    from icm.masks.annotations import ObjectMasks

    for name in ("crop", "val_crop"):
        if getattr(data, name) % network.multiple:
            raise UserError(
                f"data.{name}={getattr(data, name)}: {type(network).__name__} takes multiples of {network.multiple}"
            )
    if objective.region == "object" and not isinstance(data.masks, ObjectMasks):
        raise UserError("objective=object counts the insides of objects, which masks=objects has; add that")


def _label(cfg: DictConfig) -> str:
    network, masks = (part._target_.rpartition(".")[2] for part in (cfg.network, cfg.masks))
    # The masks say which pixels counted; objective=edge takes whatever they are.
    region = {"NoMasks": "plain", "ObjectMasks": "object"}.get(masks, "edge")
    if cfg.objective.region == "plain":
        region = "plain"
    return f"{network} {region} lambda {cfg.objective.lmbda:g}"


def _is_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def evaluate_line(checkpoint: Path) -> str:
    """The shell command that measures a checkpoint."""
    value = str(checkpoint)
    if not re.fullmatch(r"[\w./+-]+", value):
        # Hydra reads quotes of its own, inside the shell's.
        value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"python evaluate.py codec=sa_icm {shlex.quote(f'codec.checkpoint={value}')} faces=demo"


def report(training: Training) -> None:
    """Print where the checkpoint is and how to measure it."""
    figures = ", ".join(f"{name} {value:.4g}" for name, value in training.summary["validation"].items())
    print(f"trained to step {training.summary['steps']}; validation: {figures or 'none'}")
    print(f"checkpoint {training.checkpoint}")
    print(f"measure it: {evaluate_line(training.checkpoint)}")


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
    main()
