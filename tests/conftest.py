"""Fixtures shared by every test."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def own_cache_folder(monkeypatch):
    """No test leaves the cache folder it chose to the next one."""
    from icm import download

    monkeypatch.setattr(download, "_cache_folder", None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images for experiments; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("ICM_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no shared data on this machine")
    return folder


@pytest.fixture
def help_of():
    """The function ``help_of("train.py")``: what ``--help`` prints, and the names of the modules it imported for it.

    Imports, and not seconds, are what a quick answer is made of: a busy machine does not change them.
    """

    def ask(*arguments: str) -> tuple[str, set[str]]:
        command = [sys.executable, "-X", "importtime", *arguments, "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout, {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    return ask


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def natural_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth coloured picture with a few edges, (height, width, 3) uint8 RGB: codes like a photograph."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    planes = [128 + 90 * np.sin(x / 19 + y / 37 + p) + 30 * ((x // 24 + y // 24) % 2) for p in phase]
    return np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)


@pytest.fixture
def make_picture():
    """The function ``make_picture(height, width, seed=0)``."""
    return natural_image


@pytest.fixture
def picture() -> np.ndarray:
    return natural_image(96, 128)
