"""Dlib's recogniser on every core: its binding keeps Python's lock while it computes, so a core needs a process.

Such a process imports dlib and numpy alone. It is no child of `multiprocessing`, which would run the user's script
again in it and which a daemonic process may not have. It reads faces for as long as its input is open, and the system
closes that when the process that started it ends, however it ends.
"""

import contextlib
import copy
import logging
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from icm.threads import cores, in_threads

log = logging.getLogger(__name__)

# A process takes as long to start as three faces do (docs/performance.md).
_FACES_EACH = 8
_SIDE = 150
_ROW = 128 * 8  # bytes: 128 numbers, float64


def forward(client: Any, weights: Path, faces: Iterable[np.ndarray], count: int) -> list[list[float]]:
    """What DeepFace's ``DlibClient`` says of each face, the same bytes whatever computes them.

    With enough faces there is a process for each core; they end before this does. A process that is lost meanwhile is
    made up for in this one.

    Args:
        client: DeepFace's client.
        weights: The file its network came from.
        faces: As ``client.forward`` takes them, one at a time.
        count: How many they are.
    """
    workers = min(cores(), count // _FACES_EACH)
    processes: list[Any] = []
    with contextlib.ExitStack() as ending:
        try:
            processes += [ending.enter_context(_process(weights)) for _ in range(workers if workers > 1 else 0)]
        except OSError as error:
            log.warning("dlib: no processes can be started (%s); faces are embedded in this one", error)
        if processes:
            client = copy.copy(client)
            client.model = SimpleNamespace(model=_Network(client.model.model, processes))
        finished = in_threads(client.forward, faces, workers=max(1, len(processes)))
        with contextlib.closing(finished):
            return [future.result() for _, future in finished]


class _Network:
    """Stands in for ``dlib.face_recognition_model_v1``, for as many threads as there are processes."""

    def __init__(self, network: Any, processes: list[Any]):
        self._network = network
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()  # None in place of one that was lost
        for process in processes:
            self._idle.put(process)

    def compute_face_descriptor(self, faces: np.ndarray) -> list[np.ndarray]:
        process = self._idle.get()
        try:
            if process is not None:
                return [_described(process, face) for face in faces]
        except BrokenPipeError:
            log.warning("dlib: a process ended with status %s; its faces are embedded without it", process.wait())
            process = None
        finally:
            self._idle.put(process)
        return self._network.compute_face_descriptor(faces)


@contextlib.contextmanager
def _process(weights: Path) -> Iterator[Any]:
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import _serve; _serve({str(weights)!r})"
    # A session of its own: Ctrl-C is this process' to handle.
    command = [sys.executable, "-I", "-c", code]
    process: Any = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):  # of a face that a lost process never read
                pipe.close()


def _described(process: Any, face: np.ndarray) -> np.ndarray:
    process.stdin.write(face.tobytes())
    process.stdin.flush()
    row = process.stdout.read(_ROW)
    if len(row) < _ROW:
        raise BrokenPipeError
    return np.frombuffer(row)


def _serve(weights: str) -> None:
    """The process: a row for every face of its input, until that is closed."""
    import dlib

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # ends in silence where nobody reads
    network = dlib.face_recognition_model_v1(weights)
    size = _SIDE * _SIDE * 3
    while len(face := sys.stdin.buffer.read(size)) == size:
        (row,) = network.compute_face_descriptor(np.frombuffer(face, np.uint8).reshape(1, _SIDE, _SIDE, 3))
        os.write(1, np.array(row).tobytes())
