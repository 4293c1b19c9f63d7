"""Detection and embedding with the cache, and the measures taken from what a recogniser sees."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from icm.evaluation.cache import Cache, content_key, image_hash
from icm.evaluation.measures import Estimate, FaceEvidence, mean_estimate, of_task
from icm.faces.boxes import Box, KnownFace
from icm.faces.crops import aligned_crop, crop
from icm.faces.detection import Detector
from icm.faces.embedding import Embedder
from icm.metrics.identification import cmc
from icm.metrics.verification import Statistic, estimates, roc
from icm.parts import identity

_BATCH = 128  # faces between two looks at the bar and the cache; Dlib starts processes anew for each
_DET_POINTS = 100
_BINS = 40
_CMC_RANKS = 20
_LEAST_RANGE = 1e-3


@dataclass(frozen=True)
class Face:
    """One face before and after coding.

    Attributes:
        image: The picture it is in.
        number: Its number there.
        box: Where, in the original.
        identity: Who it is; None where nobody knows.
        original, coded: The crops at the box, HWC uint8 RGB.
        aligned: Both crops with level eyes; None where no recogniser asks for them.
    """

    image: str
    number: int
    box: Box
    identity: str | None
    original: np.ndarray
    coded: np.ndarray
    aligned: tuple[np.ndarray, np.ndarray] | None = None

    def crops(self, align: bool) -> tuple[np.ndarray, np.ndarray]:
        """(original, coded), aligned where a recogniser asks for it."""
        return self.aligned if align and self.aligned is not None else (self.original, self.coded)


def cut(image: np.ndarray, box: Box, align: bool) -> np.ndarray:
    """The crop of a box as an array of its own: a view would keep the whole picture in memory."""
    return (aligned_crop if align else crop)(image, box).copy()


def detect(
    image: np.ndarray, digest: str, detector: Detector, cache: Cache, known: Sequence[KnownFace] = ()
) -> list[Box]:
    """The faces of an image, from the cache when this detector has seen it before."""
    told = {"known": [vars(face) for face in known]} if detector.uses_known else {}
    key = content_key(image=digest, detector=identity(detector), **told)
    stored = cache.get("boxes", key)
    if stored is not None:
        return [Box(**box) for box in json.loads(stored)]
    boxes = detector.detect(image, known)
    cache.put("boxes", key, json.dumps([vars(box) for box in boxes]).encode())
    return boxes


def embed(crops: Sequence[np.ndarray], embedder: Embedder, cache: Cache, label: str) -> np.ndarray:
    """Embeddings of face crops, (n, dim) float32; each distinct crop is embedded once and remembered."""
    keys = [content_key(crop=image_hash(face), embedder=identity(embedder)) for face in crops]
    found: dict[str, np.ndarray] = {}
    for key in keys:
        if key not in found and (blob := cache.get("embedding", key)) is not None:
            found[key] = np.frombuffer(blob, dtype="<f4")
    missing = list({key: face for key, face in zip(keys, crops, strict=True) if key not in found}.items())
    if missing:
        with tqdm(total=len(missing), desc=f"{label} | {embedder.name}", unit="face", dynamic_ncols=True) as bar:
            for start in range(0, len(missing), _BATCH):
                part = missing[start : start + _BATCH]
                for (key, _), row in zip(part, embedder.embed([face for _, face in part]), strict=True):
                    found[key] = np.asarray(row, dtype="<f4")
                    cache.put("embedding", key, found[key].tobytes())
                bar.update(len(part))
    return np.stack([found[key] for key in keys])


def measure(evidence: FaceEvidence) -> tuple[dict[str, np.ndarray], dict[str, Estimate]]:
    """Every measure of faces and pairs: values of each face (n,) where there are some, and the estimates."""
    values: dict[str, np.ndarray] = {}
    found: dict[str, Estimate] = {}
    statistics: dict[str, Statistic] = {}
    for entry in of_task("faces"):
        if entry.of == "faces":
            values[entry.key] = entry.compute(evidence)
            found[entry.key] = mean_estimate(values[entry.key], evidence.images, evidence.seed)
        elif entry.of == "pairs":
            result = entry.compute(evidence)
            if isinstance(result, Statistic):
                statistics[entry.key] = result
            else:
                found[entry.key] = result
    # All from the same resamples, which is also far quicker than one after the other.
    return values, found | estimates(evidence.trials, statistics, evidence.seed)


def curves(evidence: FaceEvidence, embedder: str, attack: str) -> list[dict[str, Any]]:
    """DET and CMC curves and the distributions of scores, as they stand in curves.json (docs/results.md)."""
    genuine, impostor = evidence.trials.genuine, evidence.trials.impostor
    if not len(genuine) or not len(impostor):
        return []
    _, false_match, match = roc(genuine, impostor)
    kept = np.unique(np.linspace(0, len(match) - 1, _DET_POINTS).round().astype(int))
    low, high = min(genuine[0], impostor[0]), max(genuine[-1], impostor[-1])
    # Faces that nothing tells apart, such as black boxes, score alike up to rounding.
    margin = _LEAST_RANGE if high - low < _LEAST_RANGE else 0.0
    edges = np.linspace(low - margin, high + margin, _BINS + 1)
    last = min(_CMC_RANKS, max(1, int(evidence.ranks.candidates.max(initial=1))))
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "det": (false_match[kept], 1 - match[kept]),
        "genuine": (edges, np.histogram(genuine, edges, density=True)[0]),
        "impostor": (edges, np.histogram(impostor, edges, density=True)[0]),
    }
    if len(evidence.ranks.probes):
        found["cmc"] = np.arange(1, last + 1), cmc(evidence.ranks, last)
    return [
        {"kind": kind, "embedder": embedder, "attack": attack, "x": x.round(6).tolist(), "y": y.round(6).tolist()}
        for kind, (x, y) in found.items()
    ]
