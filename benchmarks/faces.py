"""Face similarity: this pipeline against a loop of DeepFace.verify, the way a first script would do it."""

import tempfile
from pathlib import Path

from icm.evaluation.pipeline import evaluate_faces

from icm.evaluation.cache import Cache
from icm.faces.deepface_setup import import_deepface
from icm.faces.detection import DeepFaceDetector
from icm.faces.embedding import DeepFaceEmbedder
from icm.faces.sources import DemoFaces


def cases():
    """One case: three demo scenes at two JPEG qualities, Dlib embeddings, MTCNN boxes, nothing cached."""
    from icm import codecs

    scenes = DemoFaces().images()[:3]
    points = [codecs.create("jpeg", quality=quality) for quality in (10, 40)]
    detector = DeepFaceDetector(backend="mtcnn")
    embedder = DeepFaceEmbedder(name="dlib", model="Dlib", normalization="base")

    def pipeline():
        with tempfile.TemporaryDirectory() as folder:
            cache = Cache(Path(folder) / "cache")
            for codec in points:
                evaluate_faces(codec, scenes, detector, [embedder], cache, Path(folder))

    def verify_loop():
        deepface = import_deepface()
        for codec in points:
            for scene in scenes:
                image = scene.load()
                coded = codec.decode(codec.encode(image))
                deepface.verify(image[..., ::-1], coded[..., ::-1], model_name="Dlib", detector_backend="mtcnn",
                                enforce_detection=False)  # fmt: skip

    yield "faces: pipeline / DeepFace.verify loop", pipeline, verify_loop
