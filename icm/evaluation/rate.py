"""``task=rate``: what a network says a picture costs, beside what its bits cost; PSNR inside and outside a mask."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

from icm.codecs.learned import LearnedCodec
from icm.errors import UserError
from icm.evaluation.cache import content_key
from icm.evaluation.measures import Subject, mean_estimate, of_task
from icm.evaluation.task import Context, Outcome
from icm.faces.boxes import Box
from icm.faces.sources import SourceImage
from icm.files import file_sha256
from icm.masks.base import Masks
from icm.metrics.quality import psnr
from icm.metrics.rate import bits_per_pixel
from icm.parts import Part, identity
from icm.preflight import Problem
from icm.splits import Split

log = logging.getLogger(__name__)


class RateTask:
    """Measures of whole pictures that a training is compared by.

    Args:
        codec: The codec of the job.
        masks: An option of conf/masks.
        split: The pictures of the job, under the names that its source gives them. A picture without a mask has no
            PSNR inside one, and counts in everything else.

    Raises:
        icm.masks.edges.MaskError: The masks cannot be used.
    """

    name, version = "rate", "1"
    parts: Sequence[Part] = ()

    def __init__(self, codec: LearnedCodec, masks: Masks, split: Split):
        self.codec = codec
        self._reader = masks.open(split)
        self._usable = set(self._reader.usable(split.images()))
        annotations = split.annotations if split.annotations and split.annotations.is_file() else None
        self.parameters: dict[str, Any] = {
            "masks": type(masks).__name__,
            "options": asdict(masks) if is_dataclass(masks) else {},
            "annotations": file_sha256(annotations)[:16] if annotations else None,
        }
        self._values: dict[str, list[float]] = {measure.key: [] for measure in of_task(self.name)}
        self._digests: dict[str, str] = {}

    def preflight(self) -> list[Problem]:
        return []

    def begin(self, context: Context) -> None:
        self._context = context

    def concerns(self, source: SourceImage, image: np.ndarray, digest: str) -> str:
        self._digests[source.name] = digest
        return ""

    def faces(self, source: SourceImage) -> list[Box]:
        return []

    def observe(self, source: SourceImage, original: np.ndarray, coded: np.ndarray) -> dict[str, Any]:
        height, width = original.shape[:2]
        mask = self._mask(source.name, height, width)
        row = {
            "estimated_bpp": bits_per_pixel(self._estimated_bits(source.name, original) / 8, height, width),
            "masked_psnr": None if mask is None else psnr(original, coded, mask),
            "unmasked_psnr": None if mask is None else psnr(original, coded, mask == 0),
        }
        for key, value in row.items():
            self._values[key].append(np.nan if value is None else value)
        return row

    def data(self) -> list[Any]:
        return []

    def finish(self) -> Outcome:
        seed = self._context.seed
        return Outcome({(key, Subject()): mean_estimate(found, None, seed) for key, found in self._values.items()})

    def _estimated_bits(self, name: str, image: np.ndarray) -> float:
        key = content_key(image=self._digests[name], codec=identity(self.codec))
        kept = self._context.cache.get("estimate", key)
        if kept is not None:
            return float(kept)
        bits = self.codec.estimated_bits(image)
        self._context.cache.put("estimate", key, repr(bits).encode())
        return bits

    def _mask(self, name: str, height: int, width: int) -> np.ndarray | None:
        if name not in self._usable:
            return None
        try:
            return self._reader.read(name, height, width)
        except UserError as error:
            log.warning("without a mask: %s", error)
            return None
