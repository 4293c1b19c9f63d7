"""Images on disk: every kind a user has becomes (height, width, 3) uint8 RGB of full range.

Choices, so that they are the same everywhere:

- transparent pixels are composited on white;
- 16-bit samples become 8-bit ones by division by 257 with rounding, so that 0 stays 0 and 65535 becomes 255;
- the EXIF orientation is applied;
- the first frame of an animation and the first page of a TIFF are taken;
- colour profiles are not applied: sample values are read as sRGB, as codec research does;
- images of more than `MAX_PIXELS` are refused before they are decoded.
"""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from icm.errors import UserError
from icm.files import atomic_write

# (height, width, 3) uint8 RGB of full range.
Pixels = NDArray[np.uint8]

MAX_PIXELS = 2**28
_PHOTOGRAPHS = (".avif", ".heic", ".heif", ".hif", ".jfif", ".jpe", ".jpeg", ".jpg", ".jxl", ".webp", ".j2k", ".jp2")
_OTHERS = (".bmp", ".gif", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff")
SUFFIXES = frozenset((*_PHOTOGRAPHS, *_OTHERS))
# What lies beside images and is none: not worth a word.
_COMPANIONS = frozenset((".csv", ".db", ".ini", ".json", ".md", ".txt", ".xml", ".yaml", ".yml"))
BACKGROUND = 255

# Pillow warns from 89 megapixels on and raises an error of its own from 179; the limit here is one clear line instead.
Image.MAX_IMAGE_PIXELS = None

_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(UserError):
    """A file that is no readable image, or a folder without images; the message names it."""


def read_image(path: Path | str) -> Pixels:
    """Read an image file; see the module for alpha, 16 bit and EXIF.

    Returns:
        (height, width, 3) uint8 RGB of full range.

    Raises:
        ImageError: It is missing, empty, truncated, no image, or larger than `MAX_PIXELS`; names the file.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    if not data:
        raise ImageError(f"{path}: the file is empty (0 bytes); get it again")
    try:
        return _decode(data)
    except UserError as error:
        raise ImageError(f"{path}: {error}") from error
    except Exception as error:  # Pillow's readers raise nearly any type on damaged bytes
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "not an image this program reads" if unknown else " ".join(str(error).split())
        raise ImageError(f"{path}: cannot be decoded ({reason}); the file may be truncated or damaged") from error


def write_png(path: Path | str, image: Pixels) -> Path:
    """Write (height, width, 3) uint8 RGB as a PNG file, whole or not at all. Returns the path."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return atomic_write(path, buffer.getvalue())


def list_images(folder: Path | str) -> list[Path]:
    """The images of `list_files`."""
    return list_files(folder)[0]


def list_files(folder: Path | str) -> tuple[list[Path], list[Path]]:
    """All files under a folder, sorted by their path below it. Hidden files and folders are left out.

    Returns:
        Those whose suffix is in `SUFFIXES` (any case), and the others that could be pictures of a kind not read
        (``.psd``, ``.mp4``): not what usually lies beside images, as lists and notes do.

    Raises:
        ImageError: It is not a folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder")
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in names if not name.startswith(".")]
    found.sort(key=lambda path: path.relative_to(folder).as_posix())
    images = [path for path in found if path.suffix.lower() in SUFFIXES]
    return images, [path for path in found if path.suffix.lower() not in SUFFIXES | _COMPANIONS]


def _decode(data: bytes) -> Pixels:
    import pillow_jxl  # noqa: F401  registers JPEG XL with Pillow

    if data[4:8] == b"ftyp":  # the container of HEIC, and of AVIF
        import pillow_heif

        pillow_heif.register_heif_opener()
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ImageError(
                f"{width}x{height} is more than {MAX_PIXELS} pixels, the most this program takes; scale it down"
            )
        deep = _is_deep_colour(image)
        image.load()
        rgb = _read_deep_colour(data) if deep else _to_rgb(image)
        # JPEG XL decoders turn the picture themselves; Pillow turns TIFF, and libheif HEIC, and the tag is dropped.
        orientation = 1 if image.format == "JXL" else image.getexif().get(_ORIENTATION, 1)
    if orientation in _TRANSPOSE:
        rgb = np.asarray(Image.fromarray(rgb).transpose(_TRANSPOSE[orientation]))
    return np.array(rgb, order="C")


def _is_deep_colour(image: Any) -> bool:
    """Whether a PNG or TIFF has 16-bit colour samples, of which Pillow would keep only the high byte."""
    if image.mode not in ("RGB", "RGBA"):
        return False
    if image.format == "TIFF":
        deep = 16 in image.tag_v2.get(258, ())
        if deep and image.tag_v2.get(284) == 2:
            raise ImageError(
                "a 16-bit TIFF with separate colour planes is not supported; save it with interleaved samples"
            )
        return deep
    return image.format == "PNG" and any(";16" in str(tile.args) for tile in image.tile)


def _read_deep_colour(data: bytes) -> Pixels:
    import cv2

    samples = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint16 or samples.ndim != 3:
        raise ImageError("its 16-bit samples cannot be decoded; save it as an ordinary 8-bit or 16-bit PNG")
    order = [2, 1, 0, 3][: samples.shape[2]]
    return _on_background(_from_16_bit(samples)[..., order])


def _to_rgb(image: Image.Image) -> Pixels:
    if image.mode.startswith("I"):
        return _deep_gray(image)
    if image.mode == "F":
        raise ImageError("its samples are floating-point numbers of unknown range; save it as 8-bit or 16-bit integers")
    if image.has_transparency_data:
        return _on_background(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def _deep_gray(image: Image.Image) -> Pixels:
    samples = np.asarray(image)
    if samples.min() < 0 or samples.max() > 0xFFFF:
        raise ImageError("its 32-bit samples exceed 16 bits; save it as 8-bit or 16-bit integers")
    gray = _from_16_bit(samples)
    transparent = image.info.get("transparency")
    gray = gray if transparent is None else np.where(samples == transparent, np.uint8(BACKGROUND), gray)
    return np.repeat(gray[..., None], 3, axis=2)


def _from_16_bit(samples: NDArray[Any]) -> Pixels:
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _on_background(image: Pixels) -> Pixels:
    if image.shape[2] == 3:
        return image
    alpha = image[..., 3:].astype(np.uint32)
    return ((image[..., :3] * alpha + BACKGROUND * (255 - alpha) + 127) // 255).astype(np.uint8)
