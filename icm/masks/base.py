"""What every kind of mask offers: it is opened for one split of images and then asked image by image."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from icm.splits import Split

Region = Literal["edge", "object", "plain"]


class MaskReader(Protocol):
    """Masks of one split; picklable, so that a data loader's workers can carry it."""

    def usable(self, names: list[str]) -> list[str]:
        """The images of ``names`` that have a mask, in their order; dropped ones are logged with their number.

        Args:
            names: Paths relative to the split's folder, with ``/``.

        Raises:
            MaskError: none is left, or the masks are incomplete.
        """
        ...

    def read(self, name: str, height: int, width: int) -> np.ndarray:
        """The mask of one image, (height, width) uint8 of 0 and 1; `MaskError` when it is damaged or does not fit."""
        ...


class Masks(Protocol):
    """A ``masks`` option of the configuration.

    Attributes:
        region: Which pixels are set: "edge" those on edges of objects, "object" those inside objects, "plain" all.
    """

    region: ClassVar[Region]

    def open(self, split: Split) -> MaskReader:
        """Check what the option needs (`MaskError` naming what is missing) and make it ready for ``split``."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What became of one image whose mask was made or drawn.

    Attributes:
        name: The image.
        state: "done" now, "kept" from before, or "failed".
        reason: Why it failed.
        share: Share of its pixels that the mask sets, where it was drawn.
    """

    name: str
    state: Literal["done", "kept", "failed"]
    reason: str = ""
    share: float | None = None


@runtime_checkable
class StoredMasks(Masks, Protocol):
    """A ``masks`` option that reads a store, which `make` makes beforehand.

    Attributes:
        maker: What makes the masks, for people.
    """

    maker: str

    def folder(self, split: Split) -> Path:
        """Where the store of a split lies."""
        ...

    def make(self, work: Mapping[Split, Sequence[str]], devices: Sequence[str]) -> Iterator[Outcome]:
        """Make the masks that are missing in the stores of some splits.

        What can be checked is checked by the call itself, before the first image.

        Args:
            work: The names of the images of each split.
            devices: Torch device names, such as "cuda:0"; each gets a process.

        Yields:
            One outcome per image, as they happen.

        Raises:
            MaskError: an option does not fit the store or the weights, or a process failed.
        """
        ...


@dataclass(frozen=True)
class NoMasks:
    """``masks=none``: ones everywhere, which makes the masked distortion the plain one."""

    region: ClassVar[Region] = "plain"

    def open(self, split: Split) -> "NoMasks":
        return self

    def usable(self, names: list[str]) -> list[str]:
        return list(names)

    def read(self, name: str, height: int, width: int) -> np.ndarray:
        return np.ones((height, width), np.uint8)
