"""``task=detection``, ``segmentation``, ``keypoints`` and ``people``: COCO average precision on coded pictures.

Which pictures concern it, and what is in them, is what a COCO-format file says of the source's images by their exact
file names. ``codec=none`` in a sweep is the ceiling: the detector on the originals.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icm.detectors.base import ObjectDetector
from icm.errors import UserError
from icm.evaluation.cache import content_key, image_hash
from icm.evaluation.measures import Estimate, Subject, of_task
from icm.evaluation.task import Context, Outcome
from icm.faces.boxes import Box
from icm.faces.sources import SourceImage
from icm.files import file_sha256
from icm.metrics.detection import CocoTruth, TruthError, average_precision, bootstrap_precision, evaluate
from icm.metrics.resampling import image_weights, percentile_interval
from icm.parts import Part, identity
from icm.preflight import Problem

KINDS = {"detection": "bbox", "segmentation": "segm", "keypoints": "keypoints", "people": "bbox"}
_RESAMPLES = 500


class DetectionTask:
    """Average precision of one detector.

    Args:
        name: ``detection`` (boxes), ``segmentation`` (masks), ``keypoints`` (of people), or ``people`` (boxes, the
            smoke test with OpenCV's detector).
        annotations: The COCO-format file of the source's images.
        model: The detector.

    Raises:
        UserError: An unknown name, or a detector that does not find what the task is about.
    """

    version = "1"

    def __init__(self, name: str, annotations: str | None, model: ObjectDetector):
        if name not in KINDS:
            raise UserError(f"task.{name}: choose from {', '.join(KINDS)}")
        if KINDS[name] not in model.kinds:
            raise UserError(f"task={name}: {model.title} finds {', '.join(model.kinds)} only; choose another utility=")
        self.name, self.model = name, model
        self.annotations = Path(annotations).expanduser() if annotations else None
        there = self.annotations is not None and self.annotations.is_file()
        digest = file_sha256(self.annotations)[:16] if self.annotations and there else None
        self.parameters: dict[str, Any] = {"annotations": digest}
        self._found: dict[int, list[dict[str, Any]]] = {}

    @property
    def parts(self) -> list[Part]:
        return [self.model]

    def preflight(self) -> list[Problem]:
        """The annotations, when they are not there."""
        if self.annotations is not None and self.annotations.is_file():
            return []
        remedy = f"Name the COCO-format file of the pictures of faces=: task.{self.name}.annotations=FILE"
        if self.annotations is None:
            return [Problem(f"task={self.name} measures against annotations, and none are named", remedy)]
        return [Problem(f"task.{self.name}.annotations={self.annotations}: no such file", remedy)]

    def begin(self, context: Context) -> None:
        self._context = context
        self._truth = CocoTruth.load(str(self.annotations))

    def concerns(self, source: SourceImage, image: np.ndarray, digest: str) -> str:
        try:
            number = self._truth.image_id(source.name)
            self._truth.check_size(number, *image.shape[:2])
        except TruthError as error:
            return str(error)
        return ""

    def faces(self, source: SourceImage) -> list[Box]:
        return []

    def observe(self, source: SourceImage, original: np.ndarray, coded: np.ndarray) -> dict[str, Any]:
        cache = self._context.cache
        key = content_key(image=image_hash(coded), detector=identity(self.model))
        stored = cache.get("detections", key)
        found = json.loads(stored) if stored is not None else self.model.predict(coded)
        if stored is None:
            cache.put("detections", key, json.dumps(found).encode())
        self._found[self._truth.image_id(source.name)] = found
        return {f"{self.name}_found": len(found)}

    def data(self) -> list[Any]:
        return []

    def _weights(self, image_ids: Sequence[int]) -> np.ndarray:
        """Resamples drawn of the images by name, so that rates and other measures of them can be drawn alike."""
        names = [self._truth.images[number].file_name for number in image_ids]
        places = np.argsort(np.argsort(names))
        return image_weights(len(names), _RESAMPLES, self._context.seed)[:, places]

    def finish(self) -> Outcome:
        kind = KINDS[self.name]
        matches = evaluate(self._truth, self._found, kind, names=self.model.categories)
        values = average_precision(matches)
        samples = bootstrap_precision(matches, self._weights(matches.image_ids))
        subject = Subject(model=self.model.name)
        estimates = {}
        for measure in of_task(self.name):
            key = measure.compute
            limits = percentile_interval(samples[key]) if key in samples and len(self._found) > 1 else None
            low, high = limits or (None, None)
            count = len(self._found)
            note = "" if values.get(key) is not None else "nothing of that kind is annotated"
            estimates[measure.key, subject] = Estimate(
                values.get(key), low, high, count, count, note, samples.get(key) if limits else None
            )
        return Outcome(estimates, summary={"titles": {self.model.name: self.model.title}})
