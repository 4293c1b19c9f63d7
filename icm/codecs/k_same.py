"""``k_same``: every face becomes the average of the k faces nearest to it. It hides faces and codes nothing.

In the style of k-Same-Pixel (Newton, Sweeney, Malin, "Preserving Privacy by De-identifying Face Images", 2005), on
crops that are not aligned. The population holds one face of each person, as its promise asks. Unlike there, a face may
serve in more than one average, and probes are other pictures of those people, too.
"""

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np

from icm.codecs.anonymizers import check_sides, check_webp, restore, store, tools
from icm.codecs.base import CodecError, Faces, Value, names, whole_number
from icm.images import Pixels
from icm.preflight import Problem

_SIDE = 128  # pixels of a face in the population
_COARSE = 32  # pixels of the faces whose distance decides which are nearest


class KSame:
    """The codec.

    Args:
        k: How many people are averaged, at least 2.

    Raises:
        CodecError: ``k`` is out of range.
    """

    name = "k_same"
    revision = 1
    variant = None
    baseline_of = ""
    ceiling = True  # its rate is that of a picture kept without loss: no point of a rate curve
    uses_faces = True
    max_workers = None

    def __init__(self, k: int = 5):
        self.k = whole_number(self.name, "k", k, 2, 1000)
        self.point: dict[str, Value] = {"k": self.k}
        self.parameters: dict[str, Value] = {"k": self.k}
        self.title, self.series, self.short = names("K-same", str(self.k), {}, {})
        self._population = np.zeros((0, _SIDE, _SIDE, 3), np.float32)

    @property
    def version(self) -> str:
        return f"revision {self.revision} / OpenCV {cv2.__version__} / {tools()}"

    def preflight(self) -> list[Problem]:
        return check_webp()

    def among(self, people: Sequence[Pixels]) -> "KSame":
        """The codec that draws on these people.

        Args:
            people: A face of each, (height, width, 3) uint8 RGB.

        Raises:
            CodecError: They are fewer than ``k``.
        """
        if len(people) < self.k:
            raise CodecError(f"codec.k={self.k}: the pictures show {len(people)} people; choose at most that many")
        drawn = KSame(self.k)
        drawn._population = np.stack([_resized(face, _SIDE, _SIDE) for face in people]).astype(np.float32)
        drawn.parameters["population"] = hashlib.sha256(drawn._population.tobytes()).hexdigest()[:16]
        return drawn

    def encode(self, image: Pixels, faces: Faces = ()) -> bytes:
        height, width = check_sides(self.name, image)
        picture = image.copy()
        for x, y, across, down in faces:
            left, top, right, bottom = max(x, 0), max(y, 0), min(x + across, width), min(y + down, height)
            if left < right and top < bottom:
                average = _resized(self._average(image[top:bottom, left:right]), down, across)
                picture[top:bottom, left:right] = average[top - y : bottom - y, left - x : right - x]
        return store(self.name, self.parameters, picture)

    def decode(self, bitstream: bytes) -> Pixels:
        return restore(self.name, bitstream)

    def _average(self, face: Pixels) -> Pixels:
        """(_SIDE, _SIDE, 3) uint8 RGB, the mean of the k people nearest to a face."""
        if not len(self._population):
            raise CodecError("k_same averages the people of a job: evaluate.py knows them, a single picture does not")
        coarse = np.stack([_resized(person, _COARSE, _COARSE) for person in self._population])
        distances = np.square(coarse - _resized(face, _COARSE, _COARSE).astype(np.float32)).mean(axis=(1, 2, 3))
        nearest = np.argsort(distances, kind="stable")[: self.k]
        return self._population[nearest].mean(axis=0).round().astype(np.uint8)


def _resized(face: np.ndarray, height: int, width: int) -> np.ndarray:
    shrinks = height * width < face.shape[0] * face.shape[1]
    return cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
