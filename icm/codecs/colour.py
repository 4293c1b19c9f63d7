"""Colour between RGB images and the 4:2:0 planes that video codecs take, explicit in both directions.

ffmpeg guesses matrix and range where it is not told them, and a wrong guess costs several dB.
"""

from dataclasses import dataclass

import numpy as np

from icm.codecs.base import BitstreamError, choice

MATRICES = ("bt601", "bt709", "bt2020")
RANGES = ("limited", "full")
PIXEL_FORMAT = "yuv420p10le"
BYTES_PER_SAMPLE = 2

_SCALER = "flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp"


@dataclass(frozen=True)
class Colour:
    """A YCbCr space at 10 bits. matrix: ITU-R BT.601, BT.709 or BT.2020; range: ``limited`` (64..940) or ``full``."""

    matrix: str
    range: str

    @classmethod
    def checked(cls, codec: str, matrix: object, range: object) -> "Colour":
        """Raises CodecError for an unknown matrix or range."""
        return cls(choice(codec, "matrix", matrix, MATRICES), choice(codec, "range", range, RANGES))

    @classmethod
    def of(cls, parameters: dict) -> "Colour":
        """The colour a container names. Raises BitstreamError when it names none."""
        matrix, range = parameters.get("matrix"), parameters.get("range")
        if matrix not in MATRICES or range not in RANGES:
            raise BitstreamError(
                f"its header names matrix {matrix!r} and range {range!r}, which this program does not know"
            )
        return cls(matrix, range)

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


def pad(image: np.ndarray, minimum: int) -> np.ndarray:
    """Repeat the right column and bottom row until the picture has its `coded_size`."""
    height, width = image.shape[:2]
    coded_width, coded_height = coded_size(width, height, minimum)
    return np.pad(image, ((0, coded_height - height), (0, coded_width - width), (0, 0)), mode="edge")


def raw_input(image: np.ndarray) -> list[str]:
    """ffmpeg arguments that read ``image``'s bytes from standard input."""
    height, width = image.shape[:2]
    return ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-i", "pipe:0"]


PPM_OUTPUT = ["-frames:v", "1", "-f", "image2pipe", "-c:v", "ppm", "pipe:1"]


def from_ppm(data: bytes, width: int, height: int) -> np.ndarray:
    """The picture in a binary PPM that must have the given size. Raises BitstreamError otherwise."""
    header = b"P6\n%d %d\n255\n" % (width, height)
    if not data.startswith(header) or len(data) != len(header) + 3 * width * height:
        raise BitstreamError(f"its payload does not hold one picture of {width}x{height}, which its header promises")
    return np.frombuffer(data, np.uint8, offset=len(header)).reshape(height, width, 3)
