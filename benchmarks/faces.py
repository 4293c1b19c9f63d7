"""Faces: detection over a folder, recognisers on many crops, and the paper's table against loops of DeepFace.

Recognisers whose weights are not public packages run on random ones: they take as long.
"""

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import icm
from benchmarks.case import Case, Options
from benchmarks.random_weights import write_random_weights
from icm.config import compose_job
from icm.faces.deepface_setup import import_deepface
from icm.faces.detection import DeepFaceDetector
from icm.faces.sources import DemoFaces
from icm.faces.weights import PAPER
from icm.images import read_image, write_png
from icm.threads import in_threads

_TABLE_IMAGES = 2
_QPS = (32, 35, 37, 40)
_CROPS = 32


def cases(options: Options) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        yield Case(
            "MTCNN over the demo's 16 scenes, files of a folder",
            "`DeepFace.extract_faces`, picture by picture",
            *_lazy(_detection, Path(folder, "photos")),
            goal=1.8,
        )
        for name in ("dlib", *PAPER):
            random = "" if name == "dlib" else "random weights"
            yield Case(
                f"{name}, {_CROPS} faces",
                "`DeepFace.represent`, face by face",
                *_lazy(_embedding, Path(folder, "home"), name),
                goal=1.8,
                note="a small network in SFace's place" if name == "sface" else random,
            )
        yield Case(
            f"the paper's table: {_TABLE_IMAGES} scenes, {len(_QPS)} QPs of VVC and no coding, 6 recognisers",
            "loop of `DeepFace.verify`",
            *_lazy(_table, Path(folder)),
            goal=8,
            note="coding excluded, random weights; detection, embedding, measures and result files included",
        )


def _lazy(make: Callable, *arguments) -> tuple[Callable[[], None], Callable[[], None]]:
    """Ours and the peer of a pair that ``make`` prepares when one of them is first called."""
    pair = functools.cache(functools.partial(make, *arguments))
    return lambda: pair()[0](), lambda: pair()[1]()


def _detection(folder: Path) -> tuple[Callable, Callable]:
    folder.mkdir()
    for scene in DemoFaces().images():
        write_png(folder / f"{scene.name}.png", scene.load())
    paths = sorted(folder.iterdir())
    deepface = import_deepface()
    detector = DeepFaceDetector()

    def ours() -> None:
        # As a job does: files are read in threads while faces are looked for.
        for _, image in in_threads(read_image, paths):
            detector.detect(image.result())

    def peer() -> None:
        with _deepface_alone():
            for path in paths:
                deepface.extract_faces(str(path), detector_backend="mtcnn", enforce_detection=False, align=False)

    return ours, peer


@contextlib.contextmanager
def _deepface_alone() -> Iterator[None]:
    """DeepFace with an MTCNN of its own, as the package makes it."""
    from deepface.modules import modeling

    modeling.build_model(task="face_detector", model_name="mtcnn")
    clients = modeling.cached_models["face_detector"]
    here, clients["mtcnn"] = clients["mtcnn"], _plain_mtcnn()
    try:
        yield
    finally:
        clients["mtcnn"] = here


@functools.cache
def _plain_mtcnn():
    from deepface.models.face_detection.MtCnn import MtCnnClient

    return MtCnnClient()


def _embedding(home: Path, name: str) -> tuple[Callable, Callable]:
    _install(home, name)
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


def _install(home: Path, *names: str) -> None:
    """Random weights of recognisers in a DeepFace home of the benchmark's own."""
    from icm.faces import weights

    os.environ["DEEPFACE_HOME"] = str(home)
    for name in names:
        if name != "dlib" and not weights.path_of(name).is_file():
            write_random_weights(name)


def _table(folder: Path) -> tuple[Callable, Callable]:
    _install(folder / "home", *PAPER)
    deepface = import_deepface()
    scenes = [scene.load() for scene in DemoFaces().images()[:_TABLE_IMAGES]]
    points = [("none", {}), *(("vvc", {"qp": qp}) for qp in _QPS)]
    coded = {}
    for codec, point in points:
        made = icm.codecs.create(codec, **point)
        coded[str(point)] = [made.decode(made.encode(scene)) for scene in scenes]

    def table(cache: Path) -> None:
        with tempfile.TemporaryDirectory() as results:
            for number, (codec, point) in enumerate(points):
                job = Path(results, str(number))
                icm.evaluate(scenes, codec=codec, embedder=list(PAPER), directory=job, cache=cache, **point)

    table(folder / "coded")

    def ours() -> None:
        with tempfile.TemporaryDirectory() as cache:
            for kind in ("bitstream", "decoded"):
                Path(cache, kind).symlink_to(folder / "coded" / kind)
            table(Path(cache))

    def peer() -> None:
        with _deepface_alone():
            verify_all()

    def verify_all() -> None:
        models = [embedder.model for embedder in compose_job(embedder=PAPER)[0].embedders]
        for pictures in coded.values():
            for scene, picture in zip(scenes, pictures, strict=True):
                for model in models:
                    deepface.verify(
                        scene[..., ::-1],
                        picture[..., ::-1],
                        model_name=model,
                        detector_backend="mtcnn",
                        enforce_detection=False,
                    )

    return ours, peer
