"""A content-addressed store of finished work: bitstreams, decoded images, boxes and embeddings."""

import hashlib
import json
from pathlib import Path

import numpy as np

from icm.files import atomic_write

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

    Any number of processes may use one cache at once. A damaged entry reads as absent, so it is made again.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root).expanduser()

    def _path(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / key

    def get(self, kind: str, key: str) -> bytes | None:
        """The blob stored under ``key``, or None when there is none or it is damaged."""
        try:
            stored = self._path(kind, key).read_bytes()
        except FileNotFoundError:
            return None
        digest, blob = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        return blob if hashlib.sha256(blob).digest() == digest else None

    def put(self, kind: str, key: str, blob: bytes) -> None:
        """Store ``blob`` under ``key``, replacing what was there."""
        atomic_write(self._path(kind, key), hashlib.sha256(blob).digest() + blob)
