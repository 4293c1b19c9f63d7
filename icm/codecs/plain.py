"""The two ends of every comparison: no coding at all, and only the colour round trip that every 4:2:0 codec pays."""

import numpy as np

from icm.codecs import ffmpeg
from icm.codecs.base import BitstreamError, Container, Faces, Value, check_image, names, pack, unpack_for
from icm.codecs.colour import BYTES_PER_SAMPLE, PIXEL_FORMAT, PPM_OUTPUT, Colour, coded_size, from_ppm, pad, raw_input
from icm.images import Pixels
from icm.preflight import Problem


class NoCodec:
    """``none``: the payload is the image's RGB bytes, and they come back as they were."""

    name = "none"
    title = series = "No codec"
    short = ""
    revision = 1
    version = f"revision {revision}"
    variant = None
    baseline_of = ""
    ceiling = True
    uses_faces = False
    max_workers = None

    def __init__(self) -> None:
        self.point: dict[str, Value] = {}
        self.parameters: dict[str, Value] = {}

    def preflight(self) -> list[Problem]:
        return []

    def encode(self, image: Pixels, faces: Faces = ()) -> bytes:
        height, width = check_image(image)
        return pack(Container(self.name, self.parameters, width, height, image.tobytes()))

    def decode(self, bitstream: bytes) -> Pixels:
        container = unpack_for(bitstream, self.name)
        expected = 3 * container.width * container.height
        _check_length(container, expected)
        return np.frombuffer(container.payload, np.uint8).reshape(container.height, container.width, 3).copy()


class ColourOnly:
    """``yuv420``: RGB to 10-bit 4:2:0 planes and back, the ceiling of every 4:2:0 codec; the payload is the raw planes.

    Args:
        matrix, range: See `icm.codecs.colour.Colour`.

    Raises:
        CodecError: There is no such matrix or range.
    """

    name = "yuv420"
    revision = 1
    variant = None
    baseline_of = ""
    ceiling = True
    uses_faces = False
    max_workers = None

    def __init__(self, matrix: str = "bt601", range: str = "limited"):
        self.colour = Colour.checked(self.name, matrix, range)
        self.point: dict[str, Value] = {}
        self.parameters: dict[str, Value] = dict(vars(self.colour))
        self.title, self.series, self.short = names("4:2:0 only", "", self.parameters, vars(Colour()))

    @property
    def version(self) -> str:
        return f"revision {self.revision} / {ffmpeg.version()}"

    def preflight(self) -> list[Problem]:
        return ffmpeg.preflight()

    def encode(self, image: Pixels, faces: Faces = ()) -> bytes:
        height, width = check_image(image)
        return pack(Container(self.name, self.parameters, width, height, to_planes(pad(image, 2), self.colour)))

    def decode(self, bitstream: bytes) -> Pixels:
        container = unpack_for(bitstream, self.name)
        colour = Colour.of(container.parameters)
        width, height = coded_size(container.width, container.height, 2)
        _check_length(container, width * height * 3 // 2 * BYTES_PER_SAMPLE)
        arguments = ["-f", "rawvideo", "-pix_fmt", PIXEL_FORMAT, "-s", f"{width}x{height}", "-i", "pipe:0"]
        done = ffmpeg.ffmpeg([*arguments, "-vf", colour.to_rgb(), *PPM_OUTPUT], width * height, container.payload)
        return from_ppm(done.stdout, width, height)[: container.height, : container.width].copy()


def to_planes(image: Pixels, colour: Colour) -> bytes:
    """The raw planes (Y, Cb, Cr; 16-bit little-endian words of 10 bits) of an image with even sides."""
    arguments = [*raw_input(image), "-vf", colour.to_planes(), "-frames:v", "1", "-f", "rawvideo", "pipe:1"]
    return ffmpeg.ffmpeg(arguments, image.shape[0] * image.shape[1], image.tobytes()).stdout


def _check_length(container: Container, expected: int) -> None:
    if len(container.payload) != expected:
        size = f"{container.width}x{container.height}"
        raise BitstreamError(f"its payload has {len(container.payload)} bytes; a {size} picture needs {expected}")
