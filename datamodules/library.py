"""Photographs, their known object edges, and objects cut out of them, held in memory for `datamodules.scenes`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from icm.images import list_images, read_image
from icm.masks.boundaries import at_least, read_boundaries
from icm.masks.edges import MaskError, union_of_edges
from icm.masks.instances import AnnotatedImage, load_instances
from icm.splits import DataError

# Folders of photographs; the data set's other folders are for evaluation and are never opened.
FOLDERS = ("natural", "coco_scenes")
# COCO instance files and what their file names are relative to.
_ANNOTATIONS = (("coco_scenes/instances.json", "coco_scenes/"), ("instances_coco_all.json", ""))
# Share of the photograph that an object covers: smaller ones are specks, larger ones are backgrounds.
_LEAST_AREA, _MOST_AREA = 0.01, 0.4
# Pixels kept around a cut-out, so that its outline can be soft.
_MARGIN = 2


@dataclass(frozen=True)
class Photograph:
    """A photograph and what is known of its objects.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        edges: (H, W) uint8 of 0 and 1, the known object edges.
        drawn: The edges are people's boundaries of everything in the picture (BSDS).
        labelled: Most objects have edges.
    """

    pixels: np.ndarray
    edges: np.ndarray
    drawn: bool
    labelled: bool


@dataclass(frozen=True)
class CutOut:
    """An object.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, a view into its photograph.
        mask: (h, w) uint8 of 0 and 1.
    """

    pixels: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Library:
    """All photographs, and every object that was cut out of them."""

    photographs: list[Photograph]
    cut_outs: list[CutOut]


def boundary_names(root: Path) -> list[str]:
    """Names of the photographs in ``root/natural`` that have a boundary picture in ``root/natural_edges``, sorted.

    Raises:
        DataError: there is none.
    """
    stems = {path.stem for path in (root / "natural_edges").glob("*.png")}
    names = [path.name for path in list_images(root / "natural") if path.stem in stems]
    if not names:
        raise DataError(
            f"{root}: no photograph in natural/ has a boundary picture natural_edges/<stem>.png; check data.path"
        )
    return names


def load_library(root: Path, threshold: float, leave_out: set[str]) -> Library:
    """Read the photographs of `FOLDERS`.

    Args:
        root: The folder they lie in.
        threshold: The least share of annotators that makes a drawn boundary an edge.
        leave_out: Names of photographs of ``root/natural`` that are not read.

    Raises:
        DataError: nothing can be cut out.
        MaskError: a boundary picture or an instance file cannot be used.
    """
    annotated = _annotations(root)
    photographs, cut_outs = [], []
    for folder in FOLDERS:
        for path in list_images(root / folder) if (root / folder).is_dir() else []:
            if folder == "natural" and path.name in leave_out:
                continue
            photograph, masks = _read(root, path, annotated.get(f"{folder}/{path.name}"), threshold)
            photographs.append(photograph)
            cut_outs += [cut for mask in masks if (cut := _cut_out(photograph.pixels, mask)) is not None]
    if not cut_outs:
        raise DataError(f"{root}: found no object to cut out; natural_masks/ or coco_scenes/instances.json are needed")
    return Library(photographs, cut_outs)


def _annotations(root: Path) -> dict[str, AnnotatedImage]:
    found = {}
    for name, prefix in _ANNOTATIONS:
        if (root / name).is_file():
            found |= {prefix + key: image for key, image in load_instances(root / name).items()}
    return found


def _read(
    root: Path, path: Path, annotated: AnnotatedImage | None, threshold: float
) -> tuple[Photograph, list[np.ndarray]]:
    """A photograph and the masks of its objects."""
    pixels = read_image(path)
    size = pixels.shape[:2]
    drawn, people = (root / folder / f"{path.stem}.png" for folder in ("natural_edges", "natural_masks"))
    if drawn.is_file():
        share = read_boundaries(drawn)
        _check_size(share, size, drawn)
        return Photograph(pixels, at_least(share, threshold), True, True), list(_segments(share))
    masks: list[np.ndarray] = []
    if people.is_file():
        index = read_boundaries(people)
        _check_size(index, size, people)
        masks = [(index == person).astype(np.uint8) for person in range(1, int(index.max()) + 1)]
    elif annotated is not None:
        masks = list(annotated.masks())
    labelled = annotated is not None and bool(masks)
    return Photograph(pixels, union_of_edges(masks, *size), False, labelled), masks


def _segments(share: np.ndarray) -> Iterator[np.ndarray]:
    """Regions that boundaries enclose, away from the picture's border, each (H, W) uint8 of 0 and 1."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((share == 0).astype(np.uint8), connectivity=4)
    height, width = share.shape
    for label in range(1, count):
        x, y, w, h, area = stats[label]
        inner = x > 1 and y > 1 and x + w < width - 1 and y + h < height - 1
        # A ragged sliver between two annotators' lines is no object.
        if inner and area >= _LEAST_AREA * share.size and area > 0.3 * w * h:
            yield cv2.dilate((labels == label).astype(np.uint8), np.ones((3, 3), np.uint8))


def _cut_out(pixels: np.ndarray, mask: np.ndarray) -> CutOut | None:
    if not _LEAST_AREA * mask.size <= np.count_nonzero(mask) <= _MOST_AREA * mask.size:
        return None
    x, y, w, h = cv2.boundingRect(mask)
    box = (slice(max(y - _MARGIN, 0), y + h + _MARGIN), slice(max(x - _MARGIN, 0), x + w + _MARGIN))
    return CutOut(pixels[box], np.ascontiguousarray(mask[box]))


def _check_size(picture: np.ndarray, size: tuple[int, int], path: Path) -> None:
    if picture.shape != size:
        raise MaskError(f"{path} has {picture.shape[1]}x{picture.shape[0]} pixels, its photograph {size[1]}x{size[0]}")
