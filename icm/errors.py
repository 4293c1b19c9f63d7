"""What the person at the keyboard is told, and what the person, or a cluster, has told: to stop."""

import errno
import io
import os
import signal
import sys
from types import FrameType
from typing import Any


class UserError(Exception):
    """Something the user can mend: a bad value, a missing file, a damaged input.

    The message is one line that names the file or field, the value and the remedy. Command-line entries print it
    without a traceback and exit non-zero.
    """


class _Lasting(io.FileIO):
    """A descriptor that goes on taking text, which nobody sees, once its reader has gone or its disk is full."""

    def __init__(self, descriptor: int, farewell: str):
        super().__init__(descriptor, "w", closefd=False)
        self._farewell = farewell

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            farewell, self._farewell = self._farewell, ""
            if farewell:
                print(f"{farewell} ({error.strerror})", file=sys.stderr)
            return len(data)


def begin_command(program: str) -> None:
    """What a command does first, so that its surroundings do not end it in a traceback later.

    Standard output and standard error take any text to the end: without a reader or room for it the work goes on, and
    a character that their encoding lacks becomes an escape. Where they are closed, no other file takes their place.

    Raises:
        SystemExit: The working folder has been deleted.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for name, number, farewell in (("stderr", 2, ""), ("stdout", 1, f"{program}: output is lost, the work goes on")):
        before = getattr(sys, name)
        raw = _Lasting(number, farewell)
        lines = name == "stderr" or raw.isatty() or bool(os.environ.get("PYTHONUNBUFFERED"))
        encoding = before.encoding if before else "utf-8"
        stream = io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=lines)
        setattr(sys, name, stream)
    try:
        os.getcwd()
    except FileNotFoundError:
        raise SystemExit(f"{program}: the working folder has been deleted; change to one that is there") from None


def is_interruption(error: BaseException | None) -> bool:
    """Whether Ctrl-C (`KeyboardInterrupt`) is what an exception comes from.

    It can strike between any two instructions. Where it leaves an object of a library half changed, the clean-up of
    that library may raise an exception of its own in its place.
    """
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a cluster sends it some seconds before it kills: a command ends as at Ctrl-C."""


def end_at_sigterm() -> None:
    """Let SIGTERM raise `Terminated` in the main thread of this process."""

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # once: what is under way is being ended
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)


def exit_status(error: BaseException | None) -> int:
    """The status that a command interrupted by ``error`` ends with: 143 at SIGTERM, 130 at Ctrl-C."""
    while error:
        if isinstance(error, Terminated):
            return 128 + signal.SIGTERM
        error = error.__context__
    return 128 + signal.SIGINT
