"""``task=faces``: are the faces in a coded picture still the same people to a recogniser?

Boxes come from the originals only. Original and coded picture are cropped at the same box, and the embeddings of both
crops are compared (docs/privacy.md).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from icm.attacks.base import Attack
from icm.evaluation.cache import Cache, content_key, image_hash
from icm.evaluation.measures import Estimate, FaceEvidence, Subject, mean_estimate, of_task
from icm.evaluation.results import crop_name
from icm.evaluation.task import Context, Outcome
from icm.faces.crops import crop
from icm.faces.detection import Box, Detector
from icm.faces.embedding import Embedder
from icm.faces.sources import SourceImage
from icm.images import write_png
from icm.parts import Part, identity

_BATCH = 32


@dataclass(frozen=True)
class Face:
    """One face: its picture, its number there, its box, who it is, and both crops (HWC uint8 RGB)."""

    image: str
    number: int
    box: Box
    identity: str | None
    original: np.ndarray
    coded: np.ndarray


class FacesTask:
    """Similarity of every face before and after coding, for each recogniser and attack.

    Args:
        detector: Finds the faces, in the originals.
        embedders: The recognisers by name.
        attacks: What an attacker does to coded faces before recognising them, by name.
    """

    name = "faces"
    version = "1"

    def __init__(self, detector: Detector, embedders: Mapping[str, Embedder], attacks: Mapping[str, Attack]):
        self.detector = detector
        self.embedders = list(embedders.values())
        self.attacks = list(attacks.values())
        self.parameters: dict[str, Any] = {}
        self._boxes: dict[str, tuple[str, list[Box]]] = {}
        self._faces: list[Face] = []

    @property
    def parts(self) -> Sequence[Part]:
        return [self.detector, *self.embedders, *self.attacks]

    def preflight(self) -> list:
        return []

    def begin(self, context: Context) -> None:
        self._context = context

    def concerns(self, source: SourceImage, image: np.ndarray, digest: str) -> str:
        boxes = detect(image, digest, self.detector, self._context.cache)
        if not boxes:
            return f"no face found by {self.detector.name}"
        self._boxes[source.name] = digest, boxes
        return ""

    def faces(self, source: SourceImage) -> list[tuple[int, int, int, int]]:
        return [(box.x, box.y, box.width, box.height) for box in self._boxes[source.name][1]]

    def observe(self, source: SourceImage, original: np.ndarray, coded: np.ndarray) -> dict[str, Any]:
        boxes = self._boxes[source.name][1]
        people = source.identities(boxes)
        for number, (box, person) in enumerate(zip(boxes, people, strict=True)):
            # Copies: a view would keep the whole picture in memory until the job ends.
            pair = (crop(picture, box).copy() for picture in (original, coded))
            self._faces.append(Face(source.name, number, box, person, *pair))
        return {"faces": len(boxes)}

    def data(self) -> list:
        return [[name, digest, [[box.x, box.y, box.width, box.height] for box in boxes]]
                for name, (digest, boxes) in self._boxes.items()]  # fmt: skip

    def finish(self) -> Outcome:
        rows: list[dict[str, Any]] = []
        estimates: dict[tuple[str, Subject], Estimate] = {}
        similarity = {}
        for embedder in self.embedders:
            originals = self._embed([face.original for face in self._faces], embedder)
            for attack in self.attacks:
                evidence = self._evidence(embedder, attack, originals)
                subject = Subject(embedder.name, attack.name)
                values, found = measure(evidence)
                estimates |= {(key, subject): estimate for key, estimate in found.items()}
                rows += self._rows(subject, values)
                if attack.name == "none":
                    similarity[embedder.name] = _block(evidence, found)
        self._write_crops()
        titles = {part.name: part.title for part in (*self.embedders, *self.attacks)}
        summary = {"faces": len(self._faces), "detector": self.detector.name, "similarity": similarity,
                   "titles": titles}  # fmt: skip
        return Outcome(estimates, {"faces": rows}, summary)

    def _embed(self, crops: Sequence[np.ndarray], embedder: Embedder) -> np.ndarray:
        return embed(crops, embedder, self._context.cache, self._context.label)

    def _evidence(self, embedder: Embedder, attack: Attack, originals: np.ndarray) -> FaceEvidence:
        coded = self._embed([attack.restore(face.coded) for face in self._faces], embedder)
        people = [face.identity for face in self._faces]
        images = [face.image for face in self._faces]
        return FaceEvidence(originals, coded, originals, people, images, strangers(people), seed=self._context.seed)

    def _rows(self, subject: Subject, values: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
        return [
            {
                "image": face.image,
                "face": face.number,
                "x": face.box.x,
                "y": face.box.y,
                "width": face.box.width,
                "height": face.box.height,
                "detector_confidence": float(face.box.confidence),
                "identity": face.identity,
                "embedder": subject.embedder,
                "attack": subject.attack,
                **{key: float(array[index]) for key, array in values.items()},
            }
            for index, face in enumerate(self._faces)
        ]

    def _write_crops(self) -> None:
        folder = self._context.directory / "crops"
        for face in self._faces:
            name = crop_name(face.image, face.number)
            write_png(folder / "original" / name, face.original)
            write_png(folder / "coded" / name, face.coded)


def detect(image: np.ndarray, digest: str, detector: Detector, cache: Cache) -> list[Box]:
    """The faces of an image, from the cache when this detector has seen it before."""
    key = content_key(image=digest, detector=identity(detector))
    stored = cache.get("boxes", key)
    if stored is not None:
        return [Box(**box) for box in json.loads(stored)]
    boxes = detector.detect(image)
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


def strangers(people: Sequence[str | None]) -> np.ndarray:
    """(n, n) bool: the pairs of faces that are taken to show different people."""
    if all(person is None for person in people):
        return ~np.eye(len(people), dtype=bool)
    names = np.array([person or "" for person in people])
    known = names != ""
    different: np.ndarray = (names[:, None] != names[None, :]) & known[:, None] & known[None, :]
    return different


def measure(evidence: FaceEvidence) -> tuple[dict[str, np.ndarray], dict[str, Estimate]]:
    """Every measure of the faces task: values of each face (n,) where there are some, and the estimates."""
    values: dict[str, np.ndarray] = {}
    estimates: dict[str, Estimate] = {}
    for entry in of_task("faces"):
        found = entry.compute(evidence)
        if entry.of == "faces":
            values[entry.key] = found
            found = mean_estimate(found, evidence.images, evidence.seed)
        estimates[entry.key] = found
    return values, estimates


def _block(evidence: FaceEvidence, found: Mapping[str, Estimate]) -> dict[str, Any]:
    """A recogniser's entry in ``similarity`` of summary.json."""
    raw, calibrated = found["cosine_similarity"], found["calibrated_similarity"]
    return {
        "mean": raw.value,
        "ci95": [raw.low, raw.high],
        "calibrated_mean": calibrated.value,
        "calibrated_ci95": [calibrated.low, calibrated.high],
        "impostor_mean": evidence.impostor_mean,
        "faces": len(evidence.original),
    }
