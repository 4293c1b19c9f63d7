"""Files written whole or not at all, and their hashes."""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from icm.errors import UserError

# Read once: the only way to read it is to set it, which is not safe with threads running.
_UMASK = os.umask(0)
os.umask(_UMASK)

_UNFINISHED = ".tmp"
_UNFINISHED_NAME = re.compile(rf"\..+\.[a-z0-9_]{{8}}\{_UNFINISHED}", re.DOTALL)
_DAY = 24 * 3600
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class WriteError(UserError, OSError):
    """A file that cannot be written: a full disk, a read-only folder, a path that is no folder."""


@contextlib.contextmanager
def unwritable(path: Path | str) -> Iterator[None]:
    """Let an OSError of the body, which writes to ``path``, be a `WriteError`: one line with the remedy."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(f"{path}: cannot be written ({reason}); free some space or name another folder") from error


def atomic_write(path: Path | str, data: bytes | str) -> Path:
    """Write ``data`` to ``path`` so that a reader, or a kill at any moment, sees the old file or the new one.

    Text is written as UTF-8. Missing parent folders are made.

    Returns:
        The path.

    Raises:
        WriteError: It cannot be written; nothing is left behind.
    """
    path = Path(path)
    with unwritable(path):
        return _write(path, data.encode("utf-8") if isinstance(data, str) else data)


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.", suffix=_UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as file:
            # What tells `remove_abandoned` that this writer lives, whatever the clock says.
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write(content)
            file.flush()
            # A network disk sends what was written, and says what went wrong with it, at the closing of any handle.
            os.close(os.dup(handle))
            os.chmod(temporary, 0o666 & ~_UMASK)
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return path


def read_current(path: Path) -> bytes:
    """The bytes of a file that another machine may replace at this moment on a network disk.

    Raises:
        OSError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        if error.errno != errno.ESTALE:  # what this machine knew by that name is gone
            raise
        look_again(path.parent)
        return path.read_bytes()


def look_again(folder: Path) -> None:
    """Have a network disk show a folder as it is now: what other machines did there may be unseen for a minute."""
    with contextlib.suppress(OSError):
        os.listdir(folder)  # for FUSE
        os.chmod(folder, stat.S_IMODE(folder.stat().st_mode))  # for NFS


def remove_abandoned(folder: Path | str) -> None:
    """Delete what writers that were killed have left in a folder and below it: `atomic_write`'s files of yesterday.

    A clock that jumps makes young files look old; one that is being written stays, for its writer holds a lock on it.
    """
    for root, _, names in os.walk(folder):
        for name in names:
            if _UNFINISHED_NAME.fullmatch(name):
                path = Path(root, name)
                with contextlib.suppress(OSError):
                    if a_day_from_now(path) and not _is_locked(path):
                        path.unlink()


def a_day_from_now(path: Path) -> bool:
    """Whether a file's date is at least a day off, in the past, or in the future because a clock was set back."""
    return abs(time.time() - path.stat().st_mtime) >= _DAY


def _is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return False
    return False


def file_sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, as 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def printable(text: object) -> str:
    r"""A path, or a message that holds one, as text that every file and screen takes.

    Odd bytes are written as ``\xe9``, control characters, which a terminal would obey, as ``\x1b``.
    """
    sound = os.fsencode(str(text)).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", sound)
