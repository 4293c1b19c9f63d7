"""COCO instance files, packed into a few flat arrays that all processes of a training share.

COCO train2017's 860,000 outlines take 0.2 GB in this form, mapped from files of the cache folder, where lists of Python
take 3.4 GB. Arrays hold no reference counts, whose changes would copy them into every worker process.
"""

import fcntl
import json
import logging
import os
import re
import shutil
import tempfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from icm.download import cache_folder
from icm.files import file_sha256
from icm.masks.edges import MaskError
from icm.metrics.segmentation import check_segmentation

log = logging.getLogger(__name__)

# Raise it whenever the arrays change.
VERSION = 2
# Bytes of an instance file from which its arrays are kept in the cache folder; a smaller one is read in a second.
_LARGE = 64 << 20
_SPACE = re.compile(r"[ \t\r\n]*")
# What reading JSON of any content raises.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
_SUMS = "checksums.json"
_NAMES = ("names", "sizes", "first", "order", "parts", "points", "coordinates", "run_ends", "runs")


@dataclass(frozen=True)
class AnnotatedImage:
    """One image of an instance file.

    Attributes:
        height: Pixels.
        width: Pixels.
        segmentations: One per object: a list of polygons, each (2 n,) float64 of x and y in turn, or a run-length
            encoding {"size", "counts"} as COCO writes it.
    """

    height: int
    width: int
    segmentations: list[list[np.ndarray] | dict]

    def masks(self) -> Iterator[np.ndarray]:
        """The objects one by one, each (height, width) uint8 of 0 and 1."""
        for segmentation in self.segmentations:
            yield rasterize(segmentation, self.height, self.width)


class Instances(Mapping[str, AnnotatedImage]):
    """The images of one instance file by file name, in alphabetical order.

    Args:
        arrays: ``names`` (n,) str, sorted, with ``sizes`` (n, 2) int32 of height and width. The objects of image i are
            ``order[first[i] : first[i + 1]]``. The polygons of object k are ``parts[k]`` to ``parts[k + 1]``; polygon p
            has ``coordinates[points[p] : points[p + 1]]``, int32 hundredths of a pixel or float64 pixels. An object
            without polygons may have a run-length encoding, ``runs[run_ends[k] : run_ends[k + 1]]``, JSON in uint8.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self._arrays = dict(arrays)

    def rows(self, names: list[str]) -> np.ndarray:
        """Where names stand in the alphabetical order, (n,) int64; -1 for a name that is not listed."""
        listed = self._arrays["names"]
        if not len(listed):
            return np.full(len(names), -1)
        # Of the same type, or numpy would convert the whole list of names to the longer one.
        rows = np.searchsorted(listed, np.array(names, listed.dtype)).clip(max=len(listed) - 1)
        return np.where(listed[rows] == np.array(names, str), rows, -1)

    def object_counts(self) -> np.ndarray:
        """Number of objects of every image, (n,) int64, in alphabetical order."""
        return np.diff(self._arrays["first"])

    def __getitem__(self, name: str) -> AnnotatedImage:
        row = self.rows([name])[0]
        if row < 0:
            raise KeyError(name)
        first, order = self._arrays["first"], self._arrays["order"]
        height, width = self._arrays["sizes"][row].tolist()
        objects = order[first[row] : first[row + 1]]
        return AnnotatedImage(height, width, [self._segmentation(number) for number in objects.tolist()])

    def __iter__(self) -> Iterator[str]:
        return map(str, self._arrays["names"])

    def __len__(self) -> int:
        return len(self._arrays["names"])

    def _segmentation(self, number: int) -> list[np.ndarray] | dict:
        parts, points, run_ends = (self._arrays[name] for name in ("parts", "points", "run_ends"))
        runs = self._arrays["runs"][run_ends[number] : run_ends[number + 1]]
        if len(runs):
            return json.loads(runs.tobytes())
        coordinates = self._arrays["coordinates"]
        scale = 1 if coordinates.dtype == np.float64 else 100
        ends = points[parts[number] : parts[number + 1] + 1].tolist()
        return [coordinates[start:end] / scale for start, end in pairwise(ends)]


def load_instances(path: Path | str, crowd: bool = False) -> Instances:
    """Read a COCO instance file.

    What a large one was packed into is kept in the cache folder by the file's checksum, and mapped into memory; where
    it cannot be kept, each process holds its own.

    Args:
        path: The JSON file.
        crowd: Whether regions marked ``iscrowd`` count as objects.

    Raises:
        MaskError: it is not a readable instance file.
    """
    path = Path(path)
    try:
        return Instances(_mapped(path, crowd) if path.stat().st_size >= _LARGE else pack(path, crowd))
    except _UNREADABLE as error:
        # Not its repr: that of a UnicodeDecodeError holds the whole file.
        reason = f"{type(error).__name__}: {error}"[:200]
        raise MaskError(f"{path} is not a readable COCO instance file ({reason}); download it again") from error


def pack(path: Path, crowd: bool) -> dict[str, np.ndarray]:
    """The arrays of `Instances`; raises one of `_UNREADABLE` when the file holds something else."""
    rows: dict[int | str, int] = {}
    images: dict[int, tuple[str, int, int]] = {}
    owners, parts, points, run_ends = array("i"), array("q", [0]), array("q", [0]), array("q", [0])
    coordinates, runs = array("d"), bytearray()

    def add_image(image: dict) -> None:
        row = rows.setdefault(image["id"], len(rows))
        images[row] = (image["file_name"], int(image["height"]), int(image["width"]))

    def add_object(annotation: dict) -> None:
        if annotation.get("iscrowd", 0) and not crowd:
            return
        owners.append(rows.setdefault(annotation["image_id"], len(rows)))
        segmentation = annotation["segmentation"]
        if isinstance(segmentation, dict):
            runs.extend(json.dumps({"size": segmentation["size"], "counts": segmentation["counts"]}).encode())
        else:
            # pycocotools takes a list of four numbers for a box; a polygon of fewer than three points has no inside.
            for polygon in segmentation:
                if len(polygon) >= 6:
                    coordinates.extend(polygon)
                    points.append(len(coordinates))
        parts.append(len(points) - 1)
        run_ends.append(len(runs))

    _each_element(path.read_bytes().decode("utf-8"), {"images": add_image, "annotations": add_object})
    by_name = {name: (row, height, width) for row, (name, height, width) in images.items()}
    names = sorted(by_name)
    # The place of each row in the alphabetical order; rows of images that are not listed come last.
    place = np.full(len(rows), len(names))
    place[[by_name[name][0] for name in names]] = np.arange(len(names))
    owner = place[np.frombuffer(owners, np.int32)]
    order = np.argsort(owner, kind="stable").astype(np.int32)
    return {
        "names": np.array(names, str),
        "sizes": np.array([by_name[name][1:] for name in names], np.int32).reshape(-1, 2),
        "first": np.searchsorted(owner[order], np.arange(len(names) + 1)),
        "order": order,
        "parts": np.frombuffer(parts, np.int64),
        "points": np.frombuffer(points, np.int64),
        "coordinates": _hundredths(np.frombuffer(coordinates, np.float64)),
        "run_ends": np.frombuffer(run_ends, np.int64),
        "runs": np.frombuffer(bytes(runs), np.uint8),
    }


def rasterize(segmentation: list | dict, height: int, width: int) -> np.ndarray:
    """One COCO segmentation as pycocotools rasterizes it, so that masks agree with COCO's own evaluation.

    Args:
        segmentation: List of polygons, or a run-length encoding with a list or a string of counts.
        height: Pixels.
        width: Pixels.

    Returns:
        (height, width) uint8 of 0 and 1.

    Raises:
        MaskError: a segmentation that makes no sense, or is of another size.
    """
    from pycocotools import mask as coco

    if not isinstance(segmentation, dict):
        segmentation = [np.asarray(polygon).tolist() for polygon in segmentation]
    try:
        check_segmentation(segmentation, height, width)
    except ValueError as error:
        raise MaskError(f"an outline cannot be drawn: {error}") from error
    if not segmentation:
        return np.zeros((height, width), np.uint8)
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], (str, bytes)):
        return coco.decode(segmentation)
    encoded = coco.frPyObjects(segmentation, height, width)
    return coco.decode(encoded if isinstance(segmentation, dict) else coco.merge(encoded))


def _mapped(path: Path, crowd: bool) -> dict[str, np.ndarray]:
    """`pack`, kept in the cache folder and mapped from there."""
    folder = cache_folder() / "instances" / f"v{VERSION}-{file_sha256(path)}{'-crowd' * crowd}"
    arrays = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with open(folder.parent / ".lock", "w") as lock:
            # The other processes of a training wait for the first, and then take what it has packed.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if mapped := _load(folder):
                return mapped
            arrays = pack(path, crowd)
            _save(arrays, folder)
            return _load(folder) or arrays
    except OSError as error:
        log.warning("%s cannot be written (%s): every process packs %s for itself", folder, error, path)
        return arrays or pack(path, crowd)


def _load(folder: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a folder; None where there are none, or others than were saved."""
    try:
        arrays = {name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in _NAMES}
        sums = json.loads((folder / _SUMS).read_bytes())
    except (OSError, ValueError, EOFError):
        return None
    return arrays if sums == _checksums(arrays) else None


def _checksums(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    return {name: zlib.crc32(np.ascontiguousarray(values).view(np.uint8).data) for name, values in arrays.items()}


def _save(arrays: Mapping[str, np.ndarray], folder: Path) -> None:
    """The folder appears whole or not at all. The caller holds the lock: another's unfinished one is abandoned."""
    for abandoned in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        for name, values in arrays.items():
            np.save(temporary / f"{name}.npy", values)
        (temporary / _SUMS).write_text(json.dumps(_checksums(arrays)))
        temporary.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _hundredths(values: np.ndarray) -> np.ndarray:
    """``values`` (float64) times 100 as int32, half the size, where that loses nothing: COCO gives two decimals."""
    whole = np.empty(len(values), np.int32)
    for start in range(0, len(values), 1 << 16):
        block = values[start : start + (1 << 16)]
        scaled = np.rint(block * 100)
        if not (np.abs(scaled) < 2**31).all() or not np.array_equal(scaled / 100, block):
            return values
        whole[start : start + len(block)] = scaled
    return whole


def _each_element(text: str, handlers: Mapping[str, Callable[[dict], None]]) -> None:
    """Parse a JSON object member by member and the arrays that have a handler element by element.

    An instance file as one tree of Python objects takes eight times its size.

    Raises:
        ValueError: the text is no JSON object.
        KeyError: a member that has a handler is missing or no array.
    """
    scan = json.JSONDecoder().raw_decode

    def past(at: int, mark: str = "") -> int:
        space = _SPACE.match(text, at)
        at = space.end() if space else at
        if not text.startswith(mark, at):
            raise ValueError(f"expected {mark!r} at character {at}")
        return at + len(mark)

    wanted, at = set(handlers), past(past(0, "{"))
    while True:
        key, at = scan(text, at)
        at = past(past(at, ":"))
        if key in handlers and text.startswith("[", at):
            wanted.discard(key)
            at = past(at + 1)
            while not text.startswith("]", at):
                element, at = scan(text, at)
                handlers[key](element)
                at = past(at)
                if not text.startswith("]", at):
                    at = past(past(at, ","))
            at += 1
        else:
            _, at = scan(text, at)
        at = past(at)
        if text.startswith("}", at):
            break
        at = past(past(at, ","))
    if past(at + 1) < len(text):
        raise ValueError(f"more than one value, from character {at + 1} on")
    if wanted:
        raise KeyError(sorted(wanted)[0])
