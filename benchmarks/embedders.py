"""Recognisers on many faces against face by face. Where weights come with no package, random ones take as long."""

import functools
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.case import Case, Options, lazily
from benchmarks.deepface_alone import install_random
from icm.config import compose_job
from icm.faces.deepface_setup import import_deepface
from icm.faces.embedding import DeepFaceEmbedder
from icm.faces.sources import DemoFaces
from icm.faces.weights import PAPER
from icm.threads import cores

_CROPS = 8


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
        yield Case(
            f"not built: dlib, {_CROPS} faces, in as many processes as cores, started before",
            "in one process, as a job does",
            *lazily(_processes),
        )


def _embedding(home: Path, name: str) -> tuple[Callable, Callable]:
    install_random(home, name)
    deepface = import_deepface()
    embedder, crops = _embedder(name), _faces()

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


def _processes() -> tuple[Callable, Callable]:
    embedder, crops = _embedder("dlib"), _faces()
    pool = ProcessPoolExecutor(cores(), mp_context=multiprocessing.get_context("spawn"))

    def ours() -> None:
        list(pool.map(_embed_dlib, [crops[index :: cores()] for index in range(cores())]))

    def peer() -> None:
        embedder.embed(crops)

    return ours, peer


def _embed_dlib(crops: list[np.ndarray]) -> np.ndarray:
    return _embedder("dlib").embed(crops)


@functools.cache
def _embedder(name: str) -> DeepFaceEmbedder:
    (task,) = compose_job(embedder=name)
    return task.embedders[0]


def _faces() -> list[np.ndarray]:
    """Faces of the demo's scenes, each cut a little differently."""
    scenes = DemoFaces().images()
    rng = np.random.default_rng(0)
    crops = []
    for number in range(_CROPS):
        scene = scenes[number % len(scenes)]
        face, image = scene.known_faces[0], scene.load()
        dy, dx = rng.integers(0, 8, 2)
        crops.append(np.ascontiguousarray(image[face.y + dy : face.y + face.height, face.x + dx : face.x + face.width]))
    return crops
