"""Recognisers on many faces against face by face. Where weights come with no package, random ones take as long."""

import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.case import Case, Options, lazily
from benchmarks.deepface_alone import install_random
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
            yield Case(
                f"{name}, {count} faces",
                "`DeepFace.represent` face by face",
                *lazily(_embedding, Path(folder, "home"), name, count),
                goal=1.8,
                note="" if name == "dlib" else "random weights",
            )


def _embedding(home: Path, name: str, count: int) -> tuple[Callable, Callable]:
    install_random(home, name)
    deepface = import_deepface()
    embedder, crops = _embedder(name), _faces(count)

    def ours() -> None:
        embedder.embed(crops)

    def peer() -> None:
        for crop in crops:
            deepface.represent(
                crop[..., ::-1],
                model_name=embedder.model,
                detector_backend="skip",
                align=False,
                normalization=embedder.normalization,
            )

    return ours, peer


@functools.cache
def _embedder(name: str) -> DeepFaceEmbedder:
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
