"""Commands of icm in processes that can be killed and start at once: what they import is loaded before they fork."""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PRELOADED = [
    "torch", "pytorch_lightning", "compressai", "cv2", "dlib", "hydra", "matplotlib.figure", "scipy.stats", "yaml",
    "segment_anything", "skimage", "icm.evaluation.configured", "icm.faces.embedding", "icm.report.write",
    "icm.report.html", "icm.report.figures", "icm.codecs.learned", "icm.masks.sam", "icm.commands.masks", "train",
    "models.lightning", "datamodules.coco",
]  # fmt: skip


def start(arguments: Sequence[str], folder: Path, environment: dict[str, str], output: Path) -> multiprocessing.Process:
    """``python ARGUMENTS`` in ``folder``, where the first argument is an entry, or ``icm`` for ``python -m icm``.

    Args:
        arguments: The command line.
        folder: The working folder.
        environment: What it sees besides this process's own environment.
        output: The file that gets all that it prints.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process = context.Process(target=_command, args=(list(arguments), folder, environment, output))
    process.start()
    return process


def _command(arguments: list[str], folder: Path, environment: dict[str, str], output: Path) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.chdir(folder)
    os.environ.update({**environment, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"})
    import torch

    torch.set_num_threads(1)
    entry, *rest = arguments
    sys.argv = [entry, *rest]
    if entry != "icm":
        runpy.run_path(str(ROOT / entry), run_name="__main__")
        return
    _tiny_segment_anything()
    runpy.run_module("icm", run_name="__main__", alter_sys=True)


def _tiny_segment_anything() -> None:
    """Let a tiny network stand for vit_b."""
    import icm.masks.sam
    from tests.masks.conftest import build_tiny_sam

    icm.masks.sam.load_sam = lambda model, checkpoint: build_tiny_sam()
