"""Where the curves of a training are mirrored besides metrics.csv: the targets of ``train:`` in conf/logger.

Each is a function of a run that returns one of Lightning's loggers. ``logger=[wandb,tensorboard]`` takes both.
"""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from icm.config import build
from icm.preflight import Problem, check
from icm.training.processes import is_first_process
from icm.training.run_folder import RunFolder

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger


def build_loggers(options: DictConfig, folder: RunFolder, sweep: str | None) -> list["Logger"]:
    """The loggers of ``cfg.logger``.

    Args:
        options: The composed options of the group; ``train`` holds one target by each name.
        folder: The run's folder, which takes everything that they write.
        sweep: Name of the sweep that the run is a job of, if any.

    Raises:
        icm.preflight.PreflightError: A package is missing.
    """
    return [build(target, folder=folder, sweep=sweep) for target in options.train.values()]


def close_loggers() -> None:
    """Each job of a sweep is a W&B run of its own. Where wandb was not imported there is nothing to close."""
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish()


def wandb(folder: RunFolder, sweep: str | None, project: str, entity: str | None) -> "WandbLogger":
    """Weights & Biases: offline unless the user is logged in, and one W&B run however often it is resumed."""
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    from icm.wandb_mode import default_mode

    mode = default_mode()
    name = folder.directory.name
    return WandbLogger(
        # The folder name of a job of a sweep is a mere number.
        name=f"{sweep}-{name}" if sweep else name,
        id=folder.identity() if is_first_process() else None,
        save_dir=folder.directory,
        # `mode`, not Lightning's `offline`, which would change the environment of every later job too.
        mode=mode,
        resume="allow" if mode == "online" else None,
        group=sweep,
        settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
        project=project,
        entity=entity,
    )


def tensorboard(folder: RunFolder, sweep: str | None) -> "TensorBoardLogger":
    """Files in the run folder's ``tensorboard``; ``tensorboard --logdir outputs/train`` shows all runs."""
    if not find_spec("tensorboard"):
        check([Problem("logger=tensorboard needs the package tensorboard", "pip install tensorboard")])
    from pytorch_lightning.loggers import TensorBoardLogger

    class Pictures(TensorBoardLogger):
        def log_image(self, key: str, images: Sequence, step: int, caption: Sequence[str]) -> None:
            for image, name in zip(images, caption, strict=True):
                self.experiment.add_image(f"{key}/{name}", image, step, dataformats="HWC")

        def log_hyperparams(self, *args: Any, **options: Any) -> None:
            """The run folder's config.yaml has them."""

    return Pictures(folder.directory, name="tensorboard", version="")
