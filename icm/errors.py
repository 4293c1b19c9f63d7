"""What the person at the keyboard is told, and what the person, or a cluster, has told: to stop."""

import signal
from types import FrameType


class UserError(Exception):
    """Something the user can mend: a bad value, a missing file, a damaged input.

    The message is one line that names the file or field, the value and the remedy. Command-line entries print it
    without a traceback and exit non-zero.
    """


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
