"""What a finished training says of itself: summary.json of the run folder."""

import math
from typing import Any, TypedDict

from icm import provenance


class TrainingSummary(TypedDict):
    """summary.json of a training; ``validation`` holds the figures of the best checkpoint, ``checkpoint`` its name."""

    label: str
    region: str
    checkpoint: str
    steps: int
    epochs: int
    validation: dict[str, float]
    parameters: int
    images_per_second: float
    seconds: float
    resumed_step: int
    versions: dict[str, str]
    git_commit: str | None


def label_of(network: Any, objective: Any, masks: Any) -> str:
    """A training in a few words: its network, the pixels that counted and lambda."""
    # The masks say which pixels counted; objective=edge takes whatever they are.
    region = "plain" if objective.region == "plain" else masks.region
    return f"{type(network).__name__} {region} lambda {objective.lmbda:g}"


def first_line(network: Any, objective: Any, data: Any) -> str:
    """What is about to be trained, said before it starts."""
    million = parameters_of(network) / 1e6
    kind = type(data).__name__.removesuffix("Edges").lower() or "data"
    trained = (
        f"training {type(network).__name__} ({million:.1f} M parameters), {label_of(network, objective, data.masks)}"
    )
    if kind == "demo":
        recipe = "python train.py experiment=sa_icm data.path=COCO trainer.devices=4"
        return f"{trained}, on the demo's {data.train_images} images: a trial; SA-ICM itself is {recipe}"
    return f"{trained}, data {kind}"


def parameters_of(network: Any) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def summarize(
    trainer: Any,
    module: Any,
    data: Any,
    checkpoint: str,
    best: dict[str, float],
    seconds: float,
    resumed_step: int,
) -> TrainingSummary:
    """The summary of a run that has ended.

    Args:
        trainer: Lightning's, after `fit`.
        module: The `models.lightning.CodecTraining`.
        data: The data module.
        checkpoint: File name of the checkpoint to use.
        best: Step and validation figures of the best checkpoint.
        seconds: What the training took.
        resumed_step: The step it went on from.
    """
    steps = trainer.global_step - resumed_step
    seen = steps * data.batch_size * trainer.accumulate_grad_batches * trainer.world_size
    return {
        "label": label_of(module.network, module.objective, data.masks),
        "region": module.objective.region,
        "checkpoint": checkpoint,
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "validation": {name.removeprefix("val/"): value for name, value in best.items() if math.isfinite(value)},
        "parameters": parameters_of(module.network),
        "images_per_second": seen / seconds,
        "seconds": seconds,
        "resumed_step": resumed_step,
        "versions": provenance.versions(),
        "git_commit": provenance.git_commit(),
    }
