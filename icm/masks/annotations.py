"""Masks from COCO instance annotations: ``masks=annotations`` (edges) and ``masks=objects`` (interiors)."""

import json
import logging
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from icm.masks.base import Region
from icm.masks.edges import MaskError, check_dilation, dilate, union_of_edges, union_of_interiors
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
    """Masks of the images that one COCO instance file lists."""

    def __init__(self, path: Path, crowd: bool, combine: Callable, dilation: int):
        self.path, self.combine, self.dilation = path, combine, dilation
        self._images = load_instances(path, crowd)

    def usable(self, names: list[str]) -> list[str]:
        listed = [name for name in names if name in self._images]
        if not listed:
            raise MaskError(
                f"{self.path} lists none of the split's images by file name; give the annotations of this split"
            )
        if len(listed) < len(names):
            log.warning(
                "%d of %d images are not listed in %s and are left out", len(names) - len(listed), len(names), self.path
            )
        bare = sum(1 for name in listed if not self._images[name].objects)
        if bare:
            log.info(
                "%d of %d images have no annotated object: their mask is empty, their distortion 0", bare, len(listed)
            )
        return listed

    def read(self, name: str, height: int, width: int) -> np.ndarray:
        image = self._images[name]
        if (image.height, image.width) != (height, width):
            raise MaskError(f"{name} has {width}x{height} pixels, {self.path} says {image.width}x{image.height}")
        return dilate(self.combine(image.masks(), height, width), self.dilation)

    def objects(self, name: str) -> Iterator[np.ndarray]:
        """The objects of one image one by one, each (H, W) uint8 of 0 and 1."""
        return self._images[name].masks()


@dataclass(frozen=True)
class AnnotatedImage:
    """Size in pixels and objects of one image; ``objects`` is a pickled list of COCO segmentations, b"" for none.

    Pickled because 860,000 live Python lists would be copied into every worker process as their reference counts
    change.
    """

    height: int
    width: int
    objects: bytes

    def masks(self) -> Iterator[np.ndarray]:
        for segmentation in pickle.loads(self.objects) if self.objects else []:
            yield rasterize(segmentation, self.height, self.width)


def load_instances(path: Path, crowd: bool = False) -> dict[str, AnnotatedImage]:
    """Read a COCO instance file into {file_name: `AnnotatedImage`}; `MaskError` when it is not one."""
    try:
        content = json.loads(Path(path).read_bytes())
        images = {image["id"]: image for image in content["images"]}
        segmentations: dict[int, list] = {key: [] for key in images}
        for annotation in content["annotations"]:
            if annotation["image_id"] in segmentations and (crowd or not annotation.get("iscrowd", 0)):
                segmentations[annotation["image_id"]].append(_compact(annotation["segmentation"]))
        return {
            image["file_name"]: AnnotatedImage(int(image["height"]), int(image["width"]), _pickled(segmentations[key]))
            for key, image in images.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MaskError(f"{path} is not a readable COCO instance file ({error!r}); download it again") from error


def rasterize(segmentation: list | dict, height: int, width: int) -> np.ndarray:
    """One COCO segmentation (list of polygons, or RLE with a list or a string of counts) as (height, width) uint8 of 0
    and 1.

    The rasterization is pycocotools', so that masks agree with COCO's own evaluation.
    """
    from pycocotools import mask as coco

    if isinstance(segmentation, dict):
        if list(segmentation["size"]) != [height, width]:
            raise MaskError(
                f"an RLE mask of size {segmentation['size']} does not fit an image of {height}x{width} (H x W)"
            )
        rle = segmentation
        if not isinstance(rle["counts"], (str, bytes)):
            rle = coco.frPyObjects({"size": [height, width], "counts": list(rle["counts"])}, height, width)
        return coco.decode(rle)
    if not segmentation:
        return np.zeros((height, width), np.uint8)
    return coco.decode(coco.merge(coco.frPyObjects([list(polygon) for polygon in segmentation], height, width)))


def _compact(segmentation: list | dict) -> list | dict:
    # pycocotools takes a list of four numbers for a box; a polygon of fewer than three points has no inside.
    if isinstance(segmentation, dict):
        return segmentation
    return [np.asarray(polygon, np.float64) for polygon in segmentation if len(polygon) >= 6]


def _pickled(segmentations: list) -> bytes:
    return pickle.dumps(segmentations, protocol=pickle.HIGHEST_PROTOCOL) if segmentations else b""


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
