"""JPEG, WebP, JPEG 2000, AVIF and JPEG XL through Pillow. The payload is the codec's own file, without metadata."""

import io
from dataclasses import dataclass
from importlib.metadata import version as installed
from importlib.util import find_spec

import numpy as np
from PIL import Image, features

from icm.codecs.base import (
    BitstreamError,
    CodecError,
    Container,
    Faces,
    Value,
    check_image,
    choice,
    names,
    pack,
    unpack_for,
    whole_number,
)
from icm.codecs.jxl_header import jxl_size
from icm.images import Pixels
from icm.preflight import Problem


@dataclass(frozen=True)
class _Format:
    label: str
    pillow: str
    library: str
    lowest: int
    highest: int
    quality: int
    subsampling: tuple[str, ...]  # the first is the default
    efforts: tuple[int, int, int] | None = None  # least, greatest, default
    largest_side: int = 65535


_FORMATS = {
    "jpeg": _Format("JPEG", "JPEG", "libjpeg-turbo", 1, 100, 50, ("4:2:0", "4:2:2", "4:4:4"), largest_side=65500),
    "webp": _Format("WebP", "WEBP", "libwebp", 0, 100, 50, ("4:2:0",), (0, 6, 6), largest_side=16383),
    "jpeg2000": _Format("JPEG 2000", "JPEG2000", "openjpeg", 15, 60, 32, ("4:4:4",)),
    "avif": _Format("AVIF", "AVIF", "libavif", 0, 100, 50, ("4:2:0", "4:2:2", "4:4:4"), (0, 10, 4)),
    "jxl": _Format("JPEG XL", "JXL", "libjxl", 1, 99, 50, ("4:4:4",), (1, 9, 7)),
}
_FEATURES = {"jpeg": "libjpeg_turbo", "webp": "webp", "jpeg2000": "jpg_2000", "avif": "avif"}


class StillCodec:
    """``jpeg``, ``webp``, ``jpeg2000``, ``avif`` or ``jxl``.

    Args:
        name: Which of them.
        quality: The codec's own scale, higher is better: jpeg 1..100, webp and avif 0..100, jxl 1..99; for jpeg2000 the
            PSNR in dB that OpenJPEG aims at, 15..60 (met within 0.3 dB on photographs).
        subsampling: Of chroma, as ``4:2:0``; jpeg and avif have a choice.
        effort: Time spent on compression, higher is slower: webp 0..6, avif 0..10 (10 minus libaom's speed), jxl 1..9.

    Raises:
        CodecError: An option is out of its range.
    """

    revision = 1
    variant = None
    baseline_of = ""
    ceiling = False
    uses_faces = False
    max_workers = None

    def __init__(
        self, name: str, quality: int | None = None, subsampling: str | None = None, effort: int | None = None
    ):
        self.name = choice("a still codec", "name", name, tuple(_FORMATS))
        format = _FORMATS[name]
        meaning = "a quality in dB" if name == "jpeg2000" else "a quality"
        wanted = format.quality if quality is None else quality
        self.quality = whole_number(name, "quality", wanted, format.lowest, format.highest, meaning)
        self.subsampling = choice(name, "subsampling", subsampling or format.subsampling[0], format.subsampling)
        self.point: dict[str, Value] = {"quality": self.quality}
        settings: dict[str, Value] = {"subsampling": self.subsampling}
        defaults: dict[str, Value] = {"subsampling": format.subsampling[0]}
        if format.efforts:
            least, greatest, default = format.efforts
            wanted = default if effort is None else effort
            settings["effort"] = self.effort = whole_number(name, "effort", wanted, least, greatest, "an effort")
            defaults["effort"] = default
        elif effort is not None:
            raise CodecError(f"codec.effort={effort}: {name} has no effort setting; leave it out")
        self.parameters = {**self.point, **settings}
        self.title, self.series, self.short = names(format.label, f"quality {self.quality}", settings, defaults)

    @property
    def version(self) -> str:
        library = f"{_FORMATS[self.name].library} {_library_version(self.name)}"
        return f"revision {self.revision} / {_pillow_version()} / {library}"

    def preflight(self) -> list[Problem]:
        if self.name == "jxl":
            present, remedy = find_spec("pillow_jxl") is not None, "Install the package pillow-jxl-plugin."
        else:
            present, remedy = bool(features.check(_FEATURES[self.name])), "Install Pillow as its wheels come."
        return [] if present else [Problem(f"{_FORMATS[self.name].label} is not in this Pillow", remedy)]

    def encode(self, image: Pixels, faces: Faces = ()) -> bytes:
        height, width = check_image(image)
        limit = _FORMATS[self.name].largest_side
        if max(width, height) > limit:
            raise CodecError(f"{self.name} codes sides up to {limit} pixels; this image is {width}x{height}")
        _register_jxl()
        buffer = io.BytesIO()
        try:
            Image.fromarray(image).save(buffer, format=_FORMATS[self.name].pillow, **self._settings(min(width, height)))
        except (OSError, ValueError, RuntimeError) as error:
            raise CodecError(f"{self.name} could not code a picture of {width}x{height}: {error}") from error
        return pack(Container(self.name, self.parameters, width, height, buffer.getvalue()))

    def decode(self, bitstream: bytes) -> Pixels:
        container = unpack_for(bitstream, self.name)
        size = container.width, container.height
        _register_jxl()
        try:
            # This plugin decodes the picture on opening it, so a file that claims to be enormous has to be told before.
            if self.name == "jxl" and jxl_size(container.payload) != size:
                raise BitstreamError(_other_size(jxl_size(container.payload), size))
            with Image.open(io.BytesIO(container.payload), formats=[_FORMATS[self.name].pillow]) as picture:
                if picture.size != size:
                    raise BitstreamError(_other_size(picture.size, size))
                if (picture.format, picture.mode) != (_FORMATS[self.name].pillow, "RGB"):
                    raise BitstreamError(f"its payload is {picture.format} of mode {picture.mode}, not {self.name} RGB")
                # Truncated data is an error as long as ImageFile.LOAD_TRUNCATED_IMAGES is False, Pillow's default.
                return np.array(picture)
        except BitstreamError:
            raise
        except Exception as error:  # Pillow's readers raise nearly any type on damaged bytes
            raise BitstreamError(
                f"its {self.name} payload cannot be decoded: {' '.join(str(error).split())}"
            ) from error

    def _settings(self, shorter_side: int) -> dict[str, object]:
        if self.name == "jpeg":
            return {"quality": self.quality, "subsampling": self.subsampling, "optimize": True}
        if self.name == "webp":
            return {"quality": self.quality, "method": self.effort}
        if self.name == "jpeg2000":
            # Every wavelet level halves the sides; OpenJPEG refuses more levels than the picture has halvings.
            levels = min(6, shorter_side.bit_length())
            return {
                "quality_mode": "dB",
                "quality_layers": [self.quality],
                "irreversible": True,
                "mct": 1,  # YCbCr inside; Pillow leaves RGB as it is, at two thirds more rate
                "no_jp2": True,
                "num_resolutions": levels,
            }
        if self.name == "avif":
            return {
                "quality": self.quality,
                "subsampling": self.subsampling,
                "speed": 10 - self.effort,
                "codec": "aom",
                "range": "full",
                "max_threads": 1,
            }
        return {"quality": self.quality, "effort": self.effort, "num_threads": 1}


def _register_jxl() -> None:
    import pillow_jxl  # noqa: F401  its import adds the format to Pillow


def _pillow_version() -> str:
    import PIL

    return f"Pillow {PIL.__version__}"


def _library_version(name: str) -> str:
    if name == "jxl":
        return f"of pillow-jxl-plugin {installed('pillow-jxl-plugin')}"
    feature = _FEATURES[name]
    return str(features.version_feature(feature) if feature in features.features else features.version(feature))


def _other_size(found: tuple[int, int], promised: tuple[int, int]) -> str:
    return f"its payload is a picture of {found[0]}x{found[1]}; its header promises {promised[0]}x{promised[1]}"
