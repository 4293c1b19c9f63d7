"""The paper's table against a loop of DeepFace.verify, the way a first script would make it."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import icm
from benchmarks.case import Case, Options, lazily
from benchmarks.deepface_alone import deepface_alone, install_random
from icm.config import compose_job
from icm.faces.deepface_setup import import_deepface
from icm.faces.sources import DemoFaces
from icm.faces.weights import PAPER

_IMAGES = 2
_QPS = (32, 40)


def cases(options: Options) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        yield Case(
            f"the paper's table: {_IMAGES} scenes, {1 + len(_QPS)} points, {len(PAPER)} recognisers",
            "loop of `DeepFace.verify`",
            *lazily(_table, Path(folder)),
            goal=8,
            note="coding excluded, random weights; detection, embedding, measures and result files included",
        )


def _table(folder: Path) -> tuple[Callable, Callable]:
    install_random(folder / "home", *PAPER)
    deepface = import_deepface()
    scenes = [scene.load() for scene in DemoFaces().images()[:_IMAGES]]
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
        with deepface_alone():
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
