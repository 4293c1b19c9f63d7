"""``python -m icm ship``: write a trained network and its card into ``checkpoints/``, or measure one again.

A card says how the network was trained (``network``, ``objective``, ``masks``, ``data``, ``optimizer``, ``lambda``,
``steps``, ``seed``, ``commit``), what the file is (``parameters``, ``sha256``, ``weights_id``), and, under
``held_out``, what it does on images that training never saw (`measure`). ``decodes``, added by hand, are ids of
networks that shipped before and had the very same decoder.
"""

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icm.codecs.shipped import FOLDER, RATES, VARIANTS
from icm.config import CONF, build
from icm.errors import UserError
from icm.files import atomic_write, file_sha256

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from models.gated import EdgeGate
    from models.network import CodecNetwork

DESCRIPTION = (
    "Write a checkpoint of train.py as a half-precision safetensors file with a JSON card: how it was trained, and its "
    "rate, PSNR and selectivity on the images that its data holds out. The entropy bottleneck's quantiles are brought "
    "to convergence first. With --measure: measure a shipped network again and compare with its card."
)
_TRAINING = (
    "network", "objective", "masks", "data", "optimizer", "lambda", "steps", "seed", "commit", "init_from", "codec",
    "gate_bias",
)  # fmt: skip
# What a card never holds: paths of the machine, and what shapes no result.
_PRIVATE = ("path", "cache", "masks", "workers")
# Where the classes are that a checkpoint may name for its data and masks; nothing else that it names is called.
_TRUSTED = ("datamodules.", "icm.masks.")
# How far a figure measured again may lie from the card's: float32 rounds differently on other machines.
_RATE, _DECIBELS = 0.005, 0.02


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", type=Path, nargs="?", metavar="CHECKPOINT",
        help="last.ckpt or best.ckpt of train.py, or a shipped .safetensors with its card",
    )  # fmt: skip
    parser.add_argument("--variant", choices=VARIANTS, help="what it was trained for")
    parser.add_argument(
        "--codec", type=Path, metavar="FILE",
        help="a shipped .safetensors whose codec ships behind this network's gate; default: its own",
    )  # fmt: skip
    parser.add_argument(
        "--gate-bias", type=float, metavar="B",
        help="added to the logits of its gate, which then opens more readily; default: 0",
    )  # fmt: skip
    parser.add_argument("--rate", choices=RATES, help="name of the rate point")
    parser.add_argument("--measure", type=Path, metavar="FILE", help="a shipped .safetensors to measure again")
    parser.add_argument("--data", metavar="DIR", help="data.path; default: where the training found its data")
    parser.add_argument(
        "--masks", metavar="NAME", help="option of conf/masks to measure under; default: the training's"
    )
    parser.add_argument("--images", type=int, metavar="N", help="measure the first N held-out images; default: all")
    parser.add_argument("--output", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER.name}/")


def run(arguments: argparse.Namespace) -> int:
    if arguments.images is not None and arguments.images < 1:
        raise UserError(f"--images {arguments.images}: use 1 or more")
    if arguments.measure:
        return _measure_again(arguments)
    if not (arguments.checkpoint and arguments.variant and arguments.rate):
        raise UserError("give CHECKPOINT --variant NAME --rate NAME, or --measure FILE")
    from models.checkpoint import load_network, save_safetensors, weights_id

    training, data, measured_under = _training(arguments.checkpoint)
    images, masks = _held_out(data, arguments.data, _option(arguments.masks) or measured_under)
    network = load_network(arguments.checkpoint)
    if arguments.codec:
        network = _behind(network, load_network(arguments.codec), arguments)
        training |= {"lambda": _card(arguments.codec).get("lambda"), "codec": arguments.codec.name}
    if arguments.gate_bias is not None:
        _gate_of(network, arguments.checkpoint).out.bias.data += arguments.gate_bias
        training["gate_bias"] = arguments.gate_bias
    network.converge_quantiles()
    path = arguments.output / f"{arguments.variant}_{arguments.rate}.safetensors"
    # An earlier network and its card stay until this one is measured.
    new = save_safetensors(network, path.with_name(f".{path.name}"))
    try:
        # As it was read back: after rounding to half precision.
        shipped = load_network(new)
        card = {
            "variant": arguments.variant,
            "rate": arguments.rate,
            **training,
            "parameters": sum(parameter.numel() for parameter in shipped.parameters()),
            "sha256": file_sha256(new),
            "weights_id": weights_id(shipped),
            "aux_loss": round(shipped.aux_loss().item(), 4),
            "held_out": {"masks": masks, **measure(shipped, images, arguments.images)},
        }
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    atomic_write(path.with_suffix(".json"), json.dumps(card, indent=2) + "\n")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {json.dumps(card['held_out'])}")
    return 0


def _behind(trained: "CodecNetwork", codec: "CodecNetwork", arguments: argparse.Namespace) -> "CodecNetwork":
    """The codec with the trained network's gate in place of its own."""
    for path, network in ((arguments.checkpoint, trained), (arguments.codec, codec)):
        _gate_of(network, path)
    mine = {name: trained.architecture()[name] for name in ("N", "M")}
    if mine != (other := {name: codec.architecture()[name] for name in mine}):
        raise UserError(
            f"--codec {arguments.codec}: has {other}, but {arguments.checkpoint} has {mine}; use equal ones"
        )
    gate = {name: value for name, value in trained.state_dict().items() if name == "blocks" or name.startswith("gate.")}
    trained.load_state_dict({**codec.state_dict(), **gate}, strict=False)
    return trained


def _gate_of(network: "CodecNetwork", path: Path) -> "EdgeGate":
    from models.gated import GatedHyperprior

    if not isinstance(network, GatedHyperprior):
        raise UserError(f"{path}: has no gate; --codec and --gate-bias are for network=gated_hyperprior")
    return network.gate


def measure(network: "CodecNetwork", images: "Dataset", count: int | None = None) -> dict[str, float]:
    """Means over held-out images.

    Args:
        network: In eval mode, its tables made.
        images: A `datamodules.coco.MaskedImages` of crops that the network takes.
        count: How many of them, from the first; None: all.

    Returns:
        ``photographs``, how many; ``bpp``, the estimated rate; ``real_bpp``, that of the strings, as ``codec=sa_icm``
        makes them; ``psnr``, of the whole picture (dB); ``masked_psnr``, inside the mask, and ``selectivity``, inside
        minus outside, over the images that have both; left out where none has.
    """
    import torch

    from models.entropy import SymbolString, join
    from models.objective import bits_per_pixel, masked_psnr, selectivity

    rows = []
    with torch.inference_mode():
        for index in range(min(count or len(images), len(images))):
            sample = images[index]
            x, mask, valid = (sample[part][None] for part in ("image", "mask", "valid"))
            output, string = network(x), SymbolString()
            with join(network, string):
                network.compress(x)
            rows.append(
                [
                    bits_per_pixel(output["likelihoods"], x).item(),
                    8 * len(string.to_bytes()) / (x.shape[-2] * x.shape[-1]),
                    masked_psnr(x, output["x_hat"], valid).item(),
                    masked_psnr(x, output["x_hat"], mask).item(),
                    selectivity(x, output["x_hat"], mask, valid).item(),
                ]
            )
    means = torch.tensor(rows, dtype=torch.float64).nanmean(dim=0).tolist()
    names = ("bpp", "real_bpp", "psnr", "masked_psnr", "selectivity")
    found = {name: round(value, 4) for name, value in zip(names, means, strict=True) if value == value}
    return {"photographs": len(rows), **found}


def _measure_again(arguments: argparse.Namespace) -> int:
    from models.checkpoint import load_network

    card = _card(arguments.measure)
    before = card.get("held_out", {})
    data = {**card["data"], "masks": card["masks"]}
    images, _ = _held_out(data, arguments.data, _option(arguments.masks) or before.get("masks"))
    now = measure(load_network(arguments.measure), images, arguments.images)
    status = 0
    for name, value in now.items():
        known = before.get(name)
        allowed = 0 if name == "photographs" else _RATE * value if name.endswith("bpp") else _DECIBELS
        differs = known is not None and abs(value - known) > allowed
        status = 1 if differs else status
        print(f"{name:<12} {value:>9} card: {'-' if known is None else known}{'   differs' if differs else ''}")
    return status


def _training(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]:
    """How a checkpoint was trained, without any path of the machine; the configuration of its data, masks included; and
    of the masks that a shipped one was measured under."""
    from models.checkpoint import read_training

    if path.suffix == ".safetensors":
        card = _card(path)
        training = {name: card[name] for name in _TRAINING if name in card}
        return training, {**card["data"], "masks": card["masks"]}, card.get("held_out", {}).get("masks")
    step, config = read_training(path)
    summary = path.parent / "summary.json"
    commit = json.loads(summary.read_text(encoding="utf-8"))["git_commit"] if summary.is_file() else None
    parts = {
        part: {name: value for name, value in config[part].items() if name not in _PRIVATE}
        for part in ("network", "objective", "masks", "data", "optimizer")
    }
    started = {"init_from": Path(config["init_from"]).name} if config.get("init_from") else {}
    training = {"lambda": config["objective"]["lmbda"], "steps": step, "seed": config["seed"], "commit": commit}
    return {**parts, **training, **started}, {**config["data"], "masks": config["masks"]}, None


def _card(path: Path) -> dict[str, Any]:
    """The card of a shipped network; `UserError` when there is none."""
    file = path.with_suffix(".json")
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
        if missing := {"network", "masks", "data"} - set(card):
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        return card
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file}: no card of a shipped network ({error}); `python -m icm ship` writes one") from error


def _option(name: str | None) -> dict[str, Any] | None:
    """An option of conf/masks."""
    if name is None:
        return None
    import yaml

    file = CONF / "masks" / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.yaml")))
        raise UserError(f"--masks {name}: no such option; choose from {known}")
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def _held_out(
    data: Mapping[str, Any], path: str | None, masks: Mapping[str, Any] | None
) -> tuple["Dataset", dict[str, Any]]:
    """The held-out images of a training with the masks to measure under, and what these are, without paths.

    Args:
        data: Configuration of the data, masks included.
        path: Its ``data.path``, unless it is where it was.
        masks: Configuration of other masks than the training's; None: those.

    Raises:
        UserError: The data or the masks are not there, or not of this project.
    """
    takes_path = "path" in signature(_class(data["_target_"])).parameters
    if path and not takes_path:
        raise UserError(f"--data {path}: the data of this network has no path; leave it out")
    if takes_path and not (path or data.get("path")):
        raise UserError("--data DIR: name the folder of this network's data; its card holds no path")
    own = {**data, "path": path} if path else dict(data)
    images = _build(own).held_out_set()
    if masks is None:
        return images, _without_paths(own["masks"])
    measured = _build({**own, "masks": dict(masks)}).held_out_set()
    # Where images are held out of the training's own folder, other masks would hold out others.
    measured.names = [name for name in measured.names if name in set(images.names)]
    return measured, _without_paths(masks)


def _build(config: Mapping[str, Any]) -> Any:
    """What a configuration inside a checkpoint describes, if it is all of this project."""
    from omegaconf import OmegaConf

    for name in _targets(config):
        _class(name)
    return build(OmegaConf.create(dict(config)))


def _targets(value: Any) -> Iterator[str]:
    """Everything that a configuration would have called, at any depth."""
    if isinstance(value, Mapping):
        yield from (str(value[name]) for name in value if name == "_target_")
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _targets(part)


def _class(name: str) -> type:
    import hydra

    try:
        found = hydra.utils.get_object(name) if name.startswith(_TRUSTED) else None
    except ImportError:
        found = None
    if not isinstance(found, type) or not found.__module__.startswith(_TRUSTED):
        raise UserError(f"the checkpoint's data or masks are {name}, which this project does not have")
    return found


def _without_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in _PRIVATE}
