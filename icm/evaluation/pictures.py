"""``task=edges`` and ``task=quality``: what coding does to a whole picture, and inside and outside an edge mask."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icm.detectors.weights import describe, path_of, problems
from icm.errors import UserError
from icm.evaluation.measures import Estimate, Measure, Subject, mean_estimate, of_task
from icm.evaluation.task import Context, Outcome
from icm.faces.boxes import Box
from icm.faces.sources import SourceImage
from icm.files import file_sha256
from icm.masks.annotations import AnnotationMasks
from icm.parts import Part
from icm.preflight import Problem
from icm.splits import Split


class PictureTask:
    """The measures of one name, taken of every picture.

    Args:
        name: ``edges`` or ``quality``: the measures whose task it is.
        annotations: A COCO instance file whose object outlines are the edge mask; images it does not list by their
            name below the source's folder do not concern the task. None: no mask, and only what needs none.
        dilation: Side in pixels of the square that thickens the outlines (odd).
        lpips: Whether LPIPS is among the measures of ``quality``, which needs torchvision's AlexNet; None: where its
            weights are there, and a note says so where they are not.

    Raises:
        UserError: No measure is of that task.
    """

    parts: Sequence[Part] = ()

    def __init__(self, name: str, annotations: str | None = None, dilation: int = 5, lpips: bool | None = None):
        self.name = name
        self._measures: list[Measure] = of_task(name)
        if not self._measures:
            raise UserError(f"task.{name}: no measure is of this task")
        if lpips not in (True, False, None):
            raise UserError(f"task.{name}.lpips={lpips}: takes true, false, or null for where its weights are there")
        perceptual = [measure for measure in self._measures if measure.key.startswith("lpips")]
        missing = problems("alexnet") if perceptual and lpips is not False else []
        self._lacking = missing if lpips else []
        self.notes = [f"LPIPS is left out: {problem.what}" for problem in missing if lpips is None]
        self.lpips = bool(perceptual) and lpips is not False and not missing
        if not self.lpips:
            self._measures = [measure for measure in self._measures if measure not in perceptual]
        self.annotations = Path(annotations).expanduser() if annotations else None
        self.masks = AnnotationMasks(dilation=dilation)
        there = self.annotations is not None and self.annotations.is_file()
        digest = file_sha256(self.annotations)[:16] if self.annotations and there else None
        self.parameters: dict[str, Any] = {"annotations": digest, "dilation": dilation}
        self.parameters |= {"lpips": self.lpips} if perceptual else {}
        self._values: dict[str, list[float]] = {measure.key: [] for measure in self._measures}

    @property
    def version(self) -> str:
        return f"1, {describe(path_of('alexnet'))}" if self.lpips else "1"

    def preflight(self) -> list[Problem]:
        """The annotations, when they are not there, and the weights of LPIPS, when they are asked for."""
        if self.annotations is None or self.annotations.is_file():
            return self._lacking
        what = f"task.{self.name}.annotations={self.annotations}: no such file"
        return [*self._lacking, Problem(what, "Name the COCO instance file of these images, or leave it out")]

    def begin(self, context: Context) -> None:
        self._seed = context.seed
        split = Split(Path("."), ".", Path("."), self.annotations)
        self._reader = self.masks.open(split) if self.annotations else None

    def concerns(self, source: SourceImage, image: np.ndarray, digest: str) -> str:
        if self._reader is None or self._reader.images.rows([source.name])[0] >= 0:
            return ""
        return f"not listed in {self.annotations}"

    def faces(self, source: SourceImage) -> list[Box]:
        return []

    def observe(self, source: SourceImage, original: np.ndarray, coded: np.ndarray) -> dict[str, Any]:
        mask = self._reader.read(source.name, *original.shape[:2]) if self._reader else None
        row = {}
        for measure in self._measures:
            value = measure.compute(original, coded, mask)
            self._values[measure.key].append(np.nan if value is None else value)
            row[measure.key] = value
        return row

    def data(self) -> list[Any]:
        return []

    def finish(self) -> Outcome:
        found: dict[tuple[str, Subject], Estimate] = {}
        for measure in self._measures:
            found[measure.key, Subject()] = mean_estimate(self._values[measure.key], None, self._seed)
        return Outcome(found, summary={"notes": self.notes} if self.notes else {})
