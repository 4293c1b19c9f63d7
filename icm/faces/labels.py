"""Who is in which picture: labels files.

A labels file is a CSV file (UTF-8, commas) with a header. ``image`` or ``file`` is the picture's path below the folder;
``identity`` or ``person_id`` (else ``person``, ``name`` or ``label``) says who it shows, and is empty where nobody
knows; ``x``, ``y``, ``width`` and ``height`` are the box of the face in pixels, where there are boxes. A picture has
one row without a box, or any number of rows with one. Other columns are not looked at.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from icm.errors import UserError
from icm.faces.boxes import KnownFace

_IMAGE = (("image", "file"),)
_IDENTITY = (("identity", "person_id"), ("person", "name", "label"))
_BOX = ("x", "y", "width", "height")
_Corners = tuple[int, int, int, int]


class LabelError(UserError):
    """A labels file that cannot be used; the message names the file, the line, the value and the remedy."""


@dataclass(frozen=True)
class Label:
    """What is known of one picture.

    Attributes:
        person: Whom it shows, where it is told without a box.
        faces: The faces in it, where boxes tell of them.
    """

    person: str | None = None
    faces: tuple[KnownFace, ...] = ()


def read_labels(path: Path, pictures: Iterable[str], others: Iterable[str] = ()) -> dict[str, Label]:
    """Read a labels file.

    Args:
        path: The CSV file.
        pictures: Paths below the folder of the pictures there are, with ``/``.
        others: Paths of files that are there and are no pictures this program reads: rows that name one are passed by.

    Returns:
        The label of every picture that has a row, by its path.

    Raises:
        LabelError: The file cannot be read, its header is not understood, a row names a picture that is not there,
            repeats another row, or has a box that is none.
    """
    known, passed = set(pictures), set(others)
    rows: dict[str, dict[_Corners | None, tuple[str | None, int]]] = {}
    for line, image, person, box in _rows(path):
        if image in passed:
            continue
        if image not in known:
            raise LabelError(f"{path}, line {line}: there is no picture {image} in the folder; mend or delete the row")
        earlier = rows.setdefault(image, {})
        if earlier and (box is None or None in earlier or box in earlier):
            _, first = earlier.get(box) or next(iter(earlier.values()))
            remedy = "keep one of them, or give each the box of another face (x,y,width,height)"
            raise LabelError(f"{path}, line {line}: {image} has a row already, line {first}; {remedy}")
        earlier[box] = person, line
    if not rows:
        raise LabelError(f"{path}: no row names a picture; name one in each row below the header")
    return {image: _label(found) for image, found in rows.items()}


def _label(rows: Mapping[_Corners | None, tuple[str | None, int]]) -> Label:
    if None in rows:
        return Label(rows[None][0])
    return Label(faces=tuple(KnownFace(person, *box) for box, (person, _) in rows.items() if box is not None))


def _rows(path: Path) -> Iterator[tuple[int, str, str | None, _Corners | None]]:
    """Line number, picture, person and box of every row that is not empty."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [column.strip().lower() for column in next(reader, [])]
            image, identity, box = _columns(path, header)
            for fields in reader:
                if not any(field.strip() for field in fields):
                    continue
                if len(fields) != len(header):
                    problem = f"{len(fields)} fields under a header of {len(header)}; put quotes around commas in names"
                    raise LabelError(f"{path}, line {reader.line_num}: {problem}")
                values = [field.strip() for field in fields]
                name = values[image].replace("\\", "/").removeprefix("./")
                yield reader.line_num, name, values[identity] or None, _box(path, reader.line_num, box, values)
    except OSError as error:
        raise LabelError(f"faces.labels={path}: cannot be read ({error.strerror}); name a CSV file") from error
    except UnicodeDecodeError as error:
        raise LabelError(f"faces.labels={path}: is no UTF-8 text; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise LabelError(f"{path}, line {reader.line_num}: is no CSV ({error}); save the file as CSV") from error


def _columns(path: Path, header: list[str]) -> tuple[int, int, list[int]]:
    """Where the picture, the person and the box are; no box columns at all: an empty list."""
    boxes = [name for name in _BOX if name in header]
    if boxes and len(boxes) < len(_BOX):
        missing = ", ".join(name for name in _BOX if name not in header)
        raise LabelError(f"{path}, line 1: the header has {', '.join(boxes)} but not {missing}; a box needs all four")
    return (
        _column(path, header, _IMAGE, "a picture"),
        _column(path, header, _IDENTITY, "a person"),
        [header.index(name) for name in boxes],
    )


def _column(path: Path, header: list[str], groups: tuple[tuple[str, ...], ...], what: str) -> int:
    """The column that names ``what``: the only one of the first group that has any."""
    for names in groups:
        found = [column for column in header if column in names]
        if len(found) > 1:
            problem = f"{' and '.join(found)} both name {what}; keep one of these columns"
            raise LabelError(f"{path}, line 1: {problem}")
        if found:
            return header.index(found[0])
    choices = " or ".join(groups[0])
    problem = f"the header {','.join(header)!r} has no column for {what}; call one {choices} (columns end at commas)"
    raise LabelError(f"{path}, line 1: {problem}")


def _box(path: Path, line: int, columns: list[int], values: list[str]) -> _Corners | None:
    texts = [values[column] for column in columns]
    if not any(texts):
        return None
    try:
        x, y, width, height = (round(float(text)) for text in texts)
    except (ValueError, OverflowError):
        width = height = 0
    if width < 1 or height < 1:
        remedy = "x,y,width,height are pixels, width and height at least 1; leave all four empty for no box"
        raise LabelError(f"{path}, line {line}: {','.join(texts)} is no box; {remedy}")
    return x, y, width, height
