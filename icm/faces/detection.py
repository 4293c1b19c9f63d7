"""Finding faces: DeepFace's detector backends behind one class; boxes that are known; pictures that are one face."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from icm.errors import UserError
from icm.faces import weights
from icm.faces.boxes import Box, KnownFace
from icm.faces.deepface_setup import import_deepface, load_triton, quiet, versions
from icm.images import ImageError
from icm.parts import Part
from icm.preflight import Problem

_REVISION = 2  # of what is kept of a face; boxes kept by another revision are found anew


class DetectionError(UserError):
    """A detector that does not exist, or cannot be loaded."""


class Detector(Part, Protocol):
    """Finds the faces of a picture; an option of conf/detector.

    Attributes:
        uses_known: Whether the boxes depend on the faces that labels tell of, and not on the pixels alone. What is
            kept of such a detector must be kept under its known faces too.
    """

    uses_known: bool

    def detect(self, image: np.ndarray, known: Sequence[KnownFace] = ()) -> list[Box]:
        """The faces of a picture, sorted by x, then y.

        Args:
            image: HWC uint8 RGB of any size.
            known: The faces that labels tell of (`icm.faces.sources.SourceImage.known_faces`).

        Raises:
            UserError: This picture cannot be used, or the detector cannot be loaded.
        """
        ...


@dataclass(frozen=True)
class Backend:
    """What a DeepFace detector backend needs: the packages that shape its boxes, what to install, its weight file."""

    packages: tuple[str, ...]
    modules: tuple[str, ...]
    install: str
    weight: str | None = None
    gives_probability: bool = True


BACKENDS = {
    "mtcnn": Backend(
        packages=("mtcnn", "tensorflow"),
        modules=("mtcnn", "tensorflow", "tf_keras", "lz4"),
        install="mtcnn tensorflow tf-keras lz4",
    ),
    # The cascade has no probability: DeepFace derives a number from it that falls as the cascade grows surer.
    "opencv": Backend(
        packages=("opencv-contrib-python-headless",),
        modules=("cv2",),
        install="opencv-contrib-python-headless",
        gives_probability=False,
    ),
    "retinaface": Backend(("retina-face", "torch"), ("retinaface",), "retina-face", weight="retinaface"),
    "mediapipe": Backend(("mediapipe",), ("mediapipe",), "mediapipe"),
    "yolov8n": Backend(("ultralytics", "torch"), ("ultralytics",), "ultralytics", weight="yolov8n"),
    "yunet": Backend(
        packages=("opencv-contrib-python-headless",),
        modules=("cv2",),
        install="opencv-contrib-python-headless",
        weight="yunet",
    ),
}


class DeepFaceDetector:
    """A DeepFace detector backend, without alignment.

    Args:
        backend: One of ``BACKENDS``.
        min_confidence: Faces the detector is less sure of are dropped. ``opencv`` gives no probability: each of its
            boxes is kept, with confidence 1. DeepFace rounds confidences to two decimals, so 0.895 passes as 0.9.
        min_size: Faces whose shorter side is under this many pixels are dropped.

    TensorFlow (for ``mtcnn``) and the weights are loaded by the first `detect`.
    """

    uses_known = False

    def __init__(self, backend: str = "mtcnn", min_confidence: float = 0.9, min_size: int = 24):
        if backend not in BACKENDS:
            raise DetectionError(f"detector.backend={backend}: no such detector; choose from {', '.join(BACKENDS)}")
        if not isinstance(min_confidence, int | float) or not 0 <= min_confidence <= 1:
            raise DetectionError(f"detector.min_confidence={min_confidence}: must be a number between 0 and 1")
        if not isinstance(min_size, int) or min_size < 1:
            raise DetectionError(f"detector.min_size={min_size}: must be a whole number of pixels, at least 1")
        self.backend = backend
        self.min_confidence = min_confidence
        self.min_size = min_size
        self._loaded = False

    @property
    def name(self) -> str:
        return self.backend

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        """Every setting that shapes the boxes."""
        return {"min_confidence": self.min_confidence, "min_size": self.min_size, "align": False}

    @property
    def version(self) -> str:
        """The versions of the packages, and the digest of the weight file, that shape the boxes."""
        backend = BACKENDS[self.backend]
        weight = f", {weights.describe(backend.weight)}" if backend.weight else ""
        return f"{versions('deepface', *backend.packages)}{weight}, revision {_REVISION}"

    def preflight(self) -> list[Problem]:
        """What is missing before `detect` can work; imports no framework."""
        backend = BACKENDS[self.backend]
        missing = [module for module in backend.modules if importlib.util.find_spec(module) is None]
        problems = []
        if missing:
            what = f"detector {self.backend} needs the package {', '.join(missing)}, which is not installed"
            problems.append(Problem(what, f"Install it with: python -m pip install {backend.install}"))
        if backend.weight:
            problems += weights.problems([backend.weight])
        return problems

    def detect(self, image: np.ndarray, known: Sequence[KnownFace] = ()) -> list[Box]:
        """The faces of a picture, sorted by x, then y.

        Args:
            image: HWC uint8 RGB of any size.
            known: Not looked at.

        Raises:
            DetectionError: The backend cannot be loaded (missing package, damaged weight file).
        """
        height, width = image.shape[:2]
        if min(height, width) < self.min_size:
            return []
        found = [self._box(face, width, height) for face in self._faces(image)]
        kept = [box for box in found if self._keeps(box)]
        return sorted(kept, key=lambda box: (box.x, box.y, box.width, box.height))

    def _load(self) -> None:
        problems = self.preflight()
        if problems:
            raise DetectionError(f"{problems[0].what}. {problems[0].remedy}")
        if "tensorflow" in BACKENDS[self.backend].modules:
            load_triton()
        import_deepface()
        from deepface.modules.modeling import build_model

        with quiet(), weights.loading(BACKENDS[self.backend].weight):
            client = build_model(task="face_detector", model_name=self.backend)
        if self.backend == "mtcnn":
            _compile(client.model.stages)
        self._loaded = True

    def _faces(self, image: np.ndarray) -> list[dict]:
        if not self._loaded:
            self._load()
        deepface = import_deepface()
        from deepface.modules.exceptions import FaceNotDetected, ImgNotFound

        try:
            # With enforce_detection=False DeepFace would hand back the whole image as a face where it finds none.
            return deepface.extract_faces(
                np.ascontiguousarray(image[:, :, ::-1]),
                detector_backend=self.backend,
                enforce_detection=True,
                align=False,
                normalize_face=False,
                color_face="bgr",
            )
        except (FaceNotDetected, ImgNotFound):
            return []

    def _box(self, face: dict, width: int, height: int) -> Box:
        area = face["facial_area"]
        left, top = max(0, int(area["x"])), max(0, int(area["y"]))
        right, bottom = min(width, int(area["x"] + area["w"])), min(height, int(area["y"] + area["h"]))
        confidence = float(face["confidence"]) if BACKENDS[self.backend].gives_probability else 1.0
        eyes = area.get("right_eye"), area.get("left_eye")
        return Box(left, top, right - left, bottom - top, confidence, None if None in eyes else eyes)

    def _keeps(self, box: Box) -> bool:
        return box.confidence >= self.min_confidence and min(box.width, box.height) >= self.min_size


def _compile(stages: Sequence) -> None:
    """Have MTCNN's three networks run as graphs: operation by operation, the same boxes take twice as long."""
    import tensorflow as tf

    for stage, side in zip(stages, (None, 24, 48), strict=True):
        if isinstance(stage._model, tf.keras.Model):
            pictures = tf.TensorSpec([None, side, side, 3], tf.float32)
            stage._model = tf.function(stage._model, input_signature=[pictures])


class LabelledBoxes:
    """``detector=labels``: the boxes that labels tell of, with confidence 1 and without eyes, in place of a search."""

    name = "labels"
    uses_known = True
    version = ""

    @property
    def parameters(self) -> dict:
        return {}

    def preflight(self) -> list[Problem]:
        return []

    def detect(self, image: np.ndarray, known: Sequence[KnownFace] = ()) -> list[Box]:
        """The known faces, clipped to the picture, sorted by x, then y.

        Args:
            image: HWC uint8 RGB of any size.
            known: What labels tell of it.

        Raises:
            ImageError: A box lies outside the picture.
        """
        height, width = image.shape[:2]
        boxes = []
        for face in known:
            left, top = max(0, face.x), max(0, face.y)
            right, bottom = min(width, face.x + face.width), min(height, face.y + face.height)
            if right <= left or bottom <= top:
                box = f"{face.x},{face.y},{face.width},{face.height}"
                raise ImageError(f"the labels' box {box} lies outside this picture of {width}x{height}; mend the row")
            boxes.append(Box(left, top, right - left, bottom - top, 1.0))
        return sorted(boxes, key=lambda box: (box.x, box.y, box.width, box.height))


class WholePicture:
    """``detector=whole``: every picture is a crop of one face already, such as the aligned crops of a data set."""

    name = "whole"
    uses_known = False
    version = ""

    @property
    def parameters(self) -> dict:
        return {}

    def preflight(self) -> list[Problem]:
        return []

    def detect(self, image: np.ndarray, known: Sequence[KnownFace] = ()) -> list[Box]:
        """One box with confidence 1: the whole picture."""
        height, width = image.shape[:2]
        return [Box(0, 0, width, height, 1.0)]
