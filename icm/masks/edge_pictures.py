"""Edges kept as 1-bit PNG pictures: reading one takes a fiftieth of deriving it from an image's masks."""

import io
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from icm.files import atomic_write

# Raise it whenever the edges of the same masks change.
VERSION = 1
_KEY = "icm-edges"


def read_edges(path: Path, origin: str) -> np.ndarray | None:
    """The edges in a picture that `write_edges` wrote for the same ``origin``, (H, W) uint8 of 0 and 1.

    None when the picture is missing or damaged, or holds the edges of something else.
    """
    try:
        with Image.open(io.BytesIO(path.read_bytes())) as picture:
            edges, mark = np.asarray(picture), picture.info[_KEY]
    except Exception:  # Pillow raises nearly any type on damaged bytes
        return None
    return edges.view(np.uint8) if edges.dtype == bool and mark == _mark(edges, origin) else None


def write_edges(path: Path, edges: np.ndarray, origin: str) -> None:
    """Keep edges (H, W) uint8 of 0 and 1 as a picture, whole or not at all.

    Args:
        path: The PNG file to write.
        edges: What to keep.
        origin: Tells what they were derived from; one line.

    Raises:
        WriteError: It cannot be written.
    """
    info, buffer = PngInfo(), io.BytesIO()
    info.add_text(_KEY, _mark(edges, origin))
    Image.fromarray(edges != 0).save(buffer, format="PNG", pnginfo=info)
    atomic_write(path, buffer.getvalue())


def _mark(edges: np.ndarray, origin: str) -> str:
    return f"{VERSION} {origin} {zlib.crc32(np.packbits(edges).tobytes()):08x}"
