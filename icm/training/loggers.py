"""Where the curves of a training are mirrored besides metrics.csv: the targets of ``train:`` in conf/logger.

Each is a function of a run that returns one of Lightning's loggers. ``logger=[wandb,tensorboard]`` takes both.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from icm.config import build
from icm.files import file_sha256
from icm.tensorboard_files import without_tensorflow
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
    """Weights & Biases: offline unless the user is logged in, and one W&B run however often it is resumed.

    At the end the run's checkpoints become artifacts, each with its card.
    """
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    from icm.wandb_mode import checkpoint_alias, checkpoint_artifact, commit_settings, default_mode

    class WithCheckpoints(WandbLogger):
        def log_checkpoint(self, path: Path, alias: str, figures: Mapping[str, float]) -> None:
            sha256 = file_sha256(path)
            artifact = checkpoint_artifact(path, sha256, {**card, "file": path.name, "validation": dict(figures)})
            self.experiment.log_artifact(artifact, aliases=[alias, checkpoint_alias(sha256)])

    mode = default_mode()
    name = folder.directory.name
    # The folder name of a job of a sweep is a mere number.
    name = f"{sweep}-{name}" if sweep else name
    # Only the first process has written the folder, and only its logger opens a run.
    first = is_first_process()
    config, origin = (folder.read_config(), folder.read_origin()) if first else ({}, {})
    described = _described(config)
    trained_with = {part: config[part] for part in ("network", "objective", "masks", "data", "seed") if part in config}
    card = {"label": ", ".join(described), "run": name, **trained_with, **origin}
    logger = WithCheckpoints(
        name=": ".join(filter(None, [name, card["label"]])),
        id=folder.identity() if first else None,
        save_dir=folder.directory,
        # `mode`, not Lightning's `offline`, which would change the environment of every later job too.
        mode=mode,
        resume="allow" if mode == "online" else None,
        group=sweep,
        job_type="train",
        tags=described,
        notes=f"python train.py, folder {folder.directory}",
        settings=wandb.Settings(
            silent=True, console="off", disable_code=True, **commit_settings(origin.get("git_commit"))
        ),
        project=project,
        entity=entity,
    )
    # wandb warns of this option, which Lightning hands on unasked.
    logger._wandb_init.pop("anonymous", None)
    return logger


def _described(config: Mapping[str, Any]) -> list[str]:
    """Network, region, lambda and data of a configuration: ``TCM``, ``edge``, ``lambda 0.05``, ``CocoEdges COCO``."""
    if "network" not in config:
        return []
    network, objective, data = (config[part] for part in ("network", "objective", "data"))
    names = [part["_target_"].rpartition(".")[2] for part in (network, data)]
    images = f"{names[1]} {Path(data.get('path') or '').name}".strip()
    return [names[0], objective["region"], f"lambda {objective['lmbda']:g}", images]


def tensorboard(folder: RunFolder, sweep: str | None) -> "TensorBoardLogger":
    """Files in the run folder's ``tensorboard``; ``tensorboard --logdir outputs/train`` shows all runs."""
    without_tensorflow()
    from pytorch_lightning.loggers import TensorBoardLogger

    class Pictures(TensorBoardLogger):
        def log_image(self, key: str, images: Sequence, step: int, caption: Sequence[str]) -> None:
            for image, name in zip(images, caption, strict=True):
                self.experiment.add_image(f"{key}/{name}", image, step, dataformats="HWC")

        def log_hyperparams(self, *args: Any, **options: Any) -> None:
            """The run folder's config.yaml has them."""

    return Pictures(folder.directory, name="tensorboard", version="")
