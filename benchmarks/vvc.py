"""VVC: single-threaded processes, as many as there are cores, against one picture after another."""

import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks.case import Case, Options
from icm import codecs
from icm.faces.sources import DemoFaces
from icm.threads import cores, in_threads

_QPS = (32, 35, 37, 40)
_IMAGES = 24
_SIZE = (128, 96)


def cases(options: Options) -> Iterator[Case]:
    title = f"VVC, {_IMAGES} pictures of {_SIZE[0]} x {_SIZE[1]} at QP {', '.join(map(str, _QPS))}"
    yield Case(title, "one ffmpeg after another", parallel, serial, goal=1.8)
    yield Case(
        f"what this machine gives: the same in {cores()} programs that know nothing of each other",
        "one ffmpeg after another",
        independent,
        serial,
    )


@functools.cache
def _pictures() -> list[np.ndarray]:
    """The demo's scenes and their mirror images, made small."""
    scenes = [cv2.resize(scene.load(), _SIZE, interpolation=cv2.INTER_AREA) for scene in DemoFaces().images()]
    return [*scenes, *(np.ascontiguousarray(scene[:, ::-1]) for scene in scenes)][:_IMAGES]


def parallel() -> None:
    """As a sweep does: point by point, the pictures of a point side by side."""
    for qp in _QPS:
        for _, made in in_threads(codecs.create("vvc", qp=qp).encode, _pictures()):
            made.result()


def serial(first: int = 0, step: int = 1) -> None:
    """Every ``step``-th picture at every point, one after the other."""
    for qp in _QPS:
        codec = codecs.create("vvc", qp=qp)
        for picture in _pictures()[first::step]:
            codec.encode(picture)


def independent() -> None:
    """Every core a program of its own with its share of the pictures."""
    root = Path(__file__).resolve().parents[1]
    command = "import sys; from benchmarks.vvc import serial; serial(*map(int, sys.argv[1:]))"
    programs = [
        subprocess.Popen([sys.executable, "-c", command, str(index), str(cores())], cwd=root)
        for index in range(cores())
    ]
    if [program for program in programs if program.wait()]:
        raise RuntimeError("one of the programs failed")
