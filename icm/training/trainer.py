"""Lightning's Trainer as a run needs it, and its one call."""

import logging
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from icm.errors import UserError
from icm.training.loggers import build_loggers, close_loggers
from icm.training.processes import is_first_process
from icm.training.run_folder import RunFolder

if TYPE_CHECKING:
    from pytorch_lightning import LightningDataModule, LightningModule, Trainer

    from models.keep_checkpoints import Checkpoints

log = logging.getLogger(__name__)


def build_trainer(
    cfg: DictConfig, folder: RunFolder, sweep: str | None, resume_step: int | None
) -> tuple["Trainer", "Checkpoints"]:
    """The Trainer of a composed configuration, and what will know its best checkpoint.

    Args:
        cfg: The configuration of conf/train.yaml.
        folder: The run's folder, made ready.
        sweep: Name of the sweep that the run is a job of, if any.
        resume_step: The step that an interrupted run goes on from; None for a new run.

    Raises:
        UserError: Lightning refuses an option of ``trainer``, or a package of a logger is missing.
    """
    from pytorch_lightning.callbacks import RichProgressBar, TQDMProgressBar
    from pytorch_lightning.plugins.environments import SLURMEnvironment
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    from models.bitstreams import ValidationBitstreams
    from models.keep_checkpoints import BackgroundCheckpointIO, Checkpoints
    from models.last_step import LastStep
    from models.monitoring import CheckpointCopies, GradientCheck, MetricsFile, Progress, ValidationPictures
    from models.requeue import Requeue

    curves = MetricsFile(folder.metrics, resume_step)
    checkpoints = Checkpoints(folder.directory, **cfg.checkpoints)
    callbacks = [
        LastStep(cfg.trainer.max_steps),
        checkpoints,
        Progress(),
        ValidationPictures(),
        ValidationBitstreams(cfg.validation.bitstreams),
        CheckpointCopies(checkpoints),
        Requeue(checkpoints),
    ]
    if cfg.check_gradients:
        callbacks.append(GradientCheck())
    bar = RichProgressBar() if sys.stdout.isatty() else TQDMProgressBar(refresh_rate=10)
    plugins = [BackgroundCheckpointIO()]
    if SLURMEnvironment.detect():
        # models.requeue does it, with last.ckpt; Lightning would keep a file of its own.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    loggers = [*build_loggers(cfg.logger, folder, sweep), curves]
    curves.begin()
    # Null, as -1, is no limit; Lightning would take 1,000 for it.
    limits = {"max_steps": -1, "max_epochs": -1 if cfg.trainer.max_epochs is None else cfg.trainer.max_epochs}
    try:
        trainer = hydra.utils.instantiate(cfg.trainer, _partial_=True, **limits)(
            callbacks=[*callbacks, bar],
            logger=loggers,
            default_root_dir=folder.directory,
            plugins=plugins,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"trainer: {_one_line(error)}") from error
    _set_matmul_precision(cfg.matmul_precision, trainer.strategy.root_device.type)
    return trainer, checkpoints


def fit(trainer: "Trainer", module: "LightningModule", data: "LightningDataModule", checkpoint: Path | None) -> float:
    """Train, from ``checkpoint`` on where there is one; every checkpoint is on disk and every logger closed after it.

    Returns:
        Seconds.

    Raises:
        SystemExit: Status 143: SIGTERM has ended training, and last.ckpt is written.
        UserError: The data is not there, training diverged, a checkpoint cannot be written, a process that loads
            pictures was killed or cannot be started, or validation is asked for after more batches than an epoch has.
    """
    from pytorch_lightning.utilities.exceptions import SIGTERMException

    from models.requeue import StoppedForRequeue

    began, handler = time.monotonic(), signal.getsignal(signal.SIGTERM)
    try:
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
        return time.monotonic() - began
    except ValueError as error:
        if "val_check_interval" not in str(error):
            raise
        raise UserError(f"trainer.val_check_interval={trainer.val_check_interval}: {_one_line(error)}") from error
    except StoppedForRequeue as stop:
        # SLURM ends the job at once.
        close_loggers()
        stop.requeue()
        raise
    except RuntimeError as error:
        if "DataLoader worker" in str(error):
            raise UserError(
                f"data.workers={getattr(data, 'workers', None)}: a process that loads pictures was killed "
                f"({_one_line(error)}), perhaps for want of memory; the same command goes on from the last checkpoint; "
                "try fewer data.workers"
            ) from error
        if isinstance(error.__context__, OSError):  # Lightning raises it in place of what kept a process from starting
            reason = error.__context__.strerror
            raise UserError(
                f"data.workers={getattr(data, 'workers', None)}: no process that loads pictures can be started "
                f"({reason}); see whether /dev/shm can be written, or use data.workers=0"
            ) from error
        raise
    except SIGTERMException as stop:
        raise SystemExit(128 + signal.SIGTERM) from stop
    finally:
        close_loggers()
        if signal.getsignal(signal.SIGTERM) is not handler:  # Lightning leaves its own where loading cannot start
            signal.signal(signal.SIGTERM, handler)


def _set_matmul_precision(precision: str, device: str) -> None:
    if device != "cuda":
        return
    import torch

    torch.set_float32_matmul_precision(precision)
    # Torch lets convolutions use TF32 whatever the matrix products do.
    torch.backends.cudnn.allow_tf32 = precision != "highest"
    how = "float32 throughout" if precision == "highest" else "TF32 or less in products and convolutions of float32"
    log.info("matmul_precision=%s: %s", precision, how)


def quieten() -> None:
    """Leave out what would bury our own lines."""
    # Lightning's notices (hardware, advertisements); its warnings still show.
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    if not is_first_process():
        logging.getLogger().setLevel(logging.WARNING)
    # The data modules' samplers do resume (datamodules.sampling); Lightning looks for it in the loader alone.
    warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
