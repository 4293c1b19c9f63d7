"""``python -m icm download``: what is too large or too restricted to ship."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from icm.codecs import zoo
from icm.detectors import weights as utility_weights
from icm.errors import UserError
from icm.faces import lfw, weights
from icm.faces.sources import COCO15, Coco15Faces
from icm.masks import sam_weights

DESCRIPTION = """Fetch recogniser and detector weights, CompressAI's networks, the coco15 images, Labeled Faces in the
Wild, or Segment Anything checkpoints. Downloads resume where they stopped. Checksums: SFace, YuNet, Dlib, the COCO
images and LFW are checked against published ones, torchvision's and CompressAI's files against the digits of theirs in
their names, Segment Anything against sums that many projects record; the other weights have none published, so the
checksum of the first download is written beside the file (NAME.sha256) and holds from then on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")

    names = ["paper", *weights.FILES]
    kind = kinds.add_parser("weights", help="weights of recognisers and detectors, into DeepFace's own folder")
    kind.add_argument("names", nargs="*", metavar="NAME", help=f"default: all. Names: {', '.join(names)}")
    kind.set_defaults(fetch=_weights)

    kind = kinds.add_parser("utility", help="weights of the networks of task=detection, segmentation and keypoints")
    kind.add_argument("names", nargs="+", metavar="NAME", help=f"one of {', '.join(sorted(utility_weights.FILES))}")
    kind.set_defaults(fetch=_utility)

    kind = kinds.add_parser("zoo", help="CompressAI's published networks, for codec=learned codec.checkpoint=NAME")
    kind.add_argument("names", nargs="+", metavar="NAME", help="such as mbt2018-mean (all qualities) or mbt2018-mean-3")
    kind.set_defaults(fetch=_zoo)

    kind = kinds.add_parser("coco15", help="the fifteen COCO images of faces=coco15")
    kind.add_argument("--path", type=Path, help="folder (default: coco15 in $ICM_CACHE or ~/.cache/icm)")
    kind.set_defaults(fetch=_coco15)

    kind = kinds.add_parser("lfw", help="Labeled Faces in the Wild and its pairs, for faces=lfw (180 MB)")
    kind.add_argument("--path", type=Path, help="folder (default: lfw in $ICM_CACHE or ~/.cache/icm)")
    kind.set_defaults(fetch=_lfw)

    kind = kinds.add_parser("sam", help="Segment Anything checkpoints (375 MB, 1.2 GB, 2.6 GB)")
    names = ", ".join(sam_weights.CHECKPOINTS)
    kind.add_argument("names", nargs="*", metavar="MODEL", default=["vit_b"], help=f"default: vit_b. Models: {names}")
    kind.add_argument("--path", type=Path, help="folder (default: sam in $ICM_CACHE or ~/.cache/icm)")
    kind.set_defaults(fetch=_sam)


def run(arguments: argparse.Namespace) -> int:
    """Fetch what was asked for; 1 when something could not be fetched, after trying the rest."""
    return arguments.fetch(arguments)


def _weights(arguments: argparse.Namespace) -> int:
    wanted: list[str] = []
    for name in arguments.names or weights.FILES:
        if name != "paper" and name not in weights.FILES:
            choices = ", ".join(["paper", *weights.FILES])
            raise weights.WeightsError(f"download weights {name}: no such weights; choose from {choices}")
        wanted += weights.PAPER if name == "paper" else [name]
    return _each(dict.fromkeys(wanted), weights.fetch)


def _utility(arguments: argparse.Namespace) -> int:
    for name in arguments.names:
        if name not in utility_weights.FILES:
            choices = ", ".join(sorted(utility_weights.FILES))
            raise UserError(f"download utility {name}: no such weights; choose from {choices}")
    return _each(dict.fromkeys(arguments.names), utility_weights.fetch)


def _zoo(arguments: argparse.Namespace) -> int:
    return _each(dict.fromkeys(name for wanted in arguments.names for name in zoo.names_of(wanted)), zoo.fetch)


def _coco15(arguments: argparse.Namespace) -> int:
    source = Coco15Faces(arguments.path)
    return _each(COCO15, source.fetch)


def _lfw(arguments: argparse.Namespace) -> int:
    return _each(lfw.PARTS, lambda part: lfw.fetch(part, arguments.path))


def _sam(arguments: argparse.Namespace) -> int:
    return _each(arguments.names, lambda model: sam_weights.fetch_checkpoint(model, arguments.path))


def _each(items: Iterable, fetch: Callable[..., Path]) -> int:
    """Fetch every item, printing each path; a failure is printed and the next item tried."""
    failed = 0
    for item in items:
        try:
            print(fetch(item))
        except UserError as error:
            failed += 1
            print(f"icm download: {error}", file=sys.stderr)
    return 1 if failed else 0
