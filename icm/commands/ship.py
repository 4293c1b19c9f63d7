"""``python -m icm ship``: write a trained network and its card into ``checkpoints/``."""

import argparse
import json
import os
from pathlib import Path

from icm.codecs.shipped import FOLDER, RATES, VARIANTS
from icm.files import atomic_write, file_sha256

DESCRIPTION = (
    "Write a checkpoint of train.py as a half-precision safetensors file with a JSON card: how it was trained, and its "
    "rate, PSNR and selectivity on the photographs that data=scenes holds out, under the masks of masks=boundaries."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="last.ckpt or best.ckpt of train.py")
    parser.add_argument("--variant", required=True, choices=VARIANTS, help="trained for edges, or the plain control")
    parser.add_argument("--rate", required=True, choices=RATES, help="name of the rate point")
    parser.add_argument("--data", required=True, metavar="DIR", help="the folder data=scenes was trained on")
    parser.add_argument("--output", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER.name}/")


def run(arguments: argparse.Namespace) -> int:
    from models.checkpoint import load_network, save_safetensors

    training = _training(arguments.checkpoint)
    network = load_network(arguments.checkpoint)
    path = arguments.output / f"{arguments.variant}_{arguments.rate}.safetensors"
    # An earlier network and its card stay until this one is measured.
    new = save_safetensors(network, path.with_name(f".{path.name}"))
    try:
        card = _card(arguments, training, load_network(new), new)
    except BaseException:
        new.unlink()
        raise
    os.replace(new, path)
    atomic_write(path.with_suffix(".json"), json.dumps(card, indent=2) + "\n")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {json.dumps(card['held_out'])}")
    return 0


def _card(arguments: argparse.Namespace, training: dict, shipped, path: Path) -> dict:
    """The card of ``shipped``, the network as it was read back from ``path``: after rounding to half precision."""
    from icm.masks.boundaries import BoundaryMasks
    from models.checkpoint import weights_id

    return {
        "variant": arguments.variant,
        "rate": arguments.rate,
        **training,
        "parameters": sum(parameter.numel() for parameter in shipped.parameters()),
        "sha256": file_sha256(path),
        "weights_id": weights_id(shipped),
        "held_out": measure(shipped, arguments.data, BoundaryMasks()),
    }


def measure(network, folder: str, masks) -> dict:
    """Figures of a network on the held-out photographs of ``folder`` (the layout of data=scenes).

    ``bpp`` is the estimated rate, ``psnr`` of the whole picture, ``masked_psnr`` inside the edge mask, ``selectivity``
    inside minus outside (dB); means over the photographs.
    """
    import torch

    from datamodules.scenes import SceneEdges
    from models.objective import bits_per_pixel, masked_psnr, selectivity

    photographs = SceneEdges(folder, masks).held_out_set()
    rows = []
    with torch.inference_mode():
        for index in range(len(photographs)):
            sample = photographs[index]
            x, mask = sample["image"][None], sample["mask"][None]
            output = network(x)
            rows.append(
                {
                    "bpp": bits_per_pixel(output["likelihoods"], x).item(),
                    "psnr": masked_psnr(x, output["x_hat"], torch.ones_like(mask)).item(),
                    "masked_psnr": masked_psnr(x, output["x_hat"], mask).item(),
                    "selectivity": selectivity(x, output["x_hat"], mask).item(),
                }
            )
    means = {name: round(sum(row[name] for row in rows) / len(rows), 4) for name in rows[0]}
    return {"photographs": len(rows), "mask_threshold": masks.threshold, "mask_dilation": masks.dilation, **means}


def _training(path: Path) -> dict:
    """How a checkpoint was trained, from what train.py wrote into it and beside it; no path of the machine."""
    from models.checkpoint import read_training

    step, config = read_training(path)
    summary = path.parent / "summary.json"
    commit = json.loads(summary.read_text(encoding="utf-8"))["git_commit"] if summary.is_file() else None
    without_paths = {
        part: {name: value for name, value in config[part].items() if name not in ("path", "masks", "workers")}
        for part in ("network", "objective", "masks", "data", "optimizer")
    }
    return {
        **without_paths,
        "lambda": config["objective"]["lmbda"],
        "steps": step,
        "seed": config["seed"],
        "commit": commit,
    }
