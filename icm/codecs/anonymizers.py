"""Privacy baselines: blur, pixelation, a black box, lower resolution. They hide faces and code nothing.

They fit the codec protocol, so that they are measured as codecs are: ``encode`` changes the picture, at the faces that
it is given or everywhere, and the payload is the changed picture as a lossless WebP file, which ``decode`` reads. Their
rate is that of lossless coding and no merit of theirs.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import PIL
from PIL import Image, ImageFilter, features

from icm.codecs.base import (
    BitstreamError,
    CodecError,
    Container,
    Faces,
    Value,
    check_image,
    choice,
    names,
    number,
    pack,
    unpack_for,
    whole_number,
)
from icm.images import Pixels
from icm.preflight import Problem

_LARGEST_SIDE = 16383
REGIONS = ("faces", "picture")


# Each method gets the pixels of a region, its amount, and the shorter side of the whole face (or picture), of which the
# region is what lies inside the picture.


def _blur(region: Image.Image, strength: float, side: int) -> Image.Image:
    # Pillow's Gaussian is three box blurs: as good as the exact one, and no slower for a wide one.
    return region.filter(ImageFilter.GaussianBlur(strength * side))


def _pixelate(region: Image.Image, blocks: float, side: int) -> Image.Image:
    small = _divided(region, max(side / blocks, 1))
    return region.resize(small, Image.Resampling.BOX).resize(region.size, Image.Resampling.NEAREST)


def _mask(region: Image.Image, amount: float, side: int) -> Image.Image:
    return Image.new("RGB", region.size)


def _downscale(region: Image.Image, factor: float, side: int) -> Image.Image:
    return region.resize(_divided(region, factor), Image.Resampling.BOX).resize(region.size, Image.Resampling.BICUBIC)


def _divided(region: Image.Image, factor: float) -> tuple[int, int]:
    return max(round(region.width / factor), 1), max(round(region.height / factor), 1)


@dataclass(frozen=True)
class _Method:
    label: str
    apply: Callable[[Image.Image, float, int], Image.Image]
    option: str = ""  # the name of its amount, where it has one
    unit: str = ""  # of the amount, in titles
    default: float = 0  # a whole number where only those are allowed
    least: float = 0
    greatest: int = 0
    regions: tuple[str, ...] = REGIONS  # the first is the default


_METHODS = {
    "blur": _Method("Blur", _blur, "strength", "", 0.1, 0.01, 1),
    "pixelate": _Method("Pixelate", _pixelate, "blocks", " blocks", 8, 1, 1024),
    "mask": _Method("Black box", _mask, regions=("faces",)),
    "downscale": _Method("Downscale", _downscale, "factor", "", 4.0, 1, 1024, regions=("picture",)),
}


class Anonymizer:
    """``blur``, ``pixelate``, ``mask`` or ``downscale``.

    Args:
        name: Which of them.
        region: What is changed: ``faces``, the boxes given to `encode`, one after the other; or the whole ``picture``.
            ``mask`` takes faces only, ``downscale`` pictures only.
        amount: One of these, by name:
            ``strength`` of ``blur``: the Gaussian's standard deviation over the shorter side of the region, 0.01..1;
            ``blocks`` of ``pixelate``: squares of one colour, their mean, across the region's shorter side, 1..1024;
            ``factor`` of ``downscale``: the area-averaged picture is that much smaller each way before bicubic
            interpolation brings it back, 1..1024.

    Raises:
        CodecError: An option is out of its range, or another method's.
    """

    revision = 1
    variant = None
    baseline_of = ""
    ceiling = True  # their rate is that of a picture kept without loss: no point of a rate curve
    max_workers = None

    def __init__(self, name: str, region: str | None = None, **amount: float):
        self.name = choice("an anonymizer", "name", name, tuple(_METHODS))
        self._method = method = _METHODS[name]
        self.region = choice(name, "region", region or method.regions[0], method.regions)
        if others := sorted(set(amount) - {method.option}):
            raise CodecError(f"codec.{others[0]}={amount[others[0]]}: {name} has no such option; leave it out")
        self.point: dict[str, Value] = {}
        self._amount = method.default
        if method.option:
            checked = whole_number if isinstance(method.default, int) else number
            value = amount.get(method.option, method.default)
            self._amount = checked(name, method.option, value, method.least, method.greatest)
            self.point = {method.option: self._amount}
        self.parameters: dict[str, Value] = {**self.point, "region": self.region}
        self.uses_faces = self.region == "faces"
        short = f"{self._amount:.12g}{method.unit}" if method.option else ""
        self.title, self.series, self.short = names(
            method.label, short, {"region": self.region}, {"region": method.regions[0]}
        )

    @property
    def version(self) -> str:
        return f"revision {self.revision} / {tools()}"

    def preflight(self) -> list[Problem]:
        return check_webp()

    def encode(self, image: Pixels, faces: Faces = ()) -> bytes:
        height, width = check_sides(self.name, image)
        picture = Image.fromarray(image).copy()
        for x, y, across, down in faces if self.uses_faces else [(0, 0, width, height)]:
            box = max(x, 0), max(y, 0), min(x + across, width), min(y + down, height)
            if box[0] < box[2] and box[1] < box[3]:
                picture.paste(self._method.apply(picture.crop(box), self._amount, min(across, down)), box)
        return store(self.name, self.parameters, np.asarray(picture))

    def decode(self, bitstream: bytes) -> Pixels:
        return restore(self.name, bitstream)


def store(name: str, parameters: Mapping[str, Value], picture: Pixels) -> bytes:
    """The container of a changed picture, (height, width, 3) uint8 RGB: its payload is a lossless WebP file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="WEBP", lossless=True, quality=50, method=4)
    return pack(Container(name, parameters, picture.shape[1], picture.shape[0], buffer.getvalue()))


def restore(name: str, bitstream: bytes) -> Pixels:
    """The picture of a container that `store` wrote.

    Raises:
        BitstreamError: The bytes are damaged or another codec's.
    """
    container = unpack_for(bitstream, name)
    try:
        with Image.open(io.BytesIO(container.payload), formats=["WEBP"]) as picture:
            if picture.size != (container.width, container.height):
                raise BitstreamError(f"its payload is a picture of {picture.size}, unlike its header")
            return np.array(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise BitstreamError(f"its payload cannot be decoded: {' '.join(str(error).split())}") from error


def check_webp() -> list[Problem]:
    """What keeps `store` from working."""
    missing = Problem("WebP is not in this Pillow", "Install Pillow as its wheels come.")
    return [] if features.check("webp") else [missing]


def check_sides(name: str, image: Pixels) -> tuple[int, int]:
    """(height, width) of an image that `store` takes.

    Raises:
        CodecError: It is none, or larger than WebP allows.
    """
    height, width = check_image(image)
    if max(width, height) > _LARGEST_SIDE:
        raise CodecError(f"{name} takes sides up to {_LARGEST_SIDE} pixels; this image is {width}x{height}")
    return height, width


def tools() -> str:
    """The versions of what shapes a stored picture."""
    return f"Pillow {PIL.__version__} / libwebp {features.version('webp')}"
