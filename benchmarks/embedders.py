"""Recognisers on many faces against face by face. Where weights come with no package, random ones take as long."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.case import Case, Options, lazily
from benchmarks.deepface_alone import install_random
from icm.config import compose_job
from icm.faces.deepface_setup import import_deepface
from icm.faces.sources import DemoFaces
from icm.faces.weights import PAPER

_CROPS = 16


def cases(options: Options) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("dlib", *PAPER):
            random = "" if name == "dlib" else "random weights"
            yield Case(
                f"{name}, {_CROPS} faces",
                "`DeepFace.represent` face by face",
                *lazily(_embedding, Path(folder, "home"), name),
                goal=1.8,
                note="a small network in SFace's place" if name == "sface" else random,
            )


def _embedding(home: Path, name: str) -> tuple[Callable, Callable]:
    install_random(home, name)
    deepface = import_deepface()
    (task,) = compose_job(embedder=name)
    (embedder,) = task.embedders
    scenes = DemoFaces().images()
    rng = np.random.default_rng(0)
    crops = []
    for number in range(_CROPS):
        scene = scenes[number % len(scenes)]
        face, image = scene.known_faces[0], scene.load()
        dy, dx = rng.integers(0, 8, 2)
        crops.append(np.ascontiguousarray(image[face.y + dy : face.y + face.height, face.x + dx : face.x + face.width]))

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
