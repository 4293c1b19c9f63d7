"""A content-addressed store of finished work: bitstreams, decoded images, boxes and embeddings."""

import contextlib
import functools
import hashlib
import json
import logging
from pathlib import Path
from threading import Lock

import numpy as np

from icm.download import cache_folder
from icm.files import WriteError, a_day_from_now, atomic_write, remove_abandoned

log = logging.getLogger(__name__)
_TIDIED = ".tidied"  # a file of the cache whose age says when it was last looked through
_DIGEST_BYTES = 32


def content_key(**parts: object) -> str:
    """SHA-256 (hexadecimal) of what a result depends on, given as JSON-able values by name; order does not matter."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def image_hash(image: np.ndarray) -> str:
    """SHA-256 (hexadecimal) of an array's shape, type and values."""
    header = f"{image.dtype.str}{image.shape}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(image).tobytes()).hexdigest()


class Cache:
    """Blobs under ``root/kind/ab/abcdef...``, each written atomically and stored behind its own SHA-256.

    Any number of processes may use one cache at once. A damaged entry reads as absent, so it is made again. Where
    nothing can be written (a full disk, a folder without permission), one warning says so, and the work goes on.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root).expanduser()
        self._writable, self._lock = True, Lock()
        self._tidy()

    def _tidy(self) -> None:
        """Once a day, remove what writers that were killed have left: a large cache takes long to look through."""
        mark = self.root / _TIDIED
        with contextlib.suppress(OSError):
            if self.root.is_dir() and (not mark.exists() or a_day_from_now(mark)):
                mark.touch()
                remove_abandoned(self.root)

    def _path(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / key

    def get(self, kind: str, key: str) -> bytes | None:
        """The blob stored under ``key``, or None when there is none or it cannot be read or is damaged."""
        try:
            stored = self._path(kind, key).read_bytes()
        except OSError:
            return None
        digest, blob = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        return blob if hashlib.sha256(blob).digest() == digest else None

    def put(self, kind: str, key: str, blob: bytes) -> None:
        """Store ``blob`` under ``key``, replacing what was there."""
        if not self._writable:
            return
        try:
            atomic_write(self._path(kind, key), hashlib.sha256(blob).digest() + blob)
        except WriteError as error:
            with self._lock:  # of several threads that are told so at once, one says it
                told, self._writable = not self._writable, False
            if not told:
                log.warning("cache=%s: nothing more is kept for a later run: %s", self.root, error)


def shared_cache() -> Cache:
    """The one of this process in its cache folder (`icm.download.use_cache_folder`)."""
    return _cache_in(cache_folder())


_cache_in = functools.cache(Cache)
