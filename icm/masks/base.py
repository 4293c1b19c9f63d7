"""What every kind of mask offers to a data module: it is opened for one split and then asked image by image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Split:
    """One set of images: ``root`` the data set's folder, ``name`` such as "train2017", ``folder`` where its images lie,
    ``annotations`` its COCO instance file or None.
    """

    root: Path
    name: str
    folder: Path
    annotations: Path | None = None


class MaskReader(Protocol):
    """Masks of one split; picklable, so that a data loader's workers can carry it."""

    def usable(self, names: list[str]) -> list[str]:
        """The images of ``names`` (paths relative to the split's folder, with ``/``) that have a mask, in their order.

        Dropped images are logged with their number; `MaskError` when none is left or the masks are incomplete.
        """

    def read(self, name: str, height: int, width: int) -> np.ndarray:
        """The mask of one image, (height, width) uint8 of 0 and 1; `MaskError` when it is damaged or does not fit."""


class Masks(Protocol):
    """A ``masks`` option of the configuration."""

    def open(self, split: Split) -> MaskReader:
        """Check what the option needs (`MaskError` naming what is missing) and make it ready for ``split``."""


@dataclass(frozen=True)
class NoMasks:
    """``masks=none``: ones everywhere, which makes the masked distortion the plain one."""

    def open(self, split: Split) -> "NoMasks":
        return self

    def usable(self, names: list[str]) -> list[str]:
        return list(names)

    def read(self, name: str, height: int, width: int) -> np.ndarray:
        return np.ones((height, width), np.uint8)
