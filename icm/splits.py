"""What splits a folder of training images has, and where their images and annotations lie."""

from dataclasses import dataclass
from pathlib import Path

from icm.errors import UserError
from icm.images import list_images

COCO_SPLITS = ("train2017", "val2017")


class DataError(UserError):
    """A data set that is missing or cannot be used; the message names path or setting and the remedy."""


@dataclass(frozen=True)
class Split:
    """One set of images.

    Attributes:
        root: The data set's folder.
        name: Path of the split below ``root``, such as "train2017" or ".".
        folder: Where its images lie, at any depth.
        annotations: Its COCO instance file (which need not exist), or None.
    """

    root: Path
    name: str
    folder: Path
    annotations: Path | None = None

    def images(self) -> list[str]:
        """Paths of the images below ``folder``, with ``/``, sorted; `DataError` when there is none."""
        names = [path.relative_to(self.folder).as_posix() for path in list_images(self.folder)]
        if not names:
            raise DataError(f"{self.folder}: no images in this folder; check data.path")
        return names


def find_split(path: str | Path | None, name: str, annotations: str | None = None, key: str = "data.split") -> Split:
    """One split of a data set.

    Args:
        path: The data set's folder.
        name: The folder of the split's images below ``path``; "." for all of it.
        annotations: COCO instance file, below ``path`` or absolute; ``{split}`` stands for the name of the split's
            folder.
        key: The option that ``name`` came from, for messages.

    Raises:
        DataError: ``path`` is not set, or a folder is missing.
    """
    root = _root(path)
    folder = root / name
    if not folder.is_dir():
        raise DataError(f"{key}={name}: no such folder of images ({folder}); {key}=. takes all of data.path")
    file = root / annotations.format(split=folder.name) if annotations else None
    return Split(root, name, folder, file)


def find_splits(path: str | Path | None, annotations: str | None = None) -> list[Split]:
    """The splits of COCO that a data set has, or, where it has none of them, its whole folder; see `find_split`."""
    root = _root(path)
    names = [name for name in COCO_SPLITS if (root / name).is_dir()] or ["."]
    return [find_split(root, name, annotations) for name in names]


def _root(path: str | Path | None) -> Path:
    if not path:
        raise DataError("data.path is not set: give the data set's folder, such as data.path=COCO")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"data.path={path}: no such folder; give the folder that holds the images")
    return root
