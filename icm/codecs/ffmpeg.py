"""The ffmpeg of the package imageio-ffmpeg (or the one ``IMAGEIO_FFMPEG_EXE`` names), run one picture at a time."""

import subprocess
from functools import lru_cache

from icm.codecs.base import CodecError
from icm.preflight import Problem

_PATIENCE = 120.0
_PATIENCE_PER_PIXEL = 0.001


class ToolError(CodecError):
    """A program failed, hung or is missing; the message ends with its last lines."""


@lru_cache(maxsize=1)
def executable() -> str:
    """Path of ffmpeg.

    Raises:
        ToolError: There is none.
    """
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise ToolError("no ffmpeg found; install the package imageio-ffmpeg or set IMAGEIO_FFMPEG_EXE") from error


@lru_cache(maxsize=1)
def version() -> str:
    """``ffmpeg`` and its version, which names the build and with it the codec libraries linked into it."""
    first_line = run([executable(), "-version"], pixels=0).decode("utf-8", "replace").partition("\n")[0]
    return "ffmpeg " + first_line.removeprefix("ffmpeg version ").partition(" ")[0]


def preflight() -> list[Problem]:
    """The problem of having no ffmpeg, if that is so."""
    try:
        executable()
    except ToolError:
        return [Problem("ffmpeg is missing", "Install the package imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE.")]
    return []


def ffmpeg(arguments: list[str], pixels: int, data: bytes = b"") -> bytes:
    """Run ffmpeg with ``data`` on its standard input and return its standard output; see `run`."""
    # -xerror with err_detect: a decoder conceals damage otherwise, and a made-up picture would pass for a decoded one.
    common = ["-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-xerror", "-filter_threads", "1"]
    return run([executable(), *common, *arguments], pixels, data)


def run(command: list[str], pixels: int, data: bytes = b"", stderr: bool = False) -> bytes:
    """Run a program on one picture.

    Args:
        command: The program and its arguments.
        pixels: Size of the picture, which the time allowed depends on.
        data: Its standard input.
        stderr: Return its standard error instead.

    Returns:
        Its standard output.

    Raises:
        ToolError: It failed (with its last lines), or took longer than two minutes and 1000 seconds a megapixel (the
            slowest preset on a busy machine takes a tenth of that).
    """
    limit = _PATIENCE + _PATIENCE_PER_PIXEL * pixels
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{command[0]}: no answer after {limit:.0f} s; choose a faster preset") from error
    except OSError as error:
        raise ToolError(f"{command[0]}: cannot be run ({error.strerror})") from error
    if done.returncode:
        lines = (done.stdout[-4000:] if not done.stderr else done.stderr).decode("utf-8", "replace").split("\n")
        last = " | ".join(line.strip() for line in lines if line.strip())[-600:]
        raise ToolError(f"{command[0]}: exit status {done.returncode}: {last}")
    return done.stderr if stderr else done.stdout
