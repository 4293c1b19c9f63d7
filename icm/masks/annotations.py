"""Masks from COCO instance annotations: ``masks=annotations`` (edges) and ``masks=objects`` (interiors)."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from icm.masks.base import Region
from icm.masks.edges import MaskError, check_dilation, dilate, union_of_edges, union_of_interiors
from icm.masks.instances import load_instances
from icm.splits import Split

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnnotationMasks:
    """Edges of every annotated object.

    Attributes:
        dilation: Side in pixels of the square that thickens the edges (odd, 1 = none).
        crowd: Whether regions marked ``iscrowd`` (many objects outlined as one) count as an object.

    Raises:
        MaskError: a value out of range.
    """

    region: ClassVar[Region] = "edge"
    dilation: int = 1
    crowd: bool = False

    def __post_init__(self) -> None:
        check_dilation(self.dilation)
        _check_crowd(self.crowd)

    def open(self, split: Split) -> "AnnotationReader":
        return AnnotationReader(_require(split, "annotations"), self.crowd, union_of_edges, self.dilation)


@dataclass(frozen=True)
class ObjectMasks:
    """Interiors of every annotated object: the object-region baseline. ``crowd`` as in `AnnotationMasks`."""

    region: ClassVar[Region] = "object"
    crowd: bool = False

    def __post_init__(self) -> None:
        _check_crowd(self.crowd)

    def open(self, split: Split) -> "AnnotationReader":
        return AnnotationReader(_require(split, "objects"), self.crowd, union_of_interiors, 1)


class AnnotationReader:
    """`icm.masks.base.MaskReader` of the images that one COCO instance file lists.

    Args:
        path: The file.
        crowd: Whether regions marked ``iscrowd`` count as objects.
        combine: What makes one mask of many: `union_of_edges` or `union_of_interiors`.
        dilation: Side in pixels of the square that thickens the result.
    """

    def __init__(self, path: Path, crowd: bool, combine: Callable, dilation: int):
        self.path, self.combine, self.dilation = path, combine, dilation
        self.images = load_instances(path, crowd)

    def usable(self, names: list[str]) -> list[str]:
        rows = self.images.rows(names)
        listed = [name for name, row in zip(names, rows, strict=True) if row >= 0]
        if not listed:
            raise MaskError(
                f"{self.path} lists none of the split's images by file name; give the annotations of this split"
            )
        if len(listed) < len(names):
            log.warning(
                "%d of %d images are not listed in %s and are left out", len(names) - len(listed), len(names), self.path
            )
        bare = int((self.images.object_counts()[rows[rows >= 0]] == 0).sum())
        if bare:
            log.info(
                "%d of %d images have no annotated object: their mask is empty, their distortion 0", bare, len(listed)
            )
        return listed

    def read(self, name: str, height: int, width: int) -> np.ndarray:
        image = self.images[name]
        if (image.height, image.width) != (height, width):
            raise MaskError(f"{name} has {width}x{height} pixels, {self.path} says {image.width}x{image.height}")
        try:
            return dilate(self.combine(image.masks(), height, width), self.dilation)
        except MaskError as error:
            raise MaskError(f"{self.path}, {name}: {error}; download the annotations again") from error


def _require(split: Split, option: str) -> Path:
    if split.annotations is None:
        raise MaskError(
            f"masks={option} needs COCO annotations; set data.annotations=FILE.json, or use masks=sam or masks=none"
        )
    if not split.annotations.is_file():
        raise MaskError(f"masks={option} needs the annotations {split.annotations}; download them or use masks=none")
    return split.annotations


def _check_crowd(crowd: bool) -> None:
    if not isinstance(crowd, bool):
        raise MaskError(f"masks.crowd={crowd}: use true or false")
