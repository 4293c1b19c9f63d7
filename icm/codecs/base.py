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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from icm.errors import UserError
from icm.images import MAX_PIXELS, Pixels
from icm.parts import Part

MAGIC = b"\x89ICM"
VERSION = 1
CHECKSUM_BYTES = 8

Value = int | float | str | bool
Faces = Sequence[tuple[int, int, int, int]]


class BitstreamError(UserError):
    """Bytes that cannot be decoded; the message says what is wrong with them."""


class CodecError(UserError):
    """A codec cannot do what was asked: a bad option, an image it has no room for, a failing tool."""


@runtime_checkable
class Codec(Part, Protocol):
    """Turns an image into bytes that any process turns back into an image.

    A codec whose decoder needs more than the bytes (weights) also has a class method
    ``for_decoding(weights_id, checkpoint)`` that makes one; see `icm.codecs.decoder`.

    Attributes:
        name: The codec's id, which is also its file in conf/codec and its name in a container.
        parameters: Every setting that shapes the bitstream, the point included.
        version: The tools that shape the bytes, with their versions, and the revision.
        revision: Of the class: raise it with every change of the code that changes a codec's bytes or decoded pictures,
            or finished work in the cache would pass for the new code's.
        point: The operating point: ``{"qp": 37}``, ``{"quality": 10}``, ``{"rate": "mid"}``; empty where there is none.
        title: Names the codec at this point and with these settings, unlike any other: ``VVC QP 37``, ``SA-ICM mid``.
        series: Names the curve that the point lies on: ``VVC``, ``VVC, preset fast``, ``SA-ICM control``.
        short: What sets the point apart on its curve: ``QP 37``, ``mid``; empty where there is no point.
        variant: Which of a family of networks it is: ``edge``, ``control``; else None.
        baseline_of: The series that this one is the baseline of; ``*`` for every one, empty for none.
        ceiling: Whether it codes nothing, so that it is no point of a rate curve.
        uses_faces: Whether ``encode`` makes use of ``faces``.
        max_workers: Images worth coding at once; None is the number of cores.
    """

    revision: int
    point: dict[str, Value]
    title: str
    series: str
    short: str
    variant: str | None
    baseline_of: str
    ceiling: bool
    uses_faces: bool
    max_workers: int | None

    def encode(self, image: Pixels, faces: Faces = ()) -> bytes:
        """Code an image into a whole container.

        Args:
            image: (height, width, 3) uint8 RGB of full range, at least 1x1.
            faces: (x, y, width, height) of every face in whole pixels; only `uses_faces` codecs look at them.

        Raises:
            CodecError: The codec cannot code it.
        """
        ...

    def decode(self, bitstream: bytes) -> Pixels:
        """The (height, width, 3) uint8 RGB image of full range, from the bytes alone, whatever this codec's settings.

        Raises:
            BitstreamError: The bytes are damaged or another codec's.
        """
        ...


@runtime_checkable
class DrawsOnPeople(Protocol):
    """What a codec is besides that changes a face with the help of other people's, such as k-same.

    A job shows it the people before it codes; without them it codes no face.
    """

    def among(self, people: Sequence[Pixels]) -> Codec:
        """The codec that draws on these people.

        Args:
            people: One face of each person, (height, width, 3) uint8 RGB.

        Raises:
            CodecError: They are too few.
        """
        ...


def names(label: str, short: str, settings: Mapping[str, Value], defaults: Mapping[str, Value]) -> tuple[str, str, str]:
    """``(title, series, short)`` of a codec: its label, its point, and every setting that is not at its default.

    Args:
        label: The codec's readable name, such as ``VVC``.
        short: What sets the point apart, such as ``QP 37``.
        settings: All settings but the point's, by name.
        defaults: Their default values; a setting without one always shows.
    """
    changed = [f"{name} {value}" for name, value in settings.items() if value != defaults.get(name)]
    return ", ".join([f"{label} {short}".strip(), *changed]), ", ".join([label, *changed]), short


@dataclass(frozen=True)
class Container:
    """The content of an ``.icm`` file.

    Attributes:
        codec: The codec's id, ASCII.
        parameters: Its settings.
        width, height: Of the original image, in pixels.
        payload: The codec's own bytes.
        weights_id: Names a learned codec's weights, hexadecimal; empty for any other codec.
    """

    codec: str
    parameters: Mapping[str, Value]
    width: int
    height: int
    payload: bytes
    weights_id: str = ""


def pack(container: Container) -> bytes:
    """The bytes of ``container``.

    Raises:
        CodecError: A field does not fit the format.
    """
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

    Raises:
        BitstreamError: Not an .icm file, another version, truncated, trailing bytes, or damaged; it says which.
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


def unpack_for(bitstream: bytes, *codecs: str) -> Container:
    """Read a container that one of ``codecs`` wrote.

    Raises:
        BitstreamError: As `unpack`, or another codec wrote it.
    """
    container = unpack(bitstream)
    if container.codec not in codecs:
        raise BitstreamError(
            f"coded by {container.codec!r}, not by {' or '.join(map(repr, codecs))}; icm.codecs.decode reads every "
            "codec's"
        )
    return container


def payload_size(bitstream: bytes) -> int:
    """Bytes of the codec's own payload inside a container.

    Raises:
        BitstreamError: As `unpack`.
    """
    return len(unpack(bitstream).payload)


def check_size(width: int, height: int) -> None:
    """Accept 1x1 to `icm.images.MAX_PIXELS` pixels.

    Raises:
        CodecError: The size is another.
    """
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise CodecError(f"an image of {width}x{height}: sizes go from 1x1 to {MAX_PIXELS} pixels")


def check_image(image: Pixels) -> tuple[int, int]:
    """(height, width) of an (height, width, 3) uint8 image.

    Raises:
        CodecError: It is something else.
    """
    if not isinstance(image, np.ndarray):
        raise CodecError(f"a {type(image).__name__}: codecs take a numpy array of (height, width, 3), uint8, RGB")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise CodecError(f"an array of shape {image.shape}, {image.dtype}: codecs take (height, width, 3), uint8, RGB")
    check_size(image.shape[1], image.shape[0])
    return image.shape[0], image.shape[1]


def number(codec: str, field: str, value: object, low: float, high: float, meaning: str = "a number") -> float:
    """``value`` if it is a number within [low, high].

    Raises:
        CodecError: It is none; names ``codec.field``, the value and the range.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise CodecError(
            f"codec.{field}={value}: {codec} takes {meaning} from {low:g} to {high:g}; choose one in that range"
        )
    return value


def whole_number(
    codec: str, field: str, value: object, low: float, high: float, meaning: str = "a whole number"
) -> int:
    """``value`` as an int within [low, high]; raises as `number`, also for a fraction."""
    fraction = isinstance(value, float) and not value.is_integer()
    return int(number(codec, field, str(value) if fraction else value, low, high, meaning))


def choice(codec: str, field: str, value: object, values: Sequence[str]) -> str:
    """``value`` if it is one of ``values``.

    Raises:
        CodecError: It is none; names ``codec.field``, the value and the choices.
    """
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
