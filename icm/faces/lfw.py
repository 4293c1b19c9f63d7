"""Labeled Faces in the Wild (Huang et al. 2007): the pictures, and the pairs of its verification protocol.

View 2 of the protocol reports the mean over ten folds of 300 pairs of one person and 300 pairs of two; whatever is
fitted for a fold is fitted on the other nine.
"""

import functools
import shutil
import tempfile
from pathlib import Path

from PIL import Image

from icm.download import DownloadError, cache_folder, download
from icm.faces.boxes import KnownFace
from icm.faces.sources import Pair, SourceError, SourceImage, files_of, folder_of, not_read
from icm.files import file_sha256
from icm.images import list_files
from icm.preflight import Problem

_SUBFOLDERS = ("lfw", "lfw_funneled", "lfw-deepfunneled")
_ENLARGED = 2.2  # each picture is the box of a face detector, enlarged by this factor about its centre, at 250 x 250

# The University's own server is switched off at times; the second address is the copy that scikit-learn fetches, with
# the checksums that scikit-learn publishes for both (sklearn/datasets/_lfw.py).
_HOME = "http://vis-www.cs.umass.edu/lfw"
_COPY = "https://ndownloader.figshare.com/files"
_FILES = {
    "pairs.txt": (
        (f"{_HOME}/pairs.txt", f"{_COPY}/5976006"),
        "ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592",
    ),
    "lfw.tgz": (
        (f"{_HOME}/lfw.tgz", f"{_COPY}/5976018"),
        "055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0",
    ),
}
PARTS = ("pairs.txt", "lfw")


class LfwFaces:
    """``faces=lfw``: LFW, or any folder of its layout, ``DIR/NAME/NAME_0001.jpg``, with its pairs files.

    The face of a picture is the one at its centre (Huang et al. 2007): the known face of every picture. With pairs,
    only the pictures that they name are taken.

    Args:
        path: The folder, which holds the people's folders or one of LFW's own folders with them; None: where
            ``python -m icm download lfw`` puts it.
        pairs: A pairs file; None: ``pairs.txt`` in ``path``, where there is one.
        folds: Only the first so many folds; None: all.
    """

    name = "lfw"
    labelled = True

    def __init__(self, path: str | Path | None = None, pairs: str | Path | None = None, folds: int | None = None):
        if path is None and not default_folder().is_dir():
            raise SourceError("faces=lfw needs faces.path=DIR, or run: python -m icm download lfw")
        root = default_folder() if path is None else folder_of("lfw", path)
        if folds is not None and (not isinstance(folds, int) or folds < 1):
            raise SourceError(f"faces.folds={folds}: must be a whole number of at least 1, or null for all folds")
        self.path = next((root / name for name in _SUBFOLDERS if (root / name).is_dir()), root)
        self.folds = folds
        self._pairs_file = root / "pairs.txt" if pairs is None else Path(pairs).expanduser()
        if pairs is not None and not self._pairs_file.is_file():
            raise SourceError(f"faces.pairs={pairs}: no such file")

    @property
    def parameters(self) -> dict:
        return {"path": str(self.path), "folds": self.folds}

    @property
    def version(self) -> str:
        return f"pairs {file_sha256(self._pairs_file)[:12]}" if self._pairs_file.is_file() else ""

    @functools.cached_property
    def pairs(self) -> tuple[tuple[Pair, ...], ...]:
        """The pairs, fold by fold; empty without a pairs file.

        Raises:
            SourceError: The file cannot be read as one, or names a picture that is not there.
        """
        if not self._pairs_file.is_file():
            return ()
        return read_pairs(self._pairs_file, {_stem(image.name): image.name for image in self._all})[: self.folds]

    def preflight(self) -> list[Problem]:
        """The pictures, when there are none.

        Raises:
            SourceError: The pairs cannot be used.
        """
        if not self._all:
            what = f"faces.path={self.path} holds no folder of pictures for each person"
            return [Problem(what, "Name LFW's folder, or run: python -m icm download lfw")]
        self.pairs  # noqa: B018  reads them
        return []

    def images(self) -> list[SourceImage]:
        wanted = {name for fold in self.pairs for pair in fold for name in (pair.first, pair.second)}
        return [image for image in self._all if image.name in wanted or not wanted]

    def ignored(self) -> list[dict[str, str]]:
        return not_read(self.path, [path for path in self._files[1] if path.parent.parent == self.path])

    @functools.cached_property
    def _files(self) -> tuple[list[Path], list[Path]]:
        return list_files(self.path)

    @functools.cached_property
    def _all(self) -> list[SourceImage]:
        paths = [path for path in self._files[0] if path.parent.parent == self.path]
        centre = _central_box(paths)
        images = files_of(self.path, paths)
        people = [path.parent.name for path in paths]
        return [
            SourceImage(image.name, image.load, (KnownFace(person, *centre),), path=image.path)
            for image, person in zip(images, people, strict=True)
        ]


def default_folder() -> Path:
    """Where ``python -m icm download lfw`` puts LFW: ``lfw`` in the cache folder."""
    return cache_folder() / "lfw"


def read_pairs(path: Path, pictures: dict[str, str]) -> tuple[tuple[Pair, ...], ...]:
    """Read a pairs file of LFW: ``pairs.txt`` of view 2, or one of view 1, which is a single fold.

    Args:
        path: The file. Its first line is the number of folds and of pairs of each kind in a fold, or only the latter;
            then come, fold by fold, the pairs of one person (``NAME N N``) and those of two (``NAME N NAME N``).
        pictures: The picture of each ``NAME/NAME_000N``.

    Raises:
        SourceError: With the file and the line, where it is no such file or names a picture that is not there.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        folds, each = (int(number) for number in (["1", *lines[0]][-2:] if lines else []))
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}); name a pairs file") from error
    except ValueError:  # also of bytes that are no text
        raise SourceError(f"{path}, line 1: must be like '10 300', the folds and the pairs of each kind") from None
    if len(lines) - 1 < folds * 2 * each:
        raise SourceError(
            f"{path}: has {len(lines) - 1} pairs, not the {folds * 2 * each} that its first line promises"
        )
    pairs = [_pair(path, number, line, pictures) for number, line in enumerate(lines[1 : 1 + folds * 2 * each], 2)]
    return tuple(tuple(pairs[start : start + 2 * each]) for start in range(0, len(pairs), 2 * each))


def _pair(path: Path, number: int, fields: list[str], pictures: dict[str, str]) -> Pair:
    named = [fields[0], fields[1], fields[0], fields[2]] if len(fields) == 3 else fields
    if len(named) != 4 or not (named[1].isdecimal() and named[3].isdecimal()):
        raise SourceError(f"{path}, line {number}: {' '.join(fields)!r} is no pair: NAME N N or NAME N NAME N")
    stems = [f"{name}/{name}_{int(index):04d}" for name, index in (named[:2], named[2:])]
    for stem in stems:
        if stem not in pictures:
            raise SourceError(
                f"{path}, line {number}: there is no picture {stem} in the folder; get the whole data set"
            )
    return Pair(pictures[stems[0]], pictures[stems[1]], len(fields) == 3)


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _central_box(paths: list[Path]) -> tuple[int, int, int, int]:
    """Where the face is in every picture, whose size is that of the first that can be opened."""
    for path in paths:
        try:
            with Image.open(path) as picture:
                width, height = picture.size
        except OSError:
            continue
        inner = round(width / _ENLARGED), round(height / _ENLARGED)
        return (width - inner[0]) // 2, (height - inner[1]) // 2, *inner
    return 0, 0, 1, 1


def fetch(part: str, folder: Path | None = None, progress: bool = True) -> Path:
    """Put a part of LFW, ``pairs.txt`` or ``lfw`` (13,233 pictures, 180 MB), into a folder.

    Args:
        part: One of `PARTS`.
        folder: None: `default_folder`.
        progress: Show a bar on standard error.

    Returns:
        Where it is.

    Raises:
        DownloadError: No address delivers the file that the checksum tells of, or it cannot be unpacked.
    """
    folder = folder or default_folder()
    if part == "pairs.txt":
        return _download(part, folder, progress)
    pictures = folder / part
    if not pictures.is_dir():
        archive = _download("lfw.tgz", folder, progress)
        try:
            with tempfile.TemporaryDirectory(dir=folder, prefix=".lfw.") as unpacked:
                shutil.unpack_archive(archive, unpacked, "gztar")
                shutil.move(Path(unpacked, part), pictures)
        except (OSError, shutil.ReadError) as error:
            raise DownloadError(f"{archive}: cannot be unpacked ({error}); make room in {folder}, try again") from error
        archive.unlink()
    return pictures


def _download(name: str, folder: Path, progress: bool) -> Path:
    urls, sha256 = _FILES[name]
    failures = []
    for url in urls:
        try:
            return download(url, folder / name, sha256, progress=progress)
        except DownloadError as error:
            failures.append(error)
    raise failures[0]
