"""The ffmpeg of the package imageio-ffmpeg (or the one ``IMAGEIO_FFMPEG_EXE`` names), run one picture at a time."""

import contextlib
import resource
import subprocess
from functools import lru_cache

from icm.codecs.base import CodecError
from icm.files import printable
from icm.preflight import Problem

_PATIENCE = 120.0
_PATIENCE_PER_PIXEL = 0.001
# Address space, libraries and thread stacks included; SVT-AV1 was seen to take 100 MB for 1.5 megapixels, VVC 75 MB.
_MEMORY = 4 << 30
_MEMORY_PER_PIXEL = 3000


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
    first_line = run([executable(), "-version"], pixels=0).stdout.decode("utf-8", "replace").partition("\n")[0]
    return "ffmpeg " + first_line.removeprefix("ffmpeg version ").partition(" ")[0]


def preflight() -> list[Problem]:
    """The problem of having no ffmpeg, if that is so."""
    try:
        executable()
    except ToolError:
        return [Problem("ffmpeg is missing", "Install the package imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE.")]
    return []


def ffmpeg(
    arguments: list[str], pixels: int, data: bytes = b"", inherited: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    """Run ffmpeg with ``data`` on its standard input; see `run`."""
    # -xerror with err_detect: a decoder conceals damage otherwise, and a made-up picture would pass for a decoded one.
    common = ["-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-xerror", "-filter_threads", "1"]
    return run([executable(), *common, *arguments], pixels, data, inherited)


def run(
    command: list[str], pixels: int, data: bytes = b"", inherited: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    """Run a program on one picture, with limits on its time and memory.

    Args:
        command: The program and its arguments.
        pixels: Size of the picture, which the limits depend on.
        data: Its standard input.
        inherited: Descriptors of open files that it also gets.

    Returns:
        What it wrote on standard output and standard error.

    Raises:
        ToolError: It failed (with its last lines; a program without memory says so there), or took longer than two
            minutes and 1000 seconds a megapixel (the slowest preset on a busy machine takes a tenth of that).
    """
    limit = _PATIENCE + _PATIENCE_PER_PIXEL * pixels
    pipe = subprocess.PIPE
    try:
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=inherited) as process:
            try:
                _limit_memory(process.pid, int(_MEMORY + _MEMORY_PER_PIXEL * pixels))
                output, errors = process.communicate(data, timeout=limit)
            except BaseException:
                process.kill()
                raise
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{command[0]}: no answer after {limit:.0f} s; choose a faster preset") from error
    except OSError as error:
        raise ToolError(f"{command[0]}: cannot be run ({error.strerror})") from error
    if process.returncode:
        lines = (errors or output[-4000:]).decode("utf-8", "replace").split("\n")
        last = " | ".join(printable(line.strip()) for line in lines if line.strip())[-600:]
        raise ToolError(f"{command[0]}: exit status {process.returncode}: {last}")
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _limit_memory(process: int, size: int) -> None:
    """Set from outside: code run in the child before its program is not safe in a process with threads."""
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        _, hard = resource.prlimit(process, resource.RLIMIT_AS)
        size = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.prlimit(process, resource.RLIMIT_AS, (size, hard))
