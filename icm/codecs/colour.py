"""Colour between RGB images and the 4:2:0 planes that video codecs take, explicit in both directions.

ffmpeg guesses matrix and range where it is not told them, and a wrong guess costs several dB.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from icm.codecs.base import BitstreamError, Value, choice
from icm.images import Pixels

MATRICES = ("bt601", "bt709", "bt2020")
RANGES = ("limited", "full")
PIXEL_FORMAT = "yuv420p10le"
BYTES_PER_SAMPLE = 2

_SCALER = "flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp"


@dataclass(frozen=True)
class Colour:
    """A YCbCr space at 10 bits.

    Attributes:
        matrix: ``bt601``, ``bt709`` or ``bt2020`` (ITU-R BT.601, BT.709, BT.2020).
        range: ``limited`` (luma 64..940) or ``full`` (0..1023).
    """

    matrix: str = "bt601"
    range: str = "limited"

    @classmethod
    def checked(cls, codec: str, matrix: object, range: object) -> "Colour":
        """The colour of a codec's options.

        Raises:
            CodecError: The matrix or range is unknown.
        """
        return cls(choice(codec, "matrix", matrix, MATRICES), choice(codec, "range", range, RANGES))

    @classmethod
    def of(cls, parameters: Mapping[str, Value]) -> "Colour":
        """The colour that a container's parameters name.

        Raises:
            BitstreamError: They name none, or one that is not known.
        """
        matrix, range = parameters.get("matrix"), parameters.get("range")
        if matrix not in MATRICES or range not in RANGES:
            raise BitstreamError(
                f"its header names matrix {repr(matrix)[:40]} and range {repr(range)[:40]}, which are not known here"
            )
        return cls(str(matrix), str(range))

    def to_planes(self) -> str:
        """ffmpeg filter from full-range RGB to the planes."""
        scale = f"scale=in_range=full:out_range={self.range}:out_color_matrix={self.matrix}:{_SCALER}"
        return f"{scale},format={PIXEL_FORMAT}"

    def to_rgb(self) -> str:
        """ffmpeg filter from the planes to full-range RGB, rounded."""
        scale = f"scale=in_range={self.range}:out_range=full:in_color_matrix={self.matrix}:{_SCALER}"
        return f"{scale},format=gbrp,format=rgb24"


def coded_size(width: int, height: int, minimum: int) -> tuple[int, int]:
    """(width, height) of the picture a codec gets: even, for 4:2:0, and at least ``minimum`` (even) each way."""
    return max(width + width % 2, minimum), max(height + height % 2, minimum)


def pad(image: Pixels, minimum: int) -> Pixels:
    """Repeat the right column and bottom row until the picture has its `coded_size`."""
    height, width = image.shape[:2]
    coded_width, coded_height = coded_size(width, height, minimum)
    return np.pad(image, ((0, coded_height - height), (0, coded_width - width), (0, 0)), mode="edge")


def raw_input(image: Pixels) -> list[str]:
    """ffmpeg arguments that read ``image``'s bytes from standard input."""
    height, width = image.shape[:2]
    return ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-i", "pipe:0"]


PPM_OUTPUT = ["-frames:v", "1", "-f", "image2pipe", "-c:v", "ppm", "pipe:1"]


def from_ppm(data: bytes, width: int, height: int) -> Pixels:
    """The picture in a binary PPM.

    Raises:
        BitstreamError: It is not one picture of the given size.
    """
    header = b"P6\n%d %d\n255\n" % (width, height)
    if not data.startswith(header) or len(data) != len(header) + 3 * width * height:
        raise BitstreamError(f"its payload does not hold one picture of {width}x{height}, which its header promises")
    return np.frombuffer(data, np.uint8, offset=len(header)).reshape(height, width, 3)
