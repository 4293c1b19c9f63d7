"""Photographs, their known object edges, and objects cut out of them, held in memory for `datamodules.scenes`."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from datamodules.compose import Box
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
# Boxes that a detector is less sure of are no faces often enough.
_LEAST_CONFIDENCE = 0.8


@dataclass(frozen=True)
class Photograph:
    """A photograph and what is known of its objects.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        edges: (H, W) uint8 of 0 and 1, the known object edges.
        drawn: The edges are people's boundaries of everything in the picture (BSDS).
        labelled: Most objects have edges.
        faces: Boxes of the faces in it, where they were asked for.
    """

    pixels: np.ndarray
    edges: np.ndarray
    drawn: bool
    labelled: bool
    faces: tuple[Box, ...] = ()


@dataclass(frozen=True)
class CutOut:
    """An object.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, a view into its photograph.
        mask: (h, w) uint8 of 0 and 1.
        faces: Boxes of the faces in it.
    """

    pixels: np.ndarray
    mask: np.ndarray
    faces: tuple[Box, ...] = ()


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


def load_library(root: Path, threshold: float, leave_out: set[str], faces: Path | None = None) -> Library:
    """Read the photographs of `FOLDERS`.

    Args:
        root: The folder they lie in.
        threshold: The least share of annotators that makes a drawn boundary an edge.
        leave_out: Names of photographs of ``root/natural`` that are not read.
        faces: A CSV file of face boxes (`read_faces`); None: no photograph has any.

    Raises:
        DataError: nothing can be cut out, or the file of faces cannot be used.
        MaskError: a boundary picture or an instance file cannot be used.
    """
    annotated = _annotations(root)
    boxes = read_faces(faces) if faces else {}
    photographs, cut_outs = [], []
    for folder in FOLDERS:
        for path in list_images(root / folder) if (root / folder).is_dir() else []:
            if folder == "natural" and path.name in leave_out:
                continue
            name = f"{folder}/{path.name}"
            photograph, masks = _read(root, path, annotated.get(name), threshold)
            photograph = replace(photograph, faces=tuple(boxes.get(name, ())))
            photographs.append(photograph)
            cut_outs += [cut for mask in masks if (cut := _cut_out(photograph, mask)) is not None]
    if not cut_outs:
        raise DataError(f"{root}: found no object to cut out; natural_masks/ or coco_scenes/instances.json are needed")
    return Library(photographs, cut_outs)


def read_faces(path: Path) -> dict[str, list[Box]]:
    """Boxes of faces by the picture's path below the data folder.

    The file has a header with ``path``, ``x``, ``y``, ``w``, ``h`` (pixels) and ``confidence`` (0 to 1); boxes below
    0.8 are passed by.

    Raises:
        DataError: it cannot be read, or a row is not of that form.
    """
    found: dict[str, list[Box]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                x, y, w, h, confidence = (float(row[name]) for name in ("x", "y", "w", "h", "confidence"))
                if not all(map(math.isfinite, (x, y, w, h))):
                    raise ValueError(f"a box of {row['path']} is not finite")
                if confidence >= _LEAST_CONFIDENCE and min(w, h) > 0:
                    found.setdefault(row["path"], []).append((x, y, w, h))
    except (OSError, UnicodeDecodeError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            f"data.faces={path}: not a CSV file with path,x,y,w,h,confidence in every row: {error}"
        ) from None
    return found


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


def _cut_out(photograph: Photograph, mask: np.ndarray) -> CutOut | None:
    if not _LEAST_AREA * mask.size <= np.count_nonzero(mask) <= _MOST_AREA * mask.size:
        return None
    x, y, w, h = cv2.boundingRect(mask)
    top, left = max(y - _MARGIN, 0), max(x - _MARGIN, 0)
    box = (slice(top, y + h + _MARGIN), slice(left, x + w + _MARGIN))
    faces = tuple(
        (face_x - left, face_y - top, face_w, face_h)
        for face_x, face_y, face_w, face_h in photograph.faces
        if _set_at(mask, face_y + face_h / 2, face_x + face_w / 2)
    )
    return CutOut(photograph.pixels[box], np.ascontiguousarray(mask[box]), faces)


def _set_at(mask: np.ndarray, y: float, x: float) -> bool:
    return 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and bool(mask[int(y), int(x)])


def _check_size(picture: np.ndarray, size: tuple[int, int], path: Path) -> None:
    if picture.shape != size:
        raise MaskError(f"{path} has {picture.shape[1]}x{picture.shape[0]} pixels, its photograph {size[1]}x{size[0]}")
