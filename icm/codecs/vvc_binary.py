"""A VVC encoder outside ffmpeg: Fraunhofer's ``vvencapp`` or the VTM reference software's ``EncoderApp``."""

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from icm.codecs import ffmpeg
from icm.codecs.base import CodecError, choice
from icm.files import file_sha256

STYLES = ("vvencapp", "vtm")


@dataclass(frozen=True)
class VvcBinary:
    """An encoder outside ffmpeg.

    Attributes:
        path: The program.
        style: Whose arguments it takes, one of `STYLES`.
        arguments: Further arguments, put first.
    """

    path: Path
    style: str
    arguments: tuple[str, ...]

    @classmethod
    def found(cls, binary: str, style: str, arguments: Sequence[str]) -> "VvcBinary":
        """The program at a path, or of a name on PATH.

        Raises:
            CodecError: There is no such program, or no such style.
        """
        choice("vvc", "binary_style", style, STYLES)
        path = shutil.which(os.path.expanduser(binary))
        if path is None:
            raise CodecError(f"codec.binary={binary}: no such program; give the path of a vvencapp or VTM EncoderApp")
        return cls(Path(path), style, tuple(str(argument) for argument in arguments))

    @property
    def description(self) -> str:
        """The program and its further arguments, for the record."""
        return " ".join([self.style, *self.arguments])

    @cached_property
    def digest(self) -> str:
        """8 hexadecimal digits of the program's bytes and of the files among its arguments, such as a configuration."""
        files = [Path(argument) for argument in self.arguments if os.path.isfile(argument)]
        return hashlib.sha256("".join(map(file_sha256, [self.path, *files])).encode()).hexdigest()[:8]

    @property
    def version(self) -> str:
        """The program's name and content: its own version text is not comparable between the two styles."""
        return f"{self.path.name} {self.digest}"

    def encode(self, planes: Path, stream: Path, width: int, height: int, qp: int, preset: str) -> None:
        """Code one picture.

        Args:
            planes: File of the raw yuv420p10le samples.
            stream: File that the elementary stream goes to.
            width, height: Of the picture, in pixels.
            qp: The slice QP.
            preset: vvencapp's; VTM has none.

        Raises:
            CodecError: The program fails, or codes at another slice QP.
        """
        of_style = _vvencapp if self.style == "vvencapp" else _vtm
        arguments = [*self.arguments, *of_style(str(planes), str(stream), width, height, qp, preset)]
        ffmpeg.run([str(self.path), *arguments], width * height)
        if not stream.exists():
            raise CodecError(f"codec.binary={self.path}: it ended without writing a stream")
        used = slice_qp(stream)
        if used != qp:
            raise CodecError(
                f"codec.binary={self.path}: it coded at slice QP {used}, not {qp}; switch its QP offsets off"
            )


def slice_qp(stream: Path) -> int:
    """The slice QP of the one picture in a ``.266`` file: 26 + pps_init_qp_minus26 + ph_qp_delta or sh_qp_delta."""
    command = [ffmpeg.executable(), "-hide_banner", "-nostdin", "-f", "vvc", "-i", str(stream)]
    traced = ffmpeg.run([*command, "-c", "copy", "-bsf:v", "trace_headers", "-f", "null", "-"], 0)
    text = traced.stderr.decode()
    # Each header may be traced twice, once as extradata; the values are the same.
    values = dict(re.findall(r"\b(pps_init_qp_minus26|ph_qp_delta|sh_qp_delta)\s+[01]+ = (-?\d+)", text))
    return 26 + sum(int(value) for value in values.values())


def _vvencapp(planes: str, stream: str, width: int, height: int, qp: int, preset: str) -> list[str]:
    picture = ["-i", planes, "-s", f"{width}x{height}", "-c", "yuv420_10", "-f", "1", "-o", stream]
    quantiser = [
        "--preset",
        preset,
        "-q",
        str(qp),
        "--qpa",
        "0",
        "--intraperiod",
        "1",
        "--additional",
        "IntraQPOffset=0",
    ]
    return [*picture, *quantiser, "-t", "1"]


def _vtm(planes: str, stream: str, width: int, height: int, qp: int, preset: str) -> list[str]:
    picture = ["-i", planes, "-b", stream, "-wdt", str(width), "-hgt", str(height), "-fr", "30", "-f", "1"]
    format = ["--InputBitDepth=10", "--InternalBitDepth=10", "--InputChromaFormat=420", "--ConformanceWindowMode=1"]
    return [*picture, *format, "-q", str(qp), "--IntraPeriod=1", "--IntraQPOffset=0"]
