"""Downloads that resume, verify and appear whole or not at all."""

import contextlib
import fcntl
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from icm.errors import UserError
from icm.files import atomic_write, file_sha256

TIMEOUT = 30  # seconds without a byte
ATTEMPTS = 5  # connections in a row that bring nothing before it is given up
BLOCK = 1 << 18
_cache_folder: Path | None = None


class DownloadError(UserError):
    """A file that could not be fetched, or is not the one that was asked for."""


class _Interrupted(Exception):
    """The connection ended before the file did."""


def cache_folder() -> Path:
    """Where everything is kept that can be made or fetched again: what `use_cache_folder` says, else ``$ICM_CACHE``,
    else ``~/.cache/icm``."""
    return _cache_folder or Path(os.environ.get("ICM_CACHE", "~/.cache/icm")).expanduser()


def use_cache_folder(folder: Path | str) -> None:
    """Make a folder the cache of this process: ``cache=DIR`` moves all of it. To be called before work begins."""
    global _cache_folder
    _cache_folder = Path(folder).expanduser()


def download(
    url: str, path: Path | str, sha256: str | None = None, size: int | None = None, progress: bool = True
) -> Path:
    """Fetch ``url`` to ``path``.

    A file at ``path`` that has the checksum (or, where none is known, the size) is kept as it is. Bytes arrive in a
    hidden ``.NAME.part`` beside it, which a later call continues; ``path`` itself only ever holds the whole, verified
    file. Two processes that fetch the same file wait for each other.

    Args:
        url: http or https.
        path: The file to make; missing parent folders are made.
        sha256: Expected checksum, 64 hexadecimal digits; None where none is published.
        size: Expected number of bytes; None where it is not known.
        progress: Show a bar on standard error.

    Raises:
        DownloadError: no network, the server refuses, or the file is not the expected one; the message names the URL
            and the path where the file can be put by hand.
    """
    path = Path(path)
    if is_complete(path, sha256, size):
        return path
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(part) as file:
            # Another process may have finished it while this one waited.
            if not is_complete(path, sha256, size):
                _fetch(url, path, part, file, progress)
                _verify(url, path, part, sha256, size)
                os.replace(part, path)
                _etag_file(part).unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(_message(url, path, error.strerror or str(error))) from error
    return path


def download_by_digits(url: str, path: Path, digits: str, progress: bool = True) -> Path:
    """Fetch a file of which no more than the first digits of its SHA-256 are published, in its name.

    Args:
        url: http or https.
        path: The file to make; one that is there with these digits is kept.
        digits: The hexadecimal digits; "" where none are published.
        progress: Show a bar on standard error.

    Raises:
        DownloadError: It cannot be fetched, or is another file; then nothing is left at its place.
    """
    if path.is_file() and file_sha256(path).startswith(digits):
        return path
    # Only a checked file gets its name.
    unchecked = download(url, path.with_name(f"{path.name}.unchecked"), progress=progress)
    if not file_sha256(unchecked).startswith(digits):
        unchecked.unlink()
        raise DownloadError(f"{url}: is not the expected file (its SHA-256 does not begin with {digits})")
    os.replace(unchecked, path)
    return path


def is_complete(path: Path, sha256: str | None = None, size: int | None = None) -> bool:
    """Whether a file is there and is the expected one, as far as its size and checksum are known."""
    if not path.is_file() or (size is not None and path.stat().st_size != size):
        return False
    return sha256 is None or file_sha256(path) == sha256


def _message(url: str, path: Path, reason: str) -> str:
    return f"{url}: cannot be downloaded ({reason}); when online run this again, or put the file at {path} by hand"


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    """The partial file, open for appending and locked for this process alone."""
    while True:
        file = open(part, "ab")  # noqa: SIM115 (closed below; the loop reopens it when it was replaced meanwhile)
        fcntl.flock(file, fcntl.LOCK_EX)
        if _is_named(file, part):
            break
        file.close()
    try:
        yield file
    finally:
        # Only while the lock is held is it certain that nobody else writes to what the name stands for.
        if _is_named(file, part) and os.fstat(file.fileno()).st_size == 0:
            part.unlink()
        file.close()


def _is_named(file: BinaryIO, path: Path) -> bool:
    """Whether ``path`` still stands for the open file, not for a later one or for none."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _fetch(url: str, path: Path, part: Path, file: BinaryIO, progress: bool) -> None:
    """Bring the partial file to its full length, connecting again where a connection breaks off."""
    idle = 0
    while True:
        before = os.fstat(file.fileno()).st_size
        try:
            _receive(url, path, part, file, progress)
            return
        except (_Interrupted, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            idle = idle + 1 if os.fstat(file.fileno()).st_size <= before else 0
            if idle >= ATTEMPTS:
                raise DownloadError(_message(url, path, str(error) or type(error).__name__)) from error


def _receive(url: str, path: Path, part: Path, file: BinaryIO, progress: bool) -> None:
    start = os.fstat(file.fileno()).st_size
    etag_file = _etag_file(part)
    request = urllib.request.Request(url, headers={"User-Agent": "icm"})
    if start and etag_file.is_file():
        # The server sends the rest only if its file is still the one the first part came from.
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", etag_file.read_text())
    elif start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:
            # Nothing is left to send: either the file is whole already (its checksum tells) or the part is of no use.
            if error.headers.get("Content-Range", "").endswith(f"/{start}"):
                return
            file.truncate(0)
            raise _Interrupted("the partial file did not fit") from error
        raise DownloadError(_message(url, path, f"the server answers {error.code} {error.reason}")) from error
    except urllib.error.URLError as error:
        raise DownloadError(_message(url, path, f"no connection: {error.reason}")) from error
    with response:
        if response.headers.get_content_type() == "text/html" and path.suffix != ".html":
            raise DownloadError(_message(url, path, "the server sends a web page in its place"))
        if response.status != 206:
            file.truncate(0)
            start = 0
        if (etag := response.headers.get("ETag", "")) and not etag.startswith("W/"):
            atomic_write(etag_file, etag)
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        _copy(response, file, start, total, path.name, progress)


def _copy(response: BinaryIO, file: BinaryIO, start: int, total: int | None, label: str, progress: bool) -> None:
    from tqdm import tqdm

    received = start
    with tqdm(
        total=total, initial=start, desc=label, unit="B", unit_scale=True, unit_divisor=1024, disable=not progress
    ) as bar:
        while block := response.read(BLOCK):
            file.write(block)
            file.flush()
            received += len(block)
            bar.update(len(block))
    if total is not None and received < total:
        raise _Interrupted(f"the connection ended after {received} of {total} bytes")


def _verify(url: str, path: Path, part: Path, sha256: str | None, size: int | None) -> None:
    found_size = part.stat().st_size
    problem = None
    if size is not None and found_size != size:
        problem = f"it has {found_size} bytes instead of {size}"
    elif sha256 is not None and (found := file_sha256(part)) != sha256:
        problem = f"its SHA-256 is {found} instead of {sha256}"
    if problem:
        part.unlink()
        _etag_file(part).unlink(missing_ok=True)
        raise DownloadError(f"{url}: is not the expected file ({problem}); nothing was written to {path}")


def _etag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")
