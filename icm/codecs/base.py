"""What a codec is, and the ``.icm`` container its bytes travel in.

Layout of a container, version 1 (integers big-endian):

========================  =============================================================================
4 bytes                   magic, ``89 49 43 4D`` (the high bit of the first shows a text-mode transfer)
1 byte                    version
1 byte + n                codec id, ASCII
1 byte + n                weights id: raw bytes of the hexadecimal id of a learned codec's weights, or none
4 bytes, 4 bytes          width, height in pixels
2 bytes + n               parameters, canonical JSON (sorted keys, no spaces, ASCII)
4 bytes + n               payload
8 bytes                   BLAKE2b-64 of everything before
========================  =============================================================================
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from icm.errors import UserError
from icm.images import MAX_PIXELS

MAGIC = b"\x89ICM"
VERSION = 1
CHECKSUM_BYTES = 8

Value = int | float | str | bool


class BitstreamError(UserError):
    """Bytes that cannot be decoded; the message says what is wrong with them."""


class CodecError(UserError):
    """A codec cannot do what was asked: a bad option, an image it has no room for, a failing tool."""


@runtime_checkable
class Codec(Protocol):
    """Turns an image into bytes that any process turns back into an image.

    name: the codec's id, as in ``codec=vvc``.
    point: the operating point: ``{"qp": 37}``, ``{"quality": 10}``, ``{"rate": "mid"}``; empty for a codec without one.
    parameters: every setting that shapes the bitstream, the point included; JSON values only.
    version: the tools that shape the bytes, with their versions.
    max_workers: images worth coding at once; None is the number of cores.
    """

    name: str
    point: dict[str, int | float | str]
    parameters: dict[str, Value]
    version: str
    max_workers: int | None

    def encode(self, image: np.ndarray) -> bytes:
        """Code ``image``, (height, width, 3) uint8 RGB of full range, at least 1x1, into a whole container.

        Raises CodecError when the codec cannot code it.
        """
        ...

    def decode(self, bitstream: bytes) -> np.ndarray:
        """The (height, width, 3) uint8 RGB image of full range, from the bytes alone, whatever this codec's settings.

        Raises BitstreamError when the bytes are damaged or another codec's.
        """
        ...


@dataclass(frozen=True)
class Container:
    """The content of an ``.icm`` file. Sizes are of the original image in pixels; ``weights_id`` is hexadecimal."""

    codec: str
    parameters: dict[str, Value]
    width: int
    height: int
    payload: bytes
    weights_id: str = ""


def pack(container: Container) -> bytes:
    """The bytes of ``container``. Raises CodecError when a field does not fit the format."""
    codec = container.codec.encode("ascii")
    weights = bytes.fromhex(container.weights_id)
    parameters = json.dumps(container.parameters, sort_keys=True, separators=(",", ":"), allow_nan=False).encode(
        "ascii"
    )
    for field, size, limit in (
        ("codec id", len(codec), 0xFF),
        ("weights id", len(weights), 0xFF),
        ("parameters", len(parameters), 0xFFFF),
        ("payload", len(container.payload), 0xFFFFFFFF),
    ):
        if size > limit:
            raise CodecError(f"{container.codec}: {field} of {size} bytes; an .icm file holds at most {limit}")
    check_size(container.width, container.height)
    content = b"".join(
        (
            MAGIC,
            struct.pack(">BB", VERSION, len(codec)),
            codec,
            struct.pack(">B", len(weights)),
            weights,
            struct.pack(">IIH", container.width, container.height, len(parameters)),
            parameters,
            struct.pack(">I", len(container.payload)),
            container.payload,
        )
    )
    return content + _checksum(content)


def unpack(bitstream: bytes) -> Container:
    """Read a container and check every byte of it.

    Raises BitstreamError naming what is wrong: not an .icm file, another version, truncated, trailing bytes, damaged.
    """
    reader = _Reader(bytes(bitstream))
    if not bitstream:
        raise BitstreamError("the file is empty, not an .icm file")
    if bitstream[: len(MAGIC)] != MAGIC[: len(bitstream)]:
        raise BitstreamError(f"not an .icm file: it starts with {bytes(bitstream[:4]).hex()}, not {MAGIC.hex()}")
    reader.take(len(MAGIC), "magic")
    version = reader.take(1, "version")[0]
    if version != VERSION:
        raise BitstreamError(f"version {version} of the .icm format; this program reads version {VERSION}: update it")
    codec = reader.sized(1, "codec id")
    weights = reader.sized(1, "weights id")
    width, height = struct.unpack(">II", reader.take(8, "image size"))
    parameters = reader.sized(2, "parameters")
    payload = reader.sized(4, "payload")
    end = reader.position
    checksum = reader.take(CHECKSUM_BYTES, "checksum")
    if len(bitstream) > reader.position:
        raise BitstreamError(f"{len(bitstream) - reader.position} bytes follow the end of the .icm file")
    if checksum != _checksum(reader.data[:end]):
        raise BitstreamError("damaged: the checksum does not match the content; get the file again")
    try:
        check_size(width, height)
        return Container(codec.decode("ascii"), _read_parameters(parameters), width, height, payload, weights.hex())
    except (CodecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BitstreamError(f"the header makes no sense: {error}") from error


def unpack_for(codec: str, bitstream: bytes) -> Container:
    """`unpack`, and a BitstreamError unless ``codec`` wrote it."""
    container = unpack(bitstream)
    if container.codec != codec:
        raise BitstreamError(f"coded by {container.codec!r}, not by {codec!r}; icm.codecs.decode reads every codec's")
    return container


def payload_size(bitstream: bytes) -> int:
    """Bytes of the codec's own payload inside a container. Raises BitstreamError like `unpack`."""
    return len(unpack(bitstream).payload)


def check_size(width: int, height: int) -> None:
    """Raise CodecError unless the size is at least 1x1 and at most `icm.images.MAX_PIXELS`."""
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise CodecError(f"an image of {width}x{height}: sizes go from 1x1 to {MAX_PIXELS} pixels")


def check_image(image: np.ndarray) -> tuple[int, int]:
    """(height, width) of an (height, width, 3) uint8 image; CodecError for any other array."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise CodecError(f"an array of shape {image.shape}, {image.dtype}: codecs take (height, width, 3), uint8, RGB")
    check_size(image.shape[1], image.shape[0])
    return image.shape[:2]


def whole_number(codec: str, field: str, value: object, low: int, high: int, meaning: str) -> int:
    """``value`` as an int within [low, high]; CodecError naming ``codec.field``, the value and the range."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = number and float(value).is_integer()
    if not whole or not low <= value <= high:
        raise CodecError(
            f"codec.{field}={value}: {codec} takes {meaning} from {low} to {high}; choose one in that range"
        )
    return int(value)


def choice(codec: str, field: str, value: object, values: tuple[str, ...]) -> str:
    """``value`` if it is one of ``values``; CodecError naming ``codec.field``, the value and the choices."""
    if value not in values:
        raise CodecError(f"codec.{field}={value}: {codec} takes one of {', '.join(values)}")
    return str(value)


class _Reader:
    def __init__(self, data: bytes):
        self.data = data
        self.position = 0

    def take(self, count: int, what: str) -> bytes:
        left = len(self.data) - self.position
        if count > left:
            raise BitstreamError(f"truncated or damaged: the {what} needs {count} bytes, {left} are left")
        self.position += count
        return self.data[self.position - count : self.position]

    def sized(self, length_bytes: int, what: str) -> bytes:
        return self.take(int.from_bytes(self.take(length_bytes, f"length of the {what}"), "big"), what)


def _read_parameters(data: bytes) -> dict[str, Value]:
    parameters = json.loads(data.decode("ascii"))
    if not isinstance(parameters, dict) or not all(isinstance(v, int | float | str) for v in parameters.values()):
        raise ValueError("its parameters are not a flat JSON object of numbers, text and truth values")
    return parameters


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=CHECKSUM_BYTES).digest()
