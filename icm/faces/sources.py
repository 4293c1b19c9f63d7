"""Where images come from: embedded scenes, a folder with or without labels, fifteen COCO images, a COCO split."""

import functools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from icm.download import DownloadError, cache_folder, download, is_complete
from icm.errors import UserError
from icm.faces import demo_scenes
from icm.faces.boxes import Box, KnownFace
from icm.faces.deepface_setup import versions
from icm.faces.labels import Label, read_labels
from icm.files import file_sha256, printable
from icm.images import list_files, read_image
from icm.parts import Part
from icm.preflight import Problem

COCO_HOST = "http://images.cocodataset.org"
COCO15 = json.loads(Path(__file__).with_name("coco15.json").read_text())
FOLDERS = "folders"  # faces.labels=folders: one folder for each person


class SourceError(UserError):
    """A source that cannot be used as it is configured."""


class Pair(NamedTuple):
    """Two pictures (`SourceImage.name`) and whether they show the same person."""

    first: str
    second: str
    genuine: bool


@dataclass(frozen=True)
class SourceImage:
    """An image that has not been read yet.

    Attributes:
        name: Unique within its source.
        load: Reads the pixels, HWC uint8 RGB; raises `icm.images.ImageError` naming a file that cannot be read.
        known_faces: The faces that labels tell of by a box.
        person: Whom the whole image shows, where labels tell it without a box.
        path: Its file, where it has one.
    """

    name: str
    load: Callable[[], np.ndarray]
    known_faces: tuple[KnownFace, ...] = ()
    person: str | None = None
    path: Path | None = None

    def identities(self, boxes: Sequence[Box]) -> list[str | None]:
        """Whose face each box holds, as far as labels tell without a guess.

        A known face names the box that it overlaps most of those whose centre it holds, and no second one. Without
        known faces, the image's person names a single box; where there are several, nobody says which is whose.

        Args:
            boxes: Every face found in this image.

        Returns:
            Names or None, one for each box.
        """
        if not self.known_faces:
            return [self.person] if len(boxes) == 1 else [None] * len(boxes)
        matches = sorted(
            (-known.overlap(box), face, number)
            for face, known in enumerate(self.known_faces)
            for number, box in enumerate(boxes)
            if known.holds_centre(box)
        )
        names: dict[int, int] = {}
        for _, face, number in matches:
            if number not in names and face not in names.values():
                names[number] = face
        return [self.known_faces[names[n]].identity if n in names else None for n in range(len(boxes))]


class Source(Part, Protocol):
    """Where the images of a job come from; an option of conf/faces.

    Attributes:
        labelled: Whether it tells who somebody is.
        pairs: The pairs of its verification protocol, fold by fold; empty where it has none.
    """

    @property
    def labelled(self) -> bool: ...

    @property
    def pairs(self) -> Sequence[Sequence[Pair]]: ...

    def images(self) -> list[SourceImage]:
        """The images in order."""
        ...

    def ignored(self) -> list[dict[str, str]]:
        """Files among them of a kind that is not read, as ``{"image": name, "reason": why}``."""
        ...


class Shard:
    """Every ``count``-th image of a source, from ``index`` on; in all else the source itself, but for its pairs.

    Attributes:
        whole: The source.
        index, count: Which part.
        title: ``index/count``.
    """

    pairs = ()

    def __init__(self, whole: Source, index: int, count: int):
        self.whole, self.index, self.count = whole, index, count
        self.name, self.parameters, self.version = whole.name, whole.parameters, whole.version
        self.labelled = whole.labelled
        self.title = f"{index}/{count}"

    def preflight(self) -> list[Problem]:
        return self.whole.preflight()

    def images(self) -> list[SourceImage]:
        return self.whole.images()[self.index :: self.count]

    def ignored(self) -> list[dict[str, str]]:
        return []


class DemoFaces:
    """``faces=demo``: sixteen scenes with twenty faces of two people, made from pictures inside installed packages."""

    name = "demo"
    labelled = True
    pairs = ()

    @property
    def parameters(self) -> dict:
        return {}

    @property
    def version(self) -> str:
        packages = versions("scikit-image", "matplotlib", "opencv-contrib-python-headless")
        return f"{packages}, revision {demo_scenes.REVISION}"

    def preflight(self) -> list[Problem]:
        """The pictures that are missing from the installed packages."""
        return [
            Problem(
                f"faces=demo needs {file}, which the installed package lacks",
                "Run: python -m pip install -r requirements.txt",
            )
            for file in demo_scenes.missing_files()
        ]

    def ignored(self) -> list[dict[str, str]]:
        return []

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
    """``faces=folder`` and ``faces=identities``: every image in a folder and the folders below it.

    Args:
        path: The folder.
        labels: Who is who: a CSV file (`icm.faces.labels`), or ``folders`` for one folder of images for each person;
            None where nobody knows.
        name: What results call it.
    """

    pairs = ()

    def __init__(self, path: str | Path | None = None, labels: str | Path | None = None, name: str = "folder"):
        self.name = name
        self.path = folder_of(name, path)
        self.labels = labels if labels is None or labels == FOLDERS else Path(labels).expanduser()

    @property
    def parameters(self) -> dict:
        return {"path": str(self.path), "labels": None if self.labels is None else str(self.labels)}

    @property
    def version(self) -> str:
        return f"labels {file_sha256(self.labels)[:12]}" if isinstance(self.labels, Path) else ""

    @property
    def labelled(self) -> bool:
        return any(label.person or any(face.identity for face in label.faces) for label in self._labels.values())

    def preflight(self) -> list[Problem]:
        """The folder, when it holds no image, or no folder for a person.

        Raises:
            icm.faces.labels.LabelError: The labels cannot be used.
        """
        images, others = self._files
        if not images:
            kinds = Counter(map(_kind, others))
            unread = ", ".join(f"{count} files of kind {kind}" for kind, count in kinds.items())
            what = f"faces.path={self.path} holds no images" + (f"; not read: {unread}" if unread else "")
            return [Problem(what, "Name a folder with images")]
        if not self.labelled and self.labels == FOLDERS:
            what = f"faces.path={self.path} holds images, but no folder of images for each person"
            return [Problem(what, "Make one folder for each person, or name a labels file: faces.labels=CSV")]
        return []

    def images(self) -> list[SourceImage]:
        images, _ = self._files
        nobody = Label()
        return [
            SourceImage(image.name, image.load, label.faces, label.person, image.path)
            for image in files_of(self.path, images)
            for label in [self._labels.get(image.name, nobody)]
        ]

    def ignored(self) -> list[dict[str, str]]:
        return not_read(self.path, self._files[1])

    @functools.cached_property
    def _files(self) -> tuple[list[Path], list[Path]]:
        images, others = list_files(self.path)
        labels = self.labels.resolve() if isinstance(self.labels, Path) else None
        return images, [path for path in others if path.resolve() != labels]

    @functools.cached_property
    def _labels(self) -> dict[str, Label]:
        images, others = self._files
        if self.labels is None:
            return {}
        if isinstance(self.labels, Path):
            return read_labels(self.labels, map(self._name, images), map(self._name, others))
        return {self._name(path): Label(self._name(path).split("/")[0]) for path in images if path.parent != self.path}

    def _name(self, path: Path) -> str:
        return printable(path.relative_to(self.path))


class Coco15Faces:
    """``faces=coco15``: fifteen photographs of COCO train2017 and val2017 that show faces of a decent size.

    Not the fifteen of the paper, which names none. They are fetched one by one, each with its checksum.

    Args:
        path: Where the images are kept; None: ``coco15`` in the cache folder.
    """

    name = "coco15"
    labelled = False
    pairs = ()

    def __init__(self, path: str | Path | None = None, progress: bool = True):
        self.path = cache_folder() / "coco15" if path is None else Path(path).expanduser()
        self.progress = progress

    @property
    def parameters(self) -> dict:
        return {}

    @property
    def version(self) -> str:
        return f"coco15.json {file_sha256(Path(__file__).with_name('coco15.json'))[:12]}"

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
        return files_of(self.path, [self._file(row) for row in COCO15])

    def ignored(self) -> list[dict[str, str]]:
        return []

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
    labelled = False
    pairs = ()

    def __init__(self, path: str | Path | None = None, split: str = "val2017", limit: int | None = None):
        root = folder_of("coco", path)
        self.path = next((folder for folder in (root / split, root / "images" / split) if folder.is_dir()), root)
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise SourceError(f"faces.limit={limit}: must be a whole number of at least 1, or null for all images")
        self.split = split
        self.limit = limit

    @property
    def parameters(self) -> dict:
        return {"path": str(self.path), "limit": self.limit}

    @property
    def version(self) -> str:
        return ""

    def preflight(self) -> list[Problem]:
        """The split, when its folder holds no JPEG."""
        if next(self.path.glob("*.jpg"), None) is not None:
            return []
        what = f"faces.path={self.path} holds no .jpg files and no folder {self.split}"
        return [Problem(what, "Name the COCO root or the split's folder, and the split as faces.split=NAME")]

    def images(self) -> list[SourceImage]:
        return files_of(self.path, sorted(self.path.glob("*.jpg"))[: self.limit])

    def ignored(self) -> list[dict[str, str]]:
        return []


def folder_of(source: str, path: str | Path | None) -> Path:
    """The folder that ``faces.path`` names. Raises SourceError when it names none."""
    if path is None or not str(path):
        raise SourceError(
            f"faces={source} needs faces.path=DIR (data.path=DIR under an experiment that has it), the folder of images"
        )
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise SourceError(f"faces.path={path}: no such folder")
    return folder


def files_of(root: Path, paths: Sequence[Path]) -> list[SourceImage]:
    """Image files below a folder, named by their path there."""
    return [
        SourceImage(printable(path.relative_to(root)), functools.partial(read_image, path), path=path) for path in paths
    ]


def not_read(root: Path, paths: Sequence[Path]) -> list[dict[str, str]]:
    """Files below a folder of a kind that is not read, as `Source.ignored` tells of them."""
    return [
        {"image": printable(path.relative_to(root)), "reason": f"files of kind {_kind(path)} are not read"}
        for path in paths
    ]


def _kind(path: Path) -> str:
    return path.suffix.lower() or "(none)"
