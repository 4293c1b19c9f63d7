"""``masks=boundaries``: boundary-probability pictures, such as the human boundaries of BSDS500."""

import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

import cv2
import numpy as np

from icm.masks.base import Region
from icm.masks.edges import MaskError, check_dilation, dilate
from icm.splits import Split

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BoundaryMasks:
    """Edges where a boundary picture reaches ``threshold``.

    Attributes:
        path: Folder with one 8-bit grayscale PNG per image, ``<image stem>.png``; pixel = 255 x share of the annotators
            who drew a boundary there (Arbelaez et al. 2011). None: the folder that the data set names.
        threshold: The least share, over 0 and at most 1; it plays the role of Segment Anything's alpha.
        dilation: Side in pixels of the square that thickens the edges (odd, 1 = none).

    Raises:
        MaskError: a threshold or dilation out of range.
    """

    region: ClassVar[Region] = "edge"
    path: str | None = None
    threshold: float = 0.5
    dilation: int = 3

    def __post_init__(self) -> None:
        check_dilation(self.dilation)
        if not isinstance(self.threshold, int | float) or not 0 < self.threshold <= 1:
            raise MaskError(f"masks.threshold={self.threshold}: use a share of annotators over 0 and at most 1")

    def open(self, split: Split) -> "BoundaryReader":
        if self.path is None:
            raise MaskError("masks=boundaries needs masks.path=FOLDER of boundary pictures (<image stem>.png)")
        folder = Path(str(self.path)).expanduser()
        if not folder.is_dir():
            raise MaskError(f"masks.path={self.path}: no such folder; give the folder of boundary pictures")
        return BoundaryReader(folder, self.threshold, self.dilation)


@dataclass(frozen=True)
class BoundaryReader:
    """`icm.masks.base.MaskReader` of one folder of boundary pictures."""

    folder: Path
    threshold: float
    dilation: int

    def usable(self, names: list[str]) -> list[str]:
        found = [name for name in names if self._path(name).is_file()]
        if not found:
            raise MaskError(f"{self.folder} has no boundary picture <image stem>.png of any image; check masks.path")
        if len(found) < len(names):
            log.warning(
                "%d of %d images have no boundary picture and are left out", len(names) - len(found), len(names)
            )
        return found

    def read(self, name: str, height: int, width: int) -> np.ndarray:
        share = read_boundaries(self._path(name))
        if share.shape != (height, width):
            raise MaskError(f"{self._path(name)} has {share.shape[1]}x{share.shape[0]} pixels, {name} {width}x{height}")
        return dilate(at_least(share, self.threshold), self.dilation)

    def _path(self, name: str) -> Path:
        return self.folder / PurePosixPath(name).with_suffix(".png")


def read_boundaries(path: Path) -> np.ndarray:
    """One boundary picture, (H, W) uint8, 255 x share of annotators.

    Raises:
        MaskError: it cannot be read.
    """
    content = np.fromfile(path, np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None
    if picture is None:
        raise MaskError(f"{path} is not a readable boundary picture; make it again")
    return picture


def at_least(share: np.ndarray, threshold: float) -> np.ndarray:
    """Where ``share`` (uint8, 255 x share) is at least ``threshold``, as uint8 of 0 and 1.

    Half a grey level of tolerance keeps a share such as 2 of 5, stored rounded, on the right side of 0.4.
    """
    return (share.astype(np.float32) + 0.5 >= 255.0 * threshold).astype(np.uint8)
