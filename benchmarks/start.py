"""How long a command takes that has nothing to measure: its help, and the repetition of what is in the cache."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.case import Case, Options

_ROOT = Path(__file__).resolve().parents[1]


def cases(options: Options) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        for entry in ("evaluate.py", "train.py"):
            yield Case(f"`{entry} --help`", "", partial(_run, folder, entry, "--help"), goal=1.0)
        for logger, goal in (("wandb", 3.0), ("csv", 1.5)):
            words = ["codec=jpeg", "codec.quality=40", f"logger={logger}", f"cache={folder}/cache"]
            title = f"`evaluate.py codec=jpeg codec.quality=40 logger={logger}` again: 16 scenes, 20 faces"
            yield Case(title, "", partial(_run, folder, "evaluate.py", *words), goal=goal)


def _run(folder: str, entry: str, *words: str) -> None:
    """A command in a process of its own, its result folder a new one below ``folder``."""
    environment = {**os.environ, "WANDB_MODE": "offline"}
    command = [sys.executable, str(_ROOT / entry), *words]
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
