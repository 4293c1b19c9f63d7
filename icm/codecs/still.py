"""JPEG, WebP, JPEG 2000, AVIF and JPEG XL through Pillow. The payload is the codec's own file, without metadata."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, features

from icm.codecs.base import (
    BitstreamError,
    CodecError,
    Container,
    check_image,
    choice,
    pack,
    unpack_for,
    whole_number,
)
from icm.codecs.jxl_header import jxl_size


@dataclass(frozen=True)
class _Format:
    pillow: str
    library: str
    lowest: int
    highest: int
    quality: int
    subsampling: tuple[str, ...]  # the first is the default
    efforts: tuple[int, int, int] | None = None  # least, greatest, default
    largest_side: int = 65535


_FORMATS = {
    "jpeg": _Format("JPEG", "libjpeg-turbo", 1, 100, 50, ("4:2:0", "4:2:2", "4:4:4"), largest_side=65500),
    "webp": _Format("WEBP", "libwebp", 0, 100, 50, ("4:2:0",), (0, 6, 6), largest_side=16383),
    "jpeg2000": _Format("JPEG2000", "openjpeg", 15, 60, 32, ("4:4:4",)),
    "avif": _Format("AVIF", "libavif", 0, 100, 50, ("4:2:0", "4:2:2", "4:4:4"), (0, 10, 4)),
    "jxl": _Format("JXL", "libjxl", 1, 99, 50, ("4:4:4",), (1, 9, 7)),
}
_FEATURES = {"jpeg": "libjpeg_turbo", "webp": "webp", "jpeg2000": "jpg_2000", "avif": "avif"}


class StillCodec:
    """``jpeg``, ``webp``, ``jpeg2000``, ``avif`` or ``jxl``.

    quality: the codec's own scale, higher is better: jpeg 1..100, webp and avif 0..100, jxl 1..99;
    for jpeg2000 the PSNR in dB that OpenJPEG aims at, 15..60 (met within 0.3 dB on photographs).
    subsampling: of chroma, as ``4:2:0``; jpeg and avif have a choice.
    effort: time spent on compression, higher is slower: webp 0..6, avif 0..10 (10 minus libaom's speed), jxl 1..9.
    """

    max_workers = None

    def __init__(
        self, name: str, quality: int | None = None, subsampling: str | None = None, effort: int | None = None
    ):
        format = _FORMATS[name]
        self.name = name
        meaning = "a quality in dB" if name == "jpeg2000" else "a quality"
        wanted = format.quality if quality is None else quality
        self.quality = whole_number(name, "quality", wanted, format.lowest, format.highest, meaning)
        self.subsampling = choice(name, "subsampling", subsampling or format.subsampling[0], format.subsampling)
        self.point: dict[str, int | float] = {"quality": self.quality}
        self.parameters: dict[str, int | float | str | bool] = {**self.point, "subsampling": self.subsampling}
        if format.efforts:
            least, greatest, default = format.efforts
            self.effort = whole_number(
                name, "effort", default if effort is None else effort, least, greatest, "an effort"
            )
            self.parameters["effort"] = self.effort
        elif effort is not None:
            raise CodecError(f"codec.effort={effort}: {name} has no effort setting; leave it out")

    @property
    def version(self) -> str:
        return f"{_pillow_version()} / {_FORMATS[self.name].library} {_library_version(self.name)}"

    def encode(self, image: np.ndarray) -> bytes:
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

    def decode(self, bitstream: bytes) -> np.ndarray:
        container = unpack_for(self.name, bitstream)
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

    def _settings(self, shorter_side: int) -> dict:
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
        from importlib.metadata import version

        return f"of pillow-jxl-plugin {version('pillow-jxl-plugin')}"
    feature = _FEATURES[name]
    return str(features.version_feature(feature) if feature in features.features else features.version(feature))


def _other_size(found: tuple[int, int], promised: tuple[int, int]) -> str:
    return f"its payload is a picture of {found[0]}x{found[1]}; its header promises {promised[0]}x{promised[1]}"
