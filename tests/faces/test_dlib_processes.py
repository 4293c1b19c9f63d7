"""Dlib's processes: the same bytes in the same order whatever happens to them, and none of them left."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import dlib
import numpy as np
import pytest

from icm.faces import dlib_processes, weights

FACES = [np.full((1, 150, 150, 3), level, np.uint8) for level in range(0, 250, 50)]
# Needs no guard of __main__, which multiprocessing would.
SCRIPT = """
import itertools, types
import numpy as np
from icm.faces import dlib_processes, weights

class Client:
    model = types.SimpleNamespace(model=None)
    def forward(self, face):
        return self.model.model.compute_face_descriptor(face)

dlib_processes.cores = lambda: 2
faces = itertools.repeat(np.zeros((1, 150, 150, 3), np.uint8))
dlib_processes.forward(Client(), weights.install("dlib"), faces, 10**6)
"""


class Client:
    """As DeepFace's, without what it does to pixels."""

    def __init__(self, network):
        self.model = SimpleNamespace(model=network)

    def forward(self, face: np.ndarray) -> list[float]:
        (row,) = self.model.model.compute_face_descriptor(face)
        return np.array(row).tolist()


class Processes(list):
    """Those that are started."""

    def __init__(self, monkeypatch, killed: int = 0):
        start = dlib_processes._process

        @contextlib.contextmanager
        def process(file):
            with start(file) as started:
                self.append(started)
                if len(self) <= killed:
                    started.kill()
                yield started

        monkeypatch.setattr(dlib_processes, "_process", process)
        monkeypatch.setattr(dlib_processes, "cores", lambda: 2)
        monkeypatch.setattr(dlib_processes, "_FACES_EACH", 2)


@pytest.fixture(scope="module")
def file() -> Path:
    return weights.install("dlib")


@pytest.fixture(scope="module")
def network(file):
    return dlib.face_recognition_model_v1(str(file))


@pytest.fixture(scope="module")
def rows(network) -> list[list[float]]:
    return [Client(network).forward(face) for face in FACES]


def test_processes_give_the_same_numbers_in_order_and_end(monkeypatch, file, rows):
    processes = Processes(monkeypatch)
    assert dlib_processes.forward(Client("never asked"), file, iter(FACES), len(FACES)) == rows
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 2


@pytest.mark.parametrize("killed", [1, 2])
def test_faces_of_processes_that_are_killed_are_embedded_all_the_same(monkeypatch, caplog, file, network, rows, killed):
    processes = Processes(monkeypatch, killed)
    assert dlib_processes.forward(Client(network), file, FACES, len(FACES)) == rows
    assert len(processes) == 2
    assert caplog.text.count("a process ended with status -9") == killed


def test_without_processes_dlib_embeds_in_this_one(monkeypatch, caplog, file, network, rows):
    Processes(monkeypatch)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert dlib_processes.forward(Client(network), file, FACES, len(FACES)) == rows
    assert "no processes can be started" in caplog.text


@pytest.mark.parametrize(("cores", "count"), [(1, 5), (2, 3)])
def test_one_core_or_few_faces_start_none(monkeypatch, file, network, rows, cores, count):
    processes = Processes(monkeypatch)
    monkeypatch.setattr(dlib_processes, "cores", lambda: cores)
    assert dlib_processes.forward(Client(network), file, FACES[:count], count) == rows[:count]
    assert not processes


def test_what_a_face_raises_ends_the_processes(monkeypatch, file):
    processes = Processes(monkeypatch)

    def faces():
        yield FACES[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dlib_processes.forward(Client(None), file, faces(), 5)
    assert len(processes) == 2
    assert all(process.poll() is not None for process in processes)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="children are found in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_the_one_that_started_it(number, file):
    parent = subprocess.Popen([sys.executable, "-c", SCRIPT], stderr=subprocess.DEVNULL)
    children: list[Path] = []
    deadline = time.monotonic() + 60
    while len(children) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
        told = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
        children = [Path("/proc", child) for child in told.split()]
    time.sleep(0.5)  # at work
    parent.send_signal(number)
    parent.wait(timeout=60)
    while any(alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(children) == 2
    assert not any(alive(child) for child in children)


def alive(process: Path) -> bool:
    """Whether a process is there, and no zombie that init has yet to bury."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
