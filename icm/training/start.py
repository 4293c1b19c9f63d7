"""Checks before a training starts: where it goes on from, and whether its parts go together."""

from pathlib import Path
from typing import Any

from icm.errors import UserError


def start_checkpoint(path: str | None) -> Path | None:
    """``ckpt_path`` as a path; UserError where there is no such file."""
    if path is None:
        return None
    if not Path(path).is_file():
        raise UserError(f"ckpt_path={path}: no such file; give a last.ckpt or best.ckpt that train.py wrote")
    return Path(path)


def checked_step(path: Path, config: dict[str, Any]) -> int:
    """The optimizer steps done in a training checkpoint; UserError when it is none, or of another network."""
    from models.checkpoint import read_training

    step, trained = read_training(path)
    if trained["network"] != config["network"]:
        raise UserError(
            f"{path} holds network {trained['network']}, not {config['network']}; choose the same network= options"
        )
    return step


def check_parts(network: Any, objective: Any, data: Any) -> None:
    """UserError when parts that are well on their own do not go together."""
    for name in ("crop", "val_crop"):
        if getattr(data, name) % network.multiple:
            raise UserError(
                f"data.{name}={getattr(data, name)}: {type(network).__name__} takes multiples of {network.multiple}"
            )
    if objective.region == "object" and data.masks.region != "object":
        raise UserError("objective=object counts the insides of objects, which masks=objects has; add that")
