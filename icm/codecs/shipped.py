"""The trained networks of the repository: ``checkpoints/<variant>_<rate>.safetensors`` and a JSON card beside each."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icm.codecs.base import BitstreamError, CodecError, choice
from icm.files import file_sha256

FOLDER = Path(__file__).resolve().parents[2] / "checkpoints"
# What the codec of each variant is called.
VARIANTS = {"edge": "SA-ICM", "faceless": "SA-ICM faceless", "control": "SA-ICM control"}
RATES = ("low", "mid", "high")


@dataclass(frozen=True)
class Shipped:
    """A shipped network.

    Attributes:
        path: Its safetensors file.
        card: How it was trained and what it measures; `icm.commands.ship` says what is in it.
    """

    path: Path
    card: dict[str, Any]


def find(variant: str, rate: str) -> Shipped:
    """The shipped network of a variant (`VARIANTS`) and rate (`RATES`), checked against its card.

    Raises:
        CodecError: Another variant or rate, a missing file, or one that differs from its card.
    """
    choice("sa_icm", "variant", variant, tuple(VARIANTS))
    choice("sa_icm", "rate", rate, RATES)
    return _checked(FOLDER / f"{variant}_{rate}.json")


def path_of(weights_id: str) -> Path:
    """The shipped file whose weights a bitstream was coded with.

    Args:
        weights_id: What the container says; hexadecimal.

    Raises:
        BitstreamError: It is none of them.
    """
    for path in sorted(FOLDER.glob("*.json")):
        if weights_id in (_card(path)["weights_id"], *_earlier(path)):
            return _checked(path).path
    raise BitstreamError(
        f"coded with weights {weights_id}, which are not among the shipped ones: name the checkpoint it was coded with "
        "(--checkpoint PATH)"
    )


def earlier_ids(path: Path) -> tuple[str, ...]:
    """Ids of networks that shipped once and had the very decoder of this file, whose streams it therefore decodes."""
    card = path.with_suffix(".json")
    return _earlier(card) if path.parent == FOLDER and card.is_file() else ()


def _earlier(card: Path) -> tuple[str, ...]:
    return tuple(_card(card).get("decodes", ()))


def _checked(card: Path) -> Shipped:
    path = card.with_suffix(".safetensors")
    for file in (card, path):
        if not file.is_file():
            raise CodecError(
                f"{file}: missing; restore the shipped networks (git checkout checkpoints), or name your own weights: "
                "codec.checkpoint=PATH (--checkpoint PATH), as `python train.py` writes"
            )
    content = _card(card)
    if file_sha256(path) != content["sha256"]:
        raise CodecError(f"{path}: damaged, or not the file of its card {card.name}; restore it from the repository")
    return Shipped(path, content)


def _card(path: Path) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if missing := {"lambda", "sha256", "weights_id"} - set(card):
            raise KeyError(*missing)
        return card
    except (ValueError, KeyError, TypeError) as error:
        raise CodecError(f"{path}: damaged ({error!r}); restore it from the repository") from None
