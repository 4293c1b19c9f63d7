"""Fixtures shared by every test."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def own_cache_folder(monkeypatch, tmp_path_factory):
    """No test leaves the cache folder it chose to the next one, nor anything in the user's."""
    from icm import download

    monkeypatch.setattr(download, "_cache_folder", None)
    monkeypatch.setenv("ICM_CACHE", str(tmp_path_factory.getbasetemp() / "icm-cache"))


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


@pytest.fixture(scope="session")
def wandb_records():
    """The function ``wandb_records(folder, id)``: what an offline run would send, a list of W&B's own protobuf records.

    The file of a run is a log as LevelDB writes it: blocks of 32 KiB, records in one or several pieces.
    """

    def read(folder: Path, identity: str = "*") -> list:
        from wandb.proto.wandb_internal_pb2 import Record

        (path,) = folder.glob(f"offline-run-*-{identity}/run-*.wandb")
        content, at, whole, records = path.read_bytes(), 7, b"", []
        while at + 7 <= len(content):
            if 32768 - at % 32768 < 7:
                at += 32768 - at % 32768
                continue
            length, piece = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
            whole += content[at + 7 : at + 7 + length]
            at += 7 + length
            if piece in (1, 4):  # whole, or the last piece
                records.append(Record.FromString(whole))
                whole = b""
        return records

    return read


@pytest.fixture
def unseen(monkeypatch):
    """The function ``unseen(path)``: a file that another machine has just made on a network disk.

    Its name is not found before somebody lists its folder.
    """
    aside, listdir = {}, os.listdir

    def hide(path: Path) -> None:
        aside[path.parent] = path.rename(path.with_name(f"{path.name} elsewhere")), path

    def reveal(folder):
        if Path(folder) in aside:
            there, path = aside.pop(Path(folder))
            there.rename(path)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", reveal)
    return hide


@pytest.fixture
def one_thread():
    """Small networks gain nothing from more, and lose much when the cores are busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_disk(tmp_path):
    """The function ``small_disk(kilobytes)``: a folder on a disk of that size."""
    mounted = []

    def mount(kilobytes):
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "icm-test", folder], check=False)
        if done.returncode:
            pytest.skip("this machine lets nobody mount a small disk")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=False)
