"""What a run starts from: nothing, its own last checkpoint, another run's checkpoint, or weights alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icm.errors import UserError
from icm.training.run_folder import RunFolder


@dataclass(frozen=True)
class Start:
    """Where a run starts.

    Attributes:
        checkpoint: The training checkpoint that it goes on from, with its steps and its optimizer's state; None: at
            step 0.
        step: The optimizer steps done in it.
        resuming: Whether the checkpoint is the run's own: an interrupted run goes on.
        weights: File of weights that a new network is given; None: it keeps its random ones.
    """

    checkpoint: Path | None
    step: int
    resuming: bool
    weights: Path | None


def find_start(config: Mapping[str, Any], folder: RunFolder) -> Start:
    """Where the run of a resolved configuration in ``folder`` starts; changes nothing.

    Raises:
        UserError: The folder must not be used, or a checkpoint is missing, damaged or of another network.
    """
    own = folder.checkpoint_to_resume(config, config["existing"])
    other, weights = (Path(config[key]) if config[key] else None for key in ("ckpt_path", "init_from"))
    if other and weights:
        raise UserError(
            f"ckpt_path={other} init_from={weights}: choose one; ckpt_path goes on with a training, its steps and "
            "optimizer, init_from starts a new one from weights alone"
        )
    for key, path in (("ckpt_path", other), ("init_from", weights)):
        if path and not own and not path.is_file():
            raise UserError(f"{key}={path}: no such file")
    checkpoint = own or other
    step = _step(checkpoint, config["network"]) if checkpoint else 0
    return Start(checkpoint, step, own is not None, None if checkpoint else weights)


def _step(path: Path, network: Mapping[str, Any]) -> int:
    from models.checkpoint import read_training

    step, trained = read_training(path)
    if trained["network"] != network:
        raise UserError(f"{path} holds network {trained['network']}, not {network}; choose the same network= options")
    return step
