"""How long a command takes that has nothing to measure: its help, and the repetition of what is in the cache."""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.case import Case, Options

_ROOT = Path(__file__).resolve().parents[1]
_UNIT = "s of one core"


def cases(options: Options) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        for entry in ("evaluate.py", "train.py"):
            yield Case(f"`{entry} --help`", "", partial(_run, folder, entry, "--help"), goal=1.0, unit=_UNIT)
        for logger, goal in (("csv", 1.5), ("wandb", 3.0)):
            words = ["codec=jpeg", "codec.quality=40", "detector=opencv", f"logger={logger}", f"cache={folder}/cache"]
            title = f"`evaluate.py codec=jpeg codec.quality=40 detector=opencv logger={logger}` again: the 16 scenes"
            yield Case(title, "", partial(_run, folder, "evaluate.py", *words), goal=goal, unit=_UNIT)


def _run(folder: str, entry: str, *words: str) -> float:
    """Processor seconds of a command in a process of its own, its result folder a new one below ``folder``.

    The commands keep one core busy, so that on a machine with nothing else to do it is what the clock shows.
    """
    environment = {**os.environ, "WANDB_MODE": "offline"}
    command = [sys.executable, str(_ROOT / entry), *words]
    before = _of_children()
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    return _of_children() - before


def _of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
