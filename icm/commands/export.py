"""``python -m icm export``: write a trained network in the format SA-ICM and LIC-TCM publish theirs in."""

import argparse
from pathlib import Path

from icm.errors import UserError

DESCRIPTION = (
    "Write the network of a checkpoint as {'state_dict': ...} under the published names, float32, as SA-ICM, LIC-TCM "
    "and CompressAI publish theirs: their code loads it. Averaged weights are written where the checkpoint has them."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="of train.py, published, or .safetensors")
    parser.add_argument("output", type=Path, metavar="OUT.pth.tar", help="replaced when it exists")


def run(arguments: argparse.Namespace) -> int:
    from models.checkpoint import load_network, save_published

    network = load_network(arguments.checkpoint)
    try:
        path = save_published(network, arguments.output)
    except OSError as error:
        raise UserError(f"{arguments.output}: cannot be written ({error.strerror}); name another file") from error
    sizes = ", ".join(f"{name}={value}" for name, value in network.architecture().items())
    print(f"{path}: {type(network).__name__} {sizes}, {path.stat().st_size / 1e6:.1f} MB")
    return 0
