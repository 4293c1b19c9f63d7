"""Recognisers on many faces against face by face. Where weights come with no package, random ones take as long."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.case import Case, Options
from benchmarks.deepface_alone import install_random
from benchmarks.worker import Tasks, Worker
from icm.config import compose_job
from icm.faces.deepface_setup import import_deepface
from icm.faces.embedding import DeepFaceEmbedder
from icm.faces.sources import DemoFaces
from icm.faces.weights import PAPER

_CROPS = 16
# As many as a job hands over at a time: starting a process for each core is part of what is measured.
_DLIB_CROPS = 128


def cases(options: Options) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("dlib", *PAPER):
            count = _DLIB_CROPS if name == "dlib" else _CROPS
            # What ours does to its process' memory is no gain of the peer's.
            ours, peer = (
                Worker(tasks, Path(folder, "home"), name, count, threads=None) for tasks in (ours_tasks, peer_tasks)
            )
            yield Case(
                f"{name}, {count} faces",
                "`DeepFace.represent` face by face",
                partial(ours, "embed"),
                partial(peer, "embed"),
                goal=1.8,
                note="" if name == "dlib" else "random weights",
            )
            ours.end()
            peer.end()


def ours_tasks(home: Path, name: str, count: int) -> Tasks:
    embedder, crops = _embedder(home, name), _faces(count)

    def embed() -> None:
        embedder.embed(crops)

    return {"embed": embed}


def peer_tasks(home: Path, name: str, count: int) -> Tasks:
    embedder, crops = _embedder(home, name), _faces(count)
    deepface = import_deepface()

    def embed() -> None:
        for crop in crops:
            deepface.represent(
                crop[..., ::-1],
                model_name=embedder.model,
                detector_backend="skip",
                align=False,
                normalization=embedder.normalization,
            )

    return {"embed": embed}


def _embedder(home: Path, name: str) -> DeepFaceEmbedder:
    install_random(home, name)
    (task,) = compose_job(embedder=name)
    return task.embedders[0]


def _faces(count: int) -> list[np.ndarray]:
    """Faces of the demo's scenes, each cut a little differently."""
    scenes = DemoFaces().images()
    rng = np.random.default_rng(0)
    crops = []
    for number in range(count):
        scene = scenes[number % len(scenes)]
        face, image = scene.known_faces[0], scene.load()
        dy, dx = rng.integers(0, 8, 2)
        crops.append(np.ascontiguousarray(image[face.y + dy : face.y + face.height, face.x + dx : face.x + face.width]))
    return crops
