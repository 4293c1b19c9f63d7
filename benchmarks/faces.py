"""Face similarity: this pipeline against a loop of DeepFace.verify, the way a first script would do it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import icm
from benchmarks.case import Case, Options
from icm.faces.deepface_setup import import_deepface
from icm.faces.sources import DemoFaces


def cases(options: Options) -> Iterator[Case]:
    scenes = [scene.load() for scene in DemoFaces().images()[:3]]
    qualities = (10, 40)

    def pipeline() -> None:
        with tempfile.TemporaryDirectory() as folder:
            for quality in qualities:
                job = Path(folder, str(quality))
                icm.evaluate(scenes, codec="jpeg", quality=quality, directory=job, cache=Path(folder, "cache"))

    def verify_loop() -> None:
        deepface = import_deepface()
        for quality in qualities:
            codec = icm.codecs.create("jpeg", quality=quality)
            for scene in scenes:
                coded = codec.decode(codec.encode(scene))
                deepface.verify(
                    scene[..., ::-1],
                    coded[..., ::-1],
                    model_name="Dlib",
                    detector_backend="mtcnn",
                    enforce_detection=False,
                )

    yield Case("3 demo scenes, 2 JPEG qualities, Dlib, MTCNN, nothing cached", "DeepFace.verify", pipeline, verify_loop)
