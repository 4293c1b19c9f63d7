"""Lightning's Trainer with this project's checkpoints, curves and pictures."""

import logging
import sys
import warnings
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from icm.errors import UserError
from icm.training.processes import is_first_process
from icm.training.run_folder import RunFolder

if TYPE_CHECKING:
    from models.keep_checkpoints import Checkpoints


def make_trainer(
    cfg: DictConfig, folder: RunFolder, loggers: list[Any], resume_step: int | None
) -> tuple[Any, "Checkpoints"]:
    """The Trainer of a run and the callback that keeps its checkpoints.

    Args:
        cfg: The composed configuration of conf/train.yaml.
        folder: Where checkpoints and metrics.csv go.
        loggers: Further loggers (`icm.training.loggers`).
        resume_step: The step a resumed run goes on from; None: a new run.

    Raises:
        UserError: Lightning refuses an option of conf/trainer.
    """
    from pytorch_lightning.callbacks import RichProgressBar, TQDMProgressBar
    from pytorch_lightning.plugins.environments import SLURMEnvironment
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    from models.keep_checkpoints import BackgroundCheckpointIO, Checkpoints
    from models.monitoring import GradientCheck, MetricsFile, ValidationPictures

    curves = MetricsFile(folder.metrics, resume_step)
    curves.begin()
    checkpoints = Checkpoints(folder.directory, **cfg.checkpoints)
    bar = RichProgressBar() if sys.stdout.isatty() else TQDMProgressBar(refresh_rate=10)
    callbacks, plugins = [checkpoints, bar, ValidationPictures()], [BackgroundCheckpointIO()]
    if SLURMEnvironment.detect():
        # SLURM itself requeues, and last.ckpt is where the run goes on; Lightning would keep a file of its own.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    if cfg.check_gradients:
        callbacks.append(GradientCheck())
    try:
        trainer = hydra.utils.instantiate(cfg.trainer, _partial_=True)(
            callbacks=callbacks,
            logger=[*loggers, curves],
            default_root_dir=folder.directory,
            plugins=plugins,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error
    return trainer, checkpoints


def quieten() -> None:
    """Leave out what would bury our own lines."""
    # Lightning's notices (hardware, advertisements); its warnings still show.
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    if not is_first_process():
        logging.getLogger().setLevel(logging.WARNING)
    # The data modules' samplers do resume (datamodules.sampling); Lightning looks for it in the loader alone.
    warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\).*")
