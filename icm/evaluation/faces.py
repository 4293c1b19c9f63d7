"""``task=faces``: are the faces in a coded picture still the same people to a recogniser?

Boxes come from the originals only. Original and coded picture are cropped at the same box, and the embeddings of both
crops are compared, as they are and as an attacker would (docs/privacy.md).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from icm.attacks.base import Attack, TooFewPeople
from icm.attacks.cross_fit import Attacked, attack_scores
from icm.errors import UserError
from icm.evaluation.cache import image_hash
from icm.evaluation.measures import Estimate, FaceEvidence, Subject, of_task
from icm.evaluation.recognition import Face, curves, cut, detect, embed, measure
from icm.evaluation.results import Row, crop_name
from icm.evaluation.task import Context, Outcome
from icm.faces.boxes import Box
from icm.faces.detection import DeepFaceDetector, Detector
from icm.faces.embedding import Embedder
from icm.faces.people import different_people, picture_hash
from icm.faces.sources import SourceImage
from icm.images import write_png
from icm.metrics.detectability import detectability
from icm.parts import Part
from icm.preflight import Problem
from icm.threads import in_threads


class FacesTask:
    """Every face before and after coding, for each recogniser and attack.

    Args:
        detector: Finds the faces, in the originals.
        embedders: The recognisers by name.
        attacks: What an attacker does to coded faces before recognising them, by name.
        detectability: Also look for faces in the coded pictures: which of the original's does the detector find again?
        scores: Also write scores.csv: every comparison of two faces.
        at_hand: Leave out recognisers that cannot work here (weights that are not there) instead of stopping; which
            ones is said in the summary's notes.

    Raises:
        UserError: ``at_hand``, and none can work.
    """

    name = "faces"
    version = "1"

    def __init__(
        self,
        detector: Detector,
        embedders: Mapping[str, Embedder],
        attacks: Mapping[str, Attack],
        detectability: bool = False,
        scores: bool = False,
        at_hand: bool = False,
    ):
        self.detector = detector
        missing = {name: part.preflight() for name, part in embedders.items()} if at_hand else {}
        self.embedders = [part for name, part in embedders.items() if not missing.get(name)]
        self._left_out = [
            f"{embedders[name].title} is left out: {found[0].what}" for name, found in missing.items() if found
        ]
        if not self.embedders:
            raise UserError("embedder: none of them can work here; run: python -m icm download weights")
        self.attacks = list(attacks.values())
        # Boxes that labels tell of, or the whole picture, are found again in any picture.
        self.detectability = detectability and isinstance(detector, DeepFaceDetector)
        self.scores = scores
        self.parameters: dict[str, Any] = {"detectability": self.detectability, "scores": scores}
        self._boxes: dict[str, tuple[str, list[Box]]] = {}
        self._hashes: dict[str, np.ndarray] = {}
        self._faces: list[Face] = []
        self._found_again: dict[str, list[Box]] = {}

    @property
    def parts(self) -> Sequence[Part]:
        return [self.detector, *self.embedders, *self.attacks]

    def preflight(self) -> list[Problem]:
        return []

    def begin(self, context: Context) -> None:
        self._context = context

    def concerns(self, source: SourceImage, image: np.ndarray, digest: str) -> str:
        boxes = detect(image, digest, self.detector, self._context.cache, source.known_faces)
        if not boxes:
            return f"no face found by {self.detector.name}"
        self._boxes[source.name] = digest, boxes
        self._hashes[source.name] = picture_hash(image)
        return ""

    def faces(self, source: SourceImage) -> list[Box]:
        return self._boxes[source.name][1]

    def observe(self, source: SourceImage, original: np.ndarray, coded: np.ndarray) -> dict[str, Any]:
        boxes = self._boxes[source.name][1]
        align = any(embedder.align for embedder in self.embedders)
        for number, (box, person) in enumerate(zip(boxes, source.identities(boxes), strict=True)):
            pair = [cut(picture, box, align=False) for picture in (original, coded)]
            turned = (cut(original, box, align=True), cut(coded, box, align=True)) if align else None
            self._faces.append(Face(source.name, number, box, person, pair[0], pair[1], turned))
        if self.detectability:
            self._found_again[source.name] = detect(coded, image_hash(coded), self.detector, self._context.cache)
        return {"faces": len(boxes)}

    def data(self) -> list[Any]:
        return [[name, digest, [[box.x, box.y, box.width, box.height] for box in boxes]]
                for name, (digest, boxes) in self._boxes.items()]  # fmt: skip

    def finish(self) -> Outcome:
        outcome = Outcome(tables={"faces": []})
        outcome.summary.update(
            faces=len(self._faces), detector=self.detector.name, notes=list(self._left_out), titles={}, similarity={}
        )
        drawn: list[dict[str, Any]] = []
        comparisons: list[Row] = []
        splits: dict[str, Any] = {}
        for embedder in self.embedders:
            outcome.summary["titles"][embedder.name] = embedder.title
            if embedder.align and (blind := sum(face.box.eyes is None for face in self._faces)):
                outcome.summary["notes"].append(f"{embedder.title}: {blind} faces without eyes are not aligned")
            originals = self._embed([face.crops(embedder.align)[0] for face in self._faces], embedder)
            strangers = self._strangers(originals, embedder, outcome.summary["notes"])
            for attack in self.attacks:
                outcome.summary["titles"][attack.name] = attack.title
                subject = Subject(embedder.name, attack.name)
                try:
                    evidence, attacked = self._evidence(embedder, attack, originals, strangers)
                except TooFewPeople as error:
                    outcome.estimates.update(_refused(subject, str(error)))
                    continue
                values, found = measure(evidence)
                outcome.estimates.update({(key, subject): estimate for key, estimate in found.items()})
                outcome.tables["faces"] += self._rows(subject, values)
                if attacked.folds:
                    splits[attack.name] = attacked.folds
                drawn += curves(evidence, *subject[:2])
                comparisons += self._comparisons(evidence, subject) if self.scores else []
                if attack.name == "none":
                    outcome.summary["similarity"][embedder.name] = _block(evidence, found)
        outcome.files.update({"curves": drawn, "splits": splits} if splits else {"curves": drawn})
        if self.scores:
            outcome.exports["scores"] = comparisons
        if self.detectability:
            outcome.estimates.update(self._detectability(outcome.summary))
        self._write_crops()
        return outcome

    def _embed(self, crops: Sequence[np.ndarray], embedder: Embedder) -> np.ndarray:
        return embed(crops, embedder, self._context.cache, self._context.label)

    def _strangers(self, originals: np.ndarray, embedder: Embedder, notes: list[str]) -> np.ndarray:
        """(n, n) bool: pairs trusted to show different people; what a reader must know of it is added to ``notes``."""
        images = [face.image for face in self._faces]
        people = [face.identity for face in self._faces]
        hashes = np.stack([self._hashes[name] for name in images])
        trusted, remarks = different_people(originals, people, images, hashes, embedder.threshold)
        notes += [f"{embedder.title}: {remark}" for remark in remarks]
        return trusted

    def _evidence(
        self, embedder: Embedder, attack: Attack, originals: np.ndarray, strangers: np.ndarray
    ) -> tuple[FaceEvidence, Attacked]:
        coded = self._embed([attack.restore(face.crops(embedder.align)[1]) for face in self._faces], embedder)
        people = [face.identity for face in self._faces]
        images = [face.image for face in self._faces]
        seed = self._context.seed
        attacked = attack_scores(attack, coded, originals, people, seed)
        evidence = FaceEvidence(
            originals,
            coded,
            attacked.scores,
            attack.gallery,
            people,
            images,
            strangers,
            seed=seed,
            # What an attacker has learnt changes the scale of similarities.
            threshold=None if attack.learns else embedder.threshold,
            learnt=attack.learns,
            protocol=self._protocol(),
        )
        return evidence, attacked

    def _protocol(self) -> np.ndarray:
        """(m, 4) int, see `FaceEvidence.protocol`; pairs of a picture without a face are left out."""
        row = {face.image: index for index, face in reversed(list(enumerate(self._faces)))}
        found = [
            (row[pair.first], row[pair.second], int(pair.genuine), number)
            for number, fold in enumerate(self._context.pairs)
            for pair in fold
            if pair.first in row and pair.second in row
        ]
        return np.array(found, dtype=int).reshape(-1, 4)

    def _rows(self, subject: Subject, values: Mapping[str, np.ndarray]) -> list[Row]:
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

    def _comparisons(self, evidence: FaceEvidence, subject: Subject) -> list[Row]:
        pairs = evidence.pairs
        made = (pairs.genuine | pairs.impostor) & np.isfinite(evidence.scores)
        names = [(face.image, face.number) for face in self._faces]
        return [
            {
                "probe_image": names[probe][0],
                "probe_face": names[probe][1],
                "gallery_image": names[entry][0],
                "gallery_face": names[entry][1],
                "genuine": int(pairs.genuine[probe, entry]),
                "score": float(evidence.scores[probe, entry]),
                "embedder": subject.embedder,
                "attack": subject.attack,
            }
            for probe, entry in zip(*(index.tolist() for index in np.nonzero(made)), strict=True)
        ]

    def _detectability(self, summary: dict[str, Any]) -> dict[tuple[str, Subject], Estimate]:
        """Faces found again, by the estimates of each measure of boxes; how many were not goes into the summary."""
        names = list(self._found_again)
        before = [np.reshape([box_row(box)[:4] for box in self._boxes[name][1]], (-1, 4)) for name in names]
        after = [np.reshape([box_row(box) for box in self._found_again[name]], (-1, 5)) for name in names]
        found = detectability(before, after, seed=self._context.seed)
        summary["failures_to_acquire"] = {"faces": found.lost_faces, "images": found.lost_pictures}
        return {(entry.key, Subject()): entry.compute(found) for entry in of_task("faces") if entry.of == "boxes"}

    def _write_crops(self) -> None:
        folder = self._context.directory / "crops"

        def write(face: Face) -> None:
            name = crop_name(face.image, face.number)
            write_png(folder / "original" / name, face.original)
            write_png(folder / "coded" / name, face.coded)

        for _, written in in_threads(write, self._faces):
            written.result()


def box_row(box: Box) -> tuple[int, int, int, int, float]:
    """A box as x, y, width, height, confidence."""
    return box.x, box.y, box.width, box.height, box.confidence


def _refused(subject: Subject, reason: str) -> dict[tuple[str, Subject], Estimate]:
    measures = [entry for entry in of_task("faces") if entry.of != "boxes"]
    return {(entry.key, subject): Estimate(None, note=reason) for entry in measures}


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
