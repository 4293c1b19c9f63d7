"""What a run says of itself: its first line, its label, and summary.json."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from omegaconf import DictConfig

from icm import provenance

if TYPE_CHECKING:
    from pytorch_lightning import LightningDataModule, Trainer

    from models.network import CodecNetwork
    from models.objective import RateDistortion

RECIPE = "python train.py experiment=sa_icm data.path=COCO trainer.devices=4"
# The options of conf/ that make the recipe of SA-ICM.
_RECIPE_OPTIONS = {"network": "tcm_large", "objective": "edge", "masks": "sam", "data": "coco"}


class Summary(TypedDict):
    """The content of summary.json.

    Attributes:
        label: Network, region and lambda: names the run in lists.
        checkpoint: File name of the checkpoint to use.
        steps: Optimizer steps done since the network's first.
        epochs: Epochs ended.
        validation: Figures of the checkpoint to use: step, loss, bpp, psnr and so on; no figure that is not finite.
        parameters: Number of the network's weights.
        images_per_second: Training images over ``seconds``, all processes together.
        seconds: How long this command trained, validations included.
        resumed_step: The step that this command went on from; 0: none.
        init_from: What was taken over from a file of weights (``init_from=``): ``path``, the number of parameters
            ``loaded``, and the names of those ``left`` as initialised; None: nothing.
        versions, git_commit: What it was trained with.
    """

    label: str
    checkpoint: str
    steps: int
    epochs: int
    validation: dict[str, float]
    parameters: int
    images_per_second: float
    seconds: float
    resumed_step: int
    init_from: dict[str, Any] | None
    versions: dict[str, str]
    git_commit: str | None


def first_line(
    cfg: DictConfig, network: "CodecNetwork", objective: "RateDistortion", options: Mapping[str, str]
) -> str:
    """What is about to be trained on what, and, unless it is an experiment of conf/, how SA-ICM itself is trained.

    Args:
        cfg: The configuration of conf/train.yaml.
        network: The network of it.
        objective: The objective of it.
        options: The option chosen of every group, as Hydra knows them; without, classes are named.
    """
    masks, data = (options.get(part) or cfg[part]._target_.rpartition(".")[2] for part in ("masks", "data"))
    images = f"{cfg.data.train_images} {data} images" if "train_images" in cfg.data else f"{data} {cfg.data.path}"
    size = f"{parameters(network) / 1e6:.1f} M parameters"
    line = f"training {type(network).__name__} ({size}), objective {objective.region}, masks {masks}, {images}"
    if (
        not options
        or options.get("experiment")
        or all(options[part] == _RECIPE_OPTIONS[part] for part in _RECIPE_OPTIONS)
    ):
        return line
    trial = "a trial, " if data == "demo" else ""
    return f"{line}: {trial}not the SA-ICM recipe; that is: {RECIPE}"


def label(network: "CodecNetwork", objective: "RateDistortion", data: "LightningDataModule") -> str:
    """Names a run: ``TCM edge lambda 0.05``. The masks say which pixels counted, unless the objective ignores them."""
    region = "plain" if objective.region == "plain" else data.masks.region
    return f"{type(network).__name__} {region} lambda {objective.lmbda:g}"


def summarise(
    name: str,
    network: "CodecNetwork",
    trainer: "Trainer",
    best: Mapping[str, float],
    seconds: float,
    batch_size: int,
    resumed_step: int,
    init_from: dict[str, Any] | None,
) -> Summary:
    """The summary of a finished run.

    Args:
        name: Its label.
        network: Its network.
        trainer: After training.
        best: Step and figures of best.ckpt; empty when there is none.
        seconds: How long it trained.
        batch_size: Of one process.
        resumed_step: The step that it went on from.
        init_from: What the run folder says of that.
    """
    images = (trainer.global_step - resumed_step) * batch_size * trainer.accumulate_grad_batches * trainer.world_size
    figures = {key.removeprefix("val/"): value for key, value in best.items() if math.isfinite(value)}
    return Summary(
        label=name,
        checkpoint="best.ckpt" if best else "last.ckpt",
        steps=trainer.global_step,
        epochs=trainer.current_epoch,
        validation=figures,
        parameters=parameters(network),
        images_per_second=images / seconds,
        seconds=seconds,
        resumed_step=resumed_step,
        init_from=init_from,
        versions=provenance.versions(),
        git_commit=provenance.git_commit(),
    )


def parameters(network: "CodecNetwork") -> int:
    """Number of a network's weights."""
    return sum(parameter.numel() for parameter in network.parameters())
