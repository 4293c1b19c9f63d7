"""``python -m icm restorer``: train the network of the restorer attack on any folder of pictures."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from icm import codecs
from icm.codecs.base import Codec
from icm.errors import UserError
from icm.images import list_images, read_image
from icm.threads import in_threads

DESCRIPTION = """Train the restorer attack: a small network that redraws coded pictures. Square windows of the folder's
pictures are coded, and the network learns to take them back. One picture in ten is kept out and measures what it
learnt. The pictures must not show the people whose faces the attack is tested on."""

_EXAMPLES = """\
examples:
  python -m icm restorer pictures/ --codec jpeg:quality=5 -o restorer.safetensors
  python -m icm restorer pictures/ --codec vvc:qp=46 vvc:qp=40 sa_icm:variant=edge:rate=low -o restorer.safetensors
"""

_LEAST = 64  # pixels of a picture's shorter side
_MOST = 512  # pixels of a window's side


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="pictures, also in folders below it")
    parser.add_argument("--codec", nargs="+", required=True, metavar="NAME[:OPTION=VALUE...]", help="what to undo")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE", help="where the weights go")
    parser.add_argument("--windows", type=int, default=2000, metavar="N", help="windows coded (default: 2000)")
    parser.add_argument("--steps", type=int, default=4000, metavar="N", help="batches of 8 (default: 4000)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of windows and training (default: 0)")


def run(arguments: argparse.Namespace) -> int:
    chosen = [codec_of(text) for text in arguments.codec]
    for name in ("windows", "steps"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} {getattr(arguments, name)}: must be at least 1")
    paths = list_images(arguments.folder)
    if len(paths) < 2:
        raise UserError(f"{arguments.folder}: {len(paths)} pictures; at least two are needed, one to measure on")
    pairs, owner = make_pairs(paths, chosen, arguments.windows, arguments.seed)

    from tqdm import tqdm

    from icm.attacks import restorer_network
    from icm.attacks.restorer import SIDE

    kept_out = owner % 10 == owner.max() % 10  # the last picture's tenth: never empty
    if kept_out.all():
        raise UserError(f"{arguments.folder}: too few readable pictures of at least {_LEAST} pixels a side")
    with tqdm(total=arguments.steps, desc="training", unit="step", file=sys.stderr) as bar:

        def progress(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update()

        network = restorer_network.train(
            pairs[~kept_out], arguments.steps, arguments.seed, device=arguments.device, progress=progress
        )
    card = {
        "codecs": [codec.parameters | {"codec": codec.name} for codec in chosen],
        "pictures": len(np.unique(owner[~kept_out])),
        "windows": int((~kept_out).sum()),
        "side": SIDE,
        "steps": arguments.steps,
        "seed": arguments.seed,
        "held_out": gain(network, pairs[kept_out]),
    }
    restorer_network.save(network, card, arguments.output)
    print(f"{arguments.output}: {json.dumps(card['held_out'])} on windows of pictures kept out of the training")
    return 0


def codec_of(text: str) -> Codec:
    """The codec of ``NAME:OPTION=VALUE:...``, such as ``vvc:qp=46``.

    Raises:
        UserError: it cannot be read, or there is no such codec, option or value.
    """
    name, *options = text.split(":")
    split = [option.partition("=") for option in options]
    for option, sign, _ in split:
        if not sign:
            raise UserError(f"--codec {text}: {option} has no value; write NAME:OPTION=VALUE")
    return codecs.create(name, **{option: yaml.safe_load(value) for option, _, value in split})


def make_pairs(
    paths: Sequence[Path], chosen: Sequence[Codec], windows: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Windows of pictures, coded each by the next of the codecs, and as they were.

    A window is a square at a random place, its side between 64 pixels and the picture's shorter side (at most 512);
    it is coded as a picture of its own.

    Returns:
        (n, 2, SIDE, SIDE, 3) uint8 RGB, coded then original; (n,) int, the number of each window's picture. A picture
        that cannot be read or coded, or is too small, is named on standard error and left out.
    """
    from tqdm import tqdm

    from icm.attacks.restorer import SIDE, resized

    order = np.random.default_rng(seed).permutation(len(paths))[:windows]

    def work(place: int) -> list[np.ndarray]:
        picture = read_image(paths[order[place]])
        shorter = min(picture.shape[:2])
        if shorter < _LEAST:
            raise UserError(f"{paths[order[place]]}: its shorter side has {shorter} pixels, {_LEAST} are needed")
        found = []
        for number in range(place, windows, len(order)):
            rng = np.random.default_rng([seed, number])
            side = int(np.exp(rng.uniform(np.log(_LEAST), np.log(min(shorter, _MOST)))))
            top, left = (rng.integers(0, length - side + 1) for length in picture.shape[:2])
            window = np.ascontiguousarray(picture[top : top + side, left : left + side])
            codec = chosen[number % len(chosen)]
            coded = codec.decode(codec.encode(window))
            found.append(np.stack([resized(coded, SIDE, SIDE), resized(window, SIDE, SIDE)]))
        return found

    pairs, owner = [], []
    workers = min((codec.max_workers for codec in chosen if codec.max_workers), default=None)
    with tqdm(total=len(order), desc="coding", unit="picture", file=sys.stderr) as bar:
        for place, future in in_threads(work, range(len(order)), workers):
            bar.update()
            try:
                found = future.result()
            except UserError as error:
                tqdm.write(f"skipped {error}", file=sys.stderr)
                continue
            pairs += found
            owner += [place] * len(found)
    if not pairs:
        raise UserError(f"none of the {len(paths)} pictures can be used; the first reason is above")
    return np.stack(pairs), np.array(owner)


def gain(network, pairs: np.ndarray) -> dict:
    """Mean PSNR in dB of coded windows, and of what the network makes of them."""
    from icm.attacks.restorer_network import restore
    from icm.metrics.quality import psnr

    before, after = [], []
    for coded, original in pairs:
        if (coded != original).any():
            before.append(psnr(original, coded) or 0.0)
            after.append(psnr(original, restore(network, coded[None])[0]) or 0.0)
    return {
        "windows": len(before),
        "psnr_coded": round(float(np.mean(before)), 3) if before else None,
        "psnr_restored": round(float(np.mean(after)), 3) if after else None,
    }
