"""``python -m benchmarks.portability FOLDER``: do streams coded here decode under other arithmetic?

Every picture is coded once, plain and portable, and decoded by other processes under each of the settings below: every
combination of threads, oneDNN, eager or compiled networks, attention kernels and releases of torch; other instruction
sets; and scales with noise. The answers are a table in Markdown. Lost: the decoder says that it lost the encoder's
path. Wrong: it shows a picture that differs by more than 3 of 255, and nobody notices.
"""

import argparse
import csv
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from icm import codecs
from icm.codecs.base import BitstreamError, payload_size
from icm.images import Pixels, list_images, read_image

_ROOT = Path(__file__).resolve().parents[1]
_TOLERATED = 3  # of 255: what rounding elsewhere may do to a sample of the picture
_COLUMNS = ("torch", "network", "oneDNN", "attention", "threads", "other")
_COUNTS = ("plain lost", "plain wrong", "portable lost", "portable wrong", "streams of each")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.portability", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="folders of pictures")
    parser.add_argument("--count", type=int, default=20, help="pictures used, the first ones (default 20)")
    parser.add_argument("--crop", type=int, help="use the middle of each picture, a square of this side")
    parser.add_argument("--checkpoint", type=Path, help="instead of the shipped SA-ICM networks")
    parser.add_argument(
        "--tight", action="store_true", help="one string for a picture of --checkpoint, as shipped ones"
    )
    parser.add_argument("--compiled", action="store_true", help="also decode with torch.compile, which takes minutes")
    parser.add_argument("--attention", action="store_true", help="also decode with attention step by step")
    parser.add_argument("--torch", type=Path, nargs="*", default=[], help="folders that hold another torch release")
    parser.add_argument("--keep", type=Path, help="keep the streams there, so that `decode` can run on another machine")
    parser.add_argument("--csv", type=Path, help="write the table there too")
    arguments = parser.parse_args()
    paths = [path for folder in arguments.folders for path in list_images(folder)]
    pictures = [_middle(read_image(path), arguments.crop) for path in paths[: arguments.count]]
    rows: list[dict[str, str | int]] = []
    with nullcontext(arguments.keep) if arguments.keep else tempfile.TemporaryDirectory() as folder:
        sizes = {
            kind: _encode(pictures, arguments.checkpoint, kind, Path(folder, kind), arguments.tight or None)
            for kind in ("plain", "portable")
        }
        print(f"{len(pictures)} pictures; bytes: {sizes['plain']} plain, {sizes['portable']} portable")
        print(f"| {' | '.join(_COLUMNS + _COUNTS)} |\n|{'---|' * len(_COLUMNS + _COUNTS)}")
        for settings, environment in _settings(arguments):
            task = {"folder": str(folder), "checkpoint": str(arguments.checkpoint or ""), **settings}
            for row in _decoded(task, environment):
                rows.append(row)
                print(f"| {' | '.join(str(row[name]) for name in _COLUMNS + _COUNTS)} |", flush=True)
                if arguments.csv:
                    _write(rows, arguments.csv)
    return 0


def _middle(picture: Pixels, side: int | None) -> Pixels:
    if not side:
        return picture
    top, left = (max(0, (length - side) // 2) for length in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + side, left : left + side])


def _settings(arguments: argparse.Namespace) -> Iterator[tuple[dict, dict[str, str]]]:
    """What each decoding process is to do (see `decode`), and its environment."""
    kernels = ("", "MATH") if arguments.attention else ("",)
    for release in (None, *arguments.torch):
        environment = {"PYTHONPATH": f"{release}:{_ROOT}"} if release else {}
        for compiled in (False, True)[: 1 + arguments.compiled]:
            yield {"compiled": compiled, "kernels": kernels, "threads": (1, 2, 4), "onednn": (True, False)}, environment
    for isa in ("SSE41", "AVX2"):
        limits = {"ONEDNN_MAX_CPU_ISA": isa, "ATEN_CPU_CAPABILITY": "default"}
        yield {"other": f"oneDNN limited to {isa}, ATen to no vectors"}, limits
    for noise in (1e-8, 1e-7, 9.99e-7):
        yield {"noise": noise, "other": f"scales off by up to {noise:g} of their size"}, {}


def _write(rows: list[dict[str, str | int]], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS + _COUNTS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _encode(pictures: list[Pixels], checkpoint: Path | None, kind: str, folder: Path, tight: bool | None) -> int:
    folder.mkdir(parents=True)
    total = 0
    known: dict = {}
    for number, picture in enumerate(tqdm(pictures, desc=f"coding, {kind}", file=sys.stderr, mininterval=10)):
        codec = _codec(known, checkpoint, number, kind == "portable", tight)
        bitstream = codec.encode(picture)
        total += payload_size(bitstream)
        (folder / f"{number}.icm").write_bytes(bitstream)
        np.save(folder / f"{number}.npy", codec.decode(bitstream))
    return total


def _codec(known: dict, checkpoint: Path | None, number: int, portable: bool = False, tight: bool | None = None):
    """The codec of a picture: that of the checkpoint, or the shipped ones in turn."""
    key = 0 if checkpoint else number % 3
    if key not in known:
        if checkpoint:
            known[key] = codecs.create("learned", checkpoint=checkpoint, portable=portable, tight=tight)
        else:
            known[key] = codecs.create("sa_icm", rate=("low", "mid", "high")[key], portable=portable)
    return known[key]


def _decoded(task: dict, environment: dict[str, str]) -> Iterator[dict[str, str | int]]:
    command = [sys.executable, "-c", "from benchmarks.portability import decode; decode()", json.dumps(task)]
    # More threads than cores must not spin while they wait for each other.
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **environment}
    with subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise SystemExit(f"decoding failed: {task}")


def decode() -> None:
    """In a process of its own: decode all streams under the settings of ``sys.argv[1]``, and print a row for each.

    Also on another machine, which has this repository and the folder of ``--keep``:
    ``python -c "from benchmarks.portability import decode; decode()" '{"folder": "FOLDER", "checkpoint": ""}'``
    """
    import torch

    task = json.loads(sys.argv[1])
    if task.get("noise"):
        _disturb_scales(task["noise"])
    if task.get("compiled"):
        _compile_sequences()
    checkpoint = Path(task["checkpoint"]) if task["checkpoint"] else None
    known: dict[str, dict] = {"plain": {}, "portable": {}}
    settings = (task.get(name, [None]) for name in ("kernels", "onednn", "threads"))
    for kernel, onednn, threads in itertools.product(*settings):
        torch.set_num_threads(threads or 2)
        row = {"torch": torch.__version__.partition("+")[0], "network": "compiled" if task.get("compiled") else "eager"}
        row |= {"oneDNN": "off" if onednn is False else "on", "attention": (kernel or "default").lower()}
        row |= {"threads": threads or 2, "other": task.get("other") or _other_processor()}
        with torch.backends.mkldnn.flags(enabled=onednn is not False), _attention(kernel):
            for kind, codec in known.items():
                paths = sorted(Path(task["folder"], kind).glob("*.icm"))
                found = [_outcome(_codec(codec, checkpoint, int(path.stem)), path) for path in paths]
                row |= {f"{kind} {outcome}": found.count(outcome) for outcome in ("lost", "wrong")}
                row["streams of each"] = len(found)
        print(json.dumps(row), flush=True)


def _other_processor() -> str:
    return "" if platform.machine() == "x86_64" else platform.machine()


def _outcome(codec, path: Path) -> str:
    try:
        picture = codec.decode(path.read_bytes())
    except BitstreamError as error:
        if "lost the encoder's path" not in str(error):
            raise
        return "lost"
    off = np.abs(picture.astype(int) - np.load(path.with_suffix(".npy"))).max()
    return "wrong" if off > _TOLERATED else "right"


def _attention(kernel: str | None) -> AbstractContextManager:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(getattr(SDPBackend, kernel)) if kernel else nullcontext()


def _disturb_scales(noise: float) -> None:
    """Let all scales come out wrong by up to ``noise`` of their size."""
    import torch

    from models.entropy import GaussianConditional

    build, generator = GaussianConditional.build_indexes, torch.Generator().manual_seed(0)

    def off(self, scales):
        moved = torch.rand(scales.shape, generator=generator, dtype=torch.float64) * 2 - 1
        return build(self, (scales.double() * (1 + noise * moved)).to(scales.dtype))

    GaussianConditional.build_indexes = off  # type: ignore[method-assign]


def _compile_sequences() -> None:
    """Let `torch.compile` make code of its own for every run of layers: synthesis, hyper-synthesis and predictions."""
    import torch
    from torch import nn

    from models.layers import ChannelsLast, SteadySequential, SubpixelDeconvolution

    # With oneDNN torch 2.11 and 2.12 cannot compile its computed bias (View). It is the last layer.
    SubpixelDeconvolution.forward = torch.compiler.disable(SubpixelDeconvolution.forward)  # type: ignore[method-assign]
    eager = nn.Sequential.forward
    compiled: dict[int, tuple] = {}

    def forward(self, x):
        if not isinstance(self, ChannelsLast | SteadySequential):
            return eager(self, x)
        if id(self) not in compiled:
            compiled[id(self)] = self, torch.compile(partial(_through, list(self)))
        return compiled[id(self)][1](x)

    nn.Sequential.forward = forward


def _through(layers: list, x):
    for layer in layers:
        x = layer(x)
    return x


if __name__ == "__main__":
    sys.exit(main())
