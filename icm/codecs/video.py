"""VVC, HEVC and AV1: one intra picture at a constant quantiser, coded by the encoders inside ffmpeg.

Perceptual and adaptive quantisation are off and the picture gets no offset, so that the quantiser asked for is the one
in the slice header. The payload is the raw elementary stream (``.266``, ``.265``, ``.obu``); ffmpeg's decoders read it.
Each picture is coded on one thread: two processes of one thread code more pictures a second than one of two.

The decoders of VVC and AV1 notice a slice that ends early; that of HEVC fills the rest in without a word. A container
of HEVC therefore holds a CRC-32 of the decoded planes (``planes``), and its decoder raises where it is another.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from icm.codecs import ffmpeg
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
from icm.codecs.colour import PPM_OUTPUT, Colour, coded_size, from_ppm, pad, raw_input
from icm.codecs.plain import to_planes
from icm.codecs.vvc_binary import VvcBinary
from icm.images import Pixels
from icm.preflight import Problem


@dataclass(frozen=True)
class _Format:
    label: str
    encoder: str
    decoder: str
    stream: str  # ffmpeg's name of the elementary stream's format
    highest_qp: int
    presets: tuple[str, ...]
    preset: str
    smallest_side: int  # what the encoder accepts


_FORMATS = {
    "vvc": _Format("VVC", "libvvenc", "vvc", "vvc", 63, ("faster", "fast", "medium", "slow", "slower"), "medium", 16),
    "hevc": _Format(
        "HEVC",
        "libx265",
        "hevc",
        "hevc",
        51,
        ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"),
        "slow",
        16,
    ),
    "av1": _Format("AV1", "libaom-av1", "libdav1d", "obu", 63, tuple("012345678"), "4", 2),
}


class VideoCodec:
    """``vvc``, ``hevc`` or ``av1`` (H.266, H.265, AV1 main profiles, 10 bits, 4:2:0).

    Args:
        name: Which of them.
        qp: The slice QP of VVC (0..63) and HEVC (0..51); AV1's quantizer level (0..63, about a quarter of base_q_idx).
        preset: The encoder's own speed name; for AV1 libaom's cpu-used, 0 (slow) to 8.
        matrix, range: See `icm.codecs.colour.Colour`.
        binary: For VVC, the path of a program that encodes instead of ffmpeg's libvvenc; see `icm.codecs.vvc_binary`.
        binary_style: Whose arguments that program takes, ``vvencapp`` or ``vtm``.
        binary_arguments: Further arguments for it (VTM needs ``[-c, encoder_intra_vtm.cfg]``).

    Raises:
        CodecError: An option is out of its range.
    """

    variant = None
    ceiling = False
    uses_faces = False
    max_workers = None

    def __init__(
        self,
        name: str,
        qp: int = 37,
        preset: str | int | None = None,
        matrix: str = "bt601",
        range: str = "limited",
        binary: str | None = None,
        binary_style: str = "vvencapp",
        binary_arguments: Sequence[str] = (),
    ):
        self.name = choice("a video codec", "name", name, tuple(_FORMATS))
        self.revision = 2 if name == "hevc" else 1
        format = _FORMATS[name]
        self.qp = whole_number(name, "qp", qp, 0, format.highest_qp, "a QP")
        self.preset = choice(name, "preset", format.preset if preset is None else str(preset), format.presets)
        self.colour = Colour.checked(name, matrix, range)
        if binary and name != "vvc":
            raise CodecError(f"codec.binary={binary}: only vvc can use another program; leave it out for {name}")
        self.binary = VvcBinary.found(binary, binary_style, binary_arguments) if binary else None
        self.point: dict[str, Value] = {"qp": self.qp}
        settings: dict[str, Value] = {"preset": self.preset, **vars(self.colour)}
        defaults = {"preset": format.preset, **vars(Colour())}
        self.parameters = {**self.point, **settings}
        if self.binary:
            self.parameters["binary"] = self.binary.description
            settings["binary"] = f"{self.binary.description} {self.binary.digest}"
        self.title, self.series, self.short = names(format.label, f"QP {self.qp}", settings, defaults)
        self.baseline_of = "*" if name == "vvc" else ""

    @property
    def version(self) -> str:
        encoder = self.binary.version if self.binary else _FORMATS[self.name].encoder
        return f"revision {self.revision} / {ffmpeg.version()} / {encoder}"

    def preflight(self) -> list[Problem]:
        return ffmpeg.preflight()

    def encode(self, image: Pixels, faces: Faces = ()) -> bytes:
        height, width = check_image(image)
        padded = pad(image, _FORMATS[self.name].smallest_side)
        try:
            payload = self._encode_with_binary(padded) if self.binary else self._encode_with_ffmpeg(padded)
            if not payload:
                raise CodecError(f"{self.name} wrote nothing for a picture of {width}x{height}")
            checksum = {}
            if self.name == "hevc":
                down, across = padded.shape[:2]
                decoded = ffmpeg.ffmpeg([*self._source(across, down), *_CRC_OUTPUT], across * down, payload)
                checksum["planes"] = _crc(decoded)
        except ffmpeg.ToolError as error:
            raise CodecError(f"{self.name} could not code a picture of {width}x{height}: {error}") from error
        return pack(Container(self.name, {**self.parameters, **checksum}, width, height, payload))

    def decode(self, bitstream: bytes) -> Pixels:
        container = unpack_for(bitstream, self.name)
        format = _FORMATS[self.name]
        colour = Colour.of(container.parameters)
        width, height = coded_size(container.width, container.height, format.smallest_side)
        planes = container.parameters.get("planes")
        arguments = [*self._source(width, height), "-vf", colour.to_rgb(), *PPM_OUTPUT]
        arguments += [] if planes is None else _CRC_OUTPUT
        try:
            done = ffmpeg.ffmpeg(arguments, width * height, container.payload)
        except ffmpeg.ToolError as error:
            raise BitstreamError(f"its {self.name} payload cannot be decoded: {error}") from error
        image = from_ppm(done.stdout, width, height)
        if planes is not None and _crc(done) != planes:
            raise BitstreamError(f"its {self.name} payload is damaged: it decodes to another picture than was coded")
        return image[: container.height, : container.width].copy()

    def _source(self, width: int, height: int) -> list[str]:
        """ffmpeg arguments that decode a payload of that size from standard input."""
        format = _FORMATS[self.name]
        # max_pixels keeps a stream that claims to be enormous from being decoded; 64 is the decoders' own padding.
        limits = ["-threads", "1", "-err_detect", "explode", "-max_pixels", str((width + 64) * (height + 64))]
        return [*limits, "-c:v", format.decoder, "-f", format.stream, "-i", "pipe:0"]

    def _encode_with_ffmpeg(self, image: Pixels) -> bytes:
        format = _FORMATS[self.name]
        arguments = [*raw_input(image), "-vf", self.colour.to_planes(), "-frames:v", "1", "-c:v", format.encoder]
        arguments += ["-threads", "1", *_constant_quantiser(self.name, self.qp, self.preset)]
        # A file, because libvvenc prints its warnings on standard output: in memory, so that none is ever left behind.
        with os.fdopen(os.memfd_create("stream"), "rb") as stream:
            name = f"/proc/self/fd/{stream.fileno()}"
            # Bit-exact flags keep the encoder's name and options out of the payload.
            arguments += ["-flags:v", "+bitexact", "-f", format.stream, name]
            ffmpeg.ffmpeg(arguments, image.shape[0] * image.shape[1], image.tobytes(), (stream.fileno(),))
            return stream.read()

    def _encode_with_binary(self, image: Pixels) -> bytes:
        assert self.binary
        with tempfile.TemporaryDirectory(prefix="icm-") as folder:
            planes, stream = Path(folder, "planes.yuv"), Path(folder, "stream")
            planes.write_bytes(to_planes(image, self.colour))
            self.binary.encode(planes, stream, image.shape[1], image.shape[0], self.qp, self.preset)
            return stream.read_bytes()


# A second output of a decoder: the CRC-32 of its planes, 10-bit words as it gives them, on standard error.
_CRC_OUTPUT = ["-frames:v", "1", "-f", "hash", "-hash", "CRC32", "pipe:2"]


def _crc(decoded: subprocess.CompletedProcess[bytes]) -> int:
    """What `_CRC_OUTPUT` says.

    Raises:
        BitstreamError: It says nothing.
    """
    found = re.search(rb"CRC32=([0-9a-f]{8})", decoded.stderr)
    if not found:
        raise BitstreamError("its payload holds no picture")
    return int(found[1], 16)


def _constant_quantiser(name: str, qp: int, preset: str) -> list[str]:
    if name == "vvc":
        # Without IntraQPOffset=0 vvenc codes an intra picture at QP - 3.
        return ["-preset", preset, "-qp", str(qp), "-qpa", "0", "-vvenc-params", "intraperiod=1:IntraQPOffset=0"]
    if name == "hevc":
        # ipratio 1: x265 codes intra pictures at QP - 3 otherwise.
        steady = "ipratio=1.0:pbratio=1.0:aq-mode=0:cutree=0:psy-rd=0:psy-rdoq=0"
        alone = "keyint=1:info=0:pools=none:frame-threads=1:log-level=error"
        return ["-preset", preset, "-x265-params", f"qp={qp}:{steady}:{alone}"]
    # The same least and greatest level pin base_q_idx to the level's own entry in libaom's table.
    levels = ["-crf", str(qp), "-qmin", str(qp), "-qmax", str(qp), "-b:v", "0"]
    flat = ["-aq-mode", "0", "-row-mt", "0", "-aom-params", "deltaq-mode=0"]
    return ["-usage", "allintra", "-still-picture", "1", "-cpu-used", preset, *levels, *flat]
