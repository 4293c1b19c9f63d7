"""``python -m benchmarks.portability FOLDER``: do streams coded here decode under other arithmetic?

Every picture is coded once, plain and portable, and decoded by other processes under each of the settings below; the
answers are a table in Markdown. Lost: the decoder says that it lost the encoder's path. Wrong: it shows a picture that
differs by more than 3 of 255, and nobody notices.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from icm import codecs
from icm.codecs.base import BitstreamError, payload_size
from icm.errors import UserError
from icm.images import list_images, read_image

_ROOT = Path(__file__).resolve().parents[1]
_TOLERATED = 3  # of 255: what rounding elsewhere may do to a sample of the picture


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.portability", description=__doc__)
    parser.add_argument("folder", type=Path, help="pictures")
    parser.add_argument("--count", type=int, default=20, help="pictures used, the first ones (default 20)")
    parser.add_argument("--checkpoint", type=Path, help="instead of the shipped SA-ICM networks")
    parser.add_argument("--torch", type=Path, nargs="*", default=[], help="folders that hold another torch release")
    arguments = parser.parse_args()
    pictures = [read_image(path) for path in list_images(arguments.folder)[: arguments.count]]
    with tempfile.TemporaryDirectory() as folder:
        sizes = {
            kind: _encode(pictures, arguments.checkpoint, kind, Path(folder, kind)) for kind in ("plain", "portable")
        }
        print(f"bytes: {sizes['plain']} plain, {sizes['portable']} portable")
        print("| decoder | plain: lost, wrong | portable: lost, wrong |\n|---|---|---|")
        for title, settings, environment in _settings(arguments.torch):
            cells = [_decoded(Path(folder, kind), arguments.checkpoint, settings, environment) for kind in sizes]
            print(f"| {title} | {' | '.join(cells)} |", flush=True)
    return 0


def _settings(releases: list[Path]):
    """(title, arguments of `decode`, environment) of every decoder."""
    for threads, onednn in itertools.product((1, 2, 4), (True, False)):
        title = f"{threads} thread{'s' * (threads > 1)}, oneDNN {'on' if onednn else 'off'}"
        yield title, {"threads": threads, "onednn": onednn}, {}
    for isa in ("SSE41", "AVX2"):
        yield f"oneDNN limited to {isa}", {}, {"ONEDNN_MAX_CPU_ISA": isa, "ATEN_CPU_CAPABILITY": "default"}
    for noise in (1e-8, 1e-7, 9e-7):
        yield f"scales off by up to {noise:g} of their size", {"noise": noise}, {}
    for release in releases:
        yield f"torch of {release.name}", {}, {"PYTHONPATH": f"{release}:{_ROOT}"}


def _encode(pictures, checkpoint: Path | None, kind: str, folder: Path) -> int:
    folder.mkdir()
    total = 0
    for number, picture in enumerate(tqdm(pictures, desc=f"coding, {kind}", file=sys.stderr)):
        codec = _codec(checkpoint, number, kind == "portable")
        bitstream = codec.encode(picture)
        total += payload_size(bitstream)
        (folder / f"{number}.icm").write_bytes(bitstream)
        np.save(folder / f"{number}.npy", codec.decode(bitstream))
    return total


def _codec(checkpoint: Path | None, number: int, portable: bool):
    if checkpoint:
        return codecs.create("learned", checkpoint=checkpoint, portable=portable)
    return codecs.create("sa_icm", rate=("low", "mid", "high")[number % 3], portable=portable)


def _decoded(folder: Path, checkpoint: Path | None, settings: dict, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", "from benchmarks.portability import decode; decode()"]
    task = json.dumps({"folder": str(folder), "checkpoint": str(checkpoint or ""), **settings})
    done = subprocess.run(
        [*command, task], cwd=_ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or f"failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}"


def decode() -> None:
    """In a process of its own: decode a folder under the settings of ``sys.argv[1]`` and print ``lost, wrong``."""
    import torch

    from models.entropy import GaussianConditional

    task = json.loads(sys.argv[1])
    torch.set_num_threads(task.get("threads", torch.get_num_threads()))
    if noise := task.get("noise"):
        build, generator = GaussianConditional.build_indexes, torch.Generator().manual_seed(0)

        def off(self, scales):
            moved = torch.rand(scales.shape, generator=generator, dtype=torch.float64) * 2 - 1
            return build(self, (scales.double() * (1 + noise * moved)).to(scales.dtype))

        GaussianConditional.build_indexes = off  # type: ignore[method-assign]
    lost = wrong = 0
    known: dict = {}
    with torch.backends.mkldnn.flags(enabled=task.get("onednn", True)):
        for path in sorted(Path(task["folder"]).glob("*.icm")):
            number = int(path.stem)
            key = 0 if task["checkpoint"] else number % 3
            known.setdefault(key, _codec(Path(task["checkpoint"]) if task["checkpoint"] else None, number, False))
            try:
                picture = known[key].decode(path.read_bytes())
            except (BitstreamError, UserError):
                lost += 1
                continue
            wrong += int(np.abs(picture.astype(int) - np.load(path.with_suffix(".npy"))).max() > _TOLERATED)
    print(f"{lost}, {wrong}")


if __name__ == "__main__":
    sys.exit(main())
