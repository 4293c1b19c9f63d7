"""Whether a recogniser is the right one and gets what it was trained on: what a wrong input must change, and whom it
knows again."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icm.faces.boxes import Box
from icm.faces.crops import crop
from icm.faces.embedding import DeepFaceEmbedder, Embedder
from icm.metrics.privacy import cosine_similarity
from icm.metrics.verification import AUC, measure

# The noise of another batch shape, seen with ill-conditioned random weights, is below a tenth of it.
_NOTICED = 1e-4


@dataclass(frozen=True)
class Face:
    """A face in a picture, HWC uint8 RGB, and whose it is; None: nobody knows."""

    picture: np.ndarray
    box: Box
    person: str | None = None

    @property
    def crop(self) -> np.ndarray:
        return crop(self.picture, self.box)


@dataclass(frozen=True)
class Finding:
    """One check: its name, whether it passed (None: it could not be made), and what was measured."""

    name: str
    passed: bool | None
    detail: str


def check_recogniser(embedder: Embedder, faces: Sequence[Face], floor: float) -> list[Finding]:
    """Check a recogniser on some faces.

    Args:
        embedder: The recogniser; its weights are there.
        faces: At least one; two persons with two pictures each for the last check.
        floor: The least AUC of genuine against impostor pairs.
    """
    crops = [face.crop for face in faces]
    rows = embedder.embed(crops)
    return [
        _alike(embedder, crops, rows),
        _noticed("red and blue swapped", rows, embedder.embed([image[..., ::-1] for image in crops])),
        *_scaling(embedder, crops, rows),
        _noticed("crop a quarter too far right", rows, embedder.embed([beside(face) for face in faces])),
        _noticed("face turned by 20 degrees", rows, embedder.embed([turned(image) for image in crops])),
        _verification(faces, rows, floor),
    ]


def _alike(embedder: Embedder, crops: Sequence[np.ndarray], rows: np.ndarray) -> Finding:
    again = embedder.embed([image.copy() for image in reversed(crops)])[::-1]
    least = float(cosine_similarity(rows, again).min())
    return Finding("a face against itself", least > 1 - _NOTICED, f"similarity {least:.6f}, at least {1 - _NOTICED}")


def _noticed(name: str, rows: np.ndarray, wrong: np.ndarray) -> Finding:
    change = 1 - float(cosine_similarity(rows, wrong).mean())
    return Finding(name, change > _NOTICED, f"changes the similarity by {change:.4f}, at least {_NOTICED}")


def _scaling(embedder: Embedder, crops: Sequence[np.ndarray], rows: np.ndarray) -> list[Finding]:
    """What the network gets under another model's scaling of pixels."""
    if not isinstance(embedder, DeepFaceEmbedder):
        return []
    other = with_other_scaling(embedder)
    return [_noticed(f"pixels scaled as by {other.normalization}", rows, other.embed(crops))]


def with_other_scaling(embedder: DeepFaceEmbedder) -> DeepFaceEmbedder:
    """The same recogniser, given pixels as another one is."""
    normalization = "base" if embedder.normalization in ("ArcFace", "Facenet2018") else "Facenet2018"
    return DeepFaceEmbedder(embedder.name, embedder.model, normalization, embedder.batch_size)


def _verification(faces: Sequence[Face], rows: np.ndarray, floor: float) -> Finding:
    name = "one person's faces against others'"
    known = [index for index, face in enumerate(faces) if face.person is not None]
    persons = np.array([faces[index].person for index in known], str)
    units = rows[known] / np.linalg.norm(rows[known], axis=1, keepdims=True) if known else rows[:0]
    pairs = np.triu_indices(len(known), 1)
    scores, same = (units @ units.T)[pairs], (persons[:, None] == persons)[pairs]
    if not same.any() or same.all():
        return Finding(name, None, "needs two persons, one of them in two pictures")
    auc = measure(AUC, scores[same], scores[~same])
    counts = f"{same.sum()} genuine and {(~same).sum()} impostor pairs"
    return Finding(name, auc >= floor, f"AUC {auc:.3f} of {counts}, at least {floor:g}")


def beside(face: Face) -> np.ndarray:
    """What lies a quarter of a face's width to the right of where it should be cut."""
    box = face.box
    x = min(box.x + max(box.width // 4, 1), face.picture.shape[1] - 1)
    return face.picture[box.y : box.y + box.height, x : x + box.width]


def turned(image: np.ndarray) -> np.ndarray:
    """A crop turned by 20 degrees: what alignment is to undo."""
    import cv2

    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 20, 1.0)
    return cv2.warpAffine(np.ascontiguousarray(image), turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
