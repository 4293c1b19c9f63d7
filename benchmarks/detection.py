"""Face detection over a folder against a loop of DeepFace."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.case import Case, Options, lazily
from benchmarks.deepface_alone import deepface_alone
from icm.faces.deepface_setup import import_deepface
from icm.faces.detection import DeepFaceDetector
from icm.faces.sources import DemoFaces
from icm.images import read_image, write_png
from icm.threads import in_threads

_PICTURES = 6


def cases(options: Options) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        yield Case(
            f"MTCNN over a folder of {_PICTURES} pictures of 640 x 480",
            "`DeepFace.extract_faces` picture by picture",
            *lazily(_detection, Path(folder, "photos")),
            goal=1.8,
            note="the demo's scenes; the same boxes",
        )
        yield Case(
            "not built: the same, looking for faces in as many threads as cores",
            "in one thread, as a job does",
            *lazily(_threads, Path(folder, "photos")),
        )


def _as_a_job(detector: DeepFaceDetector, paths: list[Path]) -> Callable[[], None]:
    """Files are read in threads while faces are looked for."""

    def detect() -> None:
        for _, image in in_threads(read_image, paths):
            detector.detect(image.result())

    return detect


def _threads(folder: Path) -> tuple[Callable, Callable]:
    detector, paths = DeepFaceDetector(), sorted(folder.iterdir())

    def detect() -> None:
        for _, boxes in in_threads(lambda path: detector.detect(read_image(path)), paths):
            boxes.result()

    return detect, _as_a_job(detector, paths)


def _detection(folder: Path) -> tuple[Callable, Callable]:
    folder.mkdir()
    for scene in DemoFaces().images()[:_PICTURES]:
        write_png(folder / f"{scene.name}.png", scene.load())
    paths = sorted(folder.iterdir())
    deepface = import_deepface()

    def peer() -> None:
        with deepface_alone():
            for path in paths:
                deepface.extract_faces(str(path), detector_backend="mtcnn", enforce_detection=False, align=False)

    return _as_a_job(DeepFaceDetector(), paths), peer
