"""Where images come from: embedded scenes, a folder, fifteen COCO images, a COCO split."""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icm.download import DownloadError, cache_folder, download, is_complete
from icm.errors import UserError
from icm.faces import demo_scenes
from icm.faces.detection import Box
from icm.files import printable
from icm.images import list_images, read_image
from icm.preflight import Problem

COCO_HOST = "http://images.cocodataset.org"
COCO15 = json.loads(Path(__file__).with_name("coco15.json").read_text())


class SourceError(UserError):
    """A source that cannot be used as it is configured."""


@dataclass(frozen=True)
class KnownFace:
    """Who is where in an image: a box in whole pixels, x and y its top left corner."""

    identity: str
    x: int
    y: int
    width: int
    height: int

    def overlap(self, box: Box) -> float:
        """Intersection over union with a box, 0 to 1."""
        across = min(self.x + self.width, box.x + box.width) - max(self.x, box.x)
        down = min(self.y + self.height, box.y + box.height) - max(self.y, box.y)
        shared = max(0, across) * max(0, down)
        return shared / (self.width * self.height + box.width * box.height - shared)

    def holds_centre(self, box: Box) -> bool:
        """Whether the centre of a box lies inside."""
        x, y = box.x + box.width / 2, box.y + box.height / 2
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


@dataclass(frozen=True)
class SourceImage:
    """An image that has not been read yet.

    Attributes:
        name: Unique within its source.
        load: Reads the pixels, HWC uint8 RGB; raises `icm.images.ImageError` naming a file that cannot be read.
        known_faces: Who is in it, where that is known.
    """

    name: str
    load: Callable[[], np.ndarray]
    known_faces: tuple[KnownFace, ...] = ()

    def identity_of(self, box: Box) -> str | None:
        """Whose face a detected box holds: the known face around its centre that it overlaps most, else None."""
        around = [face for face in self.known_faces if face.holds_centre(box)]
        return max(around, key=lambda face: face.overlap(box)).identity if around else None


class DemoFaces:
    """``faces=demo``: sixteen scenes with twenty faces of two people, made from pictures inside installed packages."""

    name = "demo"

    def preflight(self) -> list[Problem]:
        """The pictures that are missing from the installed packages."""
        return [
            Problem(
                f"faces=demo needs {file}, which the installed package lacks",
                "Run: python -m pip install -r requirements.txt",
            )
            for file in demo_scenes.missing_files()
        ]

    def images(self) -> list[SourceImage]:
        return [
            SourceImage(
                spec.name,
                functools.partial(demo_scenes.compose, spec),
                tuple(KnownFace(person.who, *demo_scenes.face_box(person, spec.size)) for person in spec.people),
            )
            for spec in demo_scenes.SCENES
        ]


class FolderFaces:
    """``faces=folder faces.path=DIR``: every image in a folder and the folders below it."""

    name = "folder"

    def __init__(self, path: str | Path | None = None):
        self.path = _folder("folder", path)

    def preflight(self) -> list[Problem]:
        """The folder, when it holds no image."""
        if list_images(self.path):
            return []
        return [Problem(f"faces.path={self.path} holds no images", "Name a folder with images")]

    def images(self) -> list[SourceImage]:
        return _files(self.path, list_images(self.path))


class Coco15Faces:
    """``faces=coco15``: fifteen photographs of COCO train2017 and val2017 that show faces of a decent size.

    Not the fifteen of the paper, which names none. They are fetched one by one, each with its checksum.

    Args:
        path: Where the images are kept; None: ``coco15`` in the cache folder.
    """

    name = "coco15"

    def __init__(self, path: str | Path | None = None, progress: bool = True):
        self.path = cache_folder() / "coco15" if path is None else Path(path).expanduser()
        self.progress = progress

    def preflight(self) -> list[Problem]:
        """Fetch the images that are missing; when that fails, the first failure and how to place them by hand."""
        missing = [row for row in COCO15 if not is_complete(self._file(row), row["sha256"])]
        try:
            for row in missing:
                self.fetch(row)
        except DownloadError as error:
            what = f"{len(missing)} of the {len(COCO15)} images of faces=coco15 are not in {self.path}: {error}"
            remedy = f"They are {COCO_HOST}/SUBSET/ID.jpg for the subsets and ids in icm/faces/coco15.json"
            return [Problem(what, remedy)]
        return []

    def fetch(self, row: dict) -> Path:
        """Fetch one image of the table. Raises `DownloadError`."""
        url = f"{COCO_HOST}/{row['subset']}/{row['id']:012d}.jpg"
        return download(url, self._file(row), row["sha256"], row["bytes"], self.progress)

    def images(self) -> list[SourceImage]:
        return _files(self.path, [self._file(row) for row in COCO15])

    def _file(self, row: dict) -> Path:
        return self.path / f"{row['id']:012d}.jpg"


class CocoFaces:
    """``faces=coco faces.path=COCO``: every image of a local COCO split; those without a face are skipped later.

    Args:
        path: The COCO root (which holds the split's folder) or the split's folder itself.
        split: Name of the split's folder, e.g. ``val2017``.
        limit: Take only the first so many images, by name; None: all.
    """

    name = "coco"

    def __init__(self, path: str | Path | None = None, split: str = "val2017", limit: int | None = None):
        root = _folder("coco", path)
        self.path = next((folder for folder in (root / split, root / "images" / split) if folder.is_dir()), root)
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise SourceError(f"faces.limit={limit}: must be a whole number of at least 1, or null for all images")
        self.split = split
        self.limit = limit

    def preflight(self) -> list[Problem]:
        """The split, when its folder holds no JPEG."""
        if next(self.path.glob("*.jpg"), None) is not None:
            return []
        what = f"faces.path={self.path} holds no .jpg files and no folder {self.split}"
        return [Problem(what, "Name the COCO root or the split's folder, and the split as faces.split=NAME")]

    def images(self) -> list[SourceImage]:
        return _files(self.path, sorted(self.path.glob("*.jpg"))[: self.limit])


def _folder(source: str, path: str | Path | None) -> Path:
    if path is None or not str(path):
        raise SourceError(f"faces={source} needs faces.path=DIR, the folder of images")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise SourceError(f"faces.path={path}: no such folder")
    return folder


def _files(root: Path, paths: list[Path]) -> list[SourceImage]:
    return [SourceImage(printable(path.relative_to(root)), functools.partial(read_image, path)) for path in paths]
