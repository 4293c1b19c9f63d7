"""VVC, HEVC and AV1: one intra picture at a constant quantiser, coded by the encoders inside ffmpeg.

Perceptual and adaptive quantisation are off and the picture gets no offset, so that the quantiser asked for is the one
in the slice header. The payload is the raw elementary stream (``.266``, ``.265``, ``.obu``); ffmpeg's decoders read it.
Each picture is coded on one thread: two processes of one thread code more pictures a second than one of two.
"""

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

    revision = 1
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
            with tempfile.TemporaryDirectory(prefix="icm-") as folder:
                # A file, because libvvenc prints its warnings on standard output.
                stream = Path(folder, "stream")
                if self.binary:
                    planes = Path(folder, "planes.yuv")
                    planes.write_bytes(to_planes(padded, self.colour))
                    self.binary.encode(planes, stream, padded.shape[1], padded.shape[0], self.qp, self.preset)
                else:
                    self._encode_with_ffmpeg(padded, stream)
                payload = stream.read_bytes() if stream.exists() else b""
        except ffmpeg.ToolError as error:
            raise CodecError(f"{self.name} could not code a picture of {width}x{height}: {error}") from error
        if not payload:
            raise CodecError(f"{self.name} wrote nothing for a picture of {width}x{height}")
        return pack(Container(self.name, self.parameters, width, height, payload))

    def decode(self, bitstream: bytes) -> Pixels:
        container = unpack_for(bitstream, self.name)
        format = _FORMATS[self.name]
        colour = Colour.of(container.parameters)
        width, height = coded_size(container.width, container.height, format.smallest_side)
        # The decoders of VVC and AV1 notice a slice that ends early; that of HEVC fills the rest in, so for HEVC the
        # container's checksum is the only guard.
        # max_pixels keeps a stream that claims to be enormous from being decoded; 64 is the decoders' own padding.
        limits = ["-threads", "1", "-err_detect", "explode", "-max_pixels", str((width + 64) * (height + 64))]
        source = [*limits, "-c:v", format.decoder, "-f", format.stream, "-i", "pipe:0"]
        try:
            ppm = ffmpeg.ffmpeg([*source, "-vf", colour.to_rgb(), *PPM_OUTPUT], width * height, container.payload)
        except ffmpeg.ToolError as error:
            raise BitstreamError(f"its {self.name} payload cannot be decoded: {error}") from error
        return from_ppm(ppm, width, height)[: container.height, : container.width].copy()

    def _encode_with_ffmpeg(self, image: Pixels, stream: Path) -> None:
        format = _FORMATS[self.name]
        arguments = [*raw_input(image), "-vf", self.colour.to_planes(), "-frames:v", "1", "-c:v", format.encoder]
        arguments += ["-threads", "1", *_constant_quantiser(self.name, self.qp, self.preset)]
        # Bit-exact flags keep the encoder's name and options out of the payload.
        arguments += ["-flags:v", "+bitexact", "-f", format.stream, str(stream)]
        ffmpeg.ffmpeg(arguments, image.shape[0] * image.shape[1], image.tobytes())


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
