"""CompressAI's published networks by name: ``mbt2018-mean-3``, ``cheng2020-anchor-ms-ssim-6``.

A name is an architecture, the distortion where it is not the mean squared error, and a quality from 1 to 6 or 8. The
files carry the first eight digits of their SHA-256 in their names, and are checked against them.
"""

import json
from pathlib import Path

from icm.codecs.base import CodecError
from icm.download import cache_folder, download_by_digits

HOST = "https://compressai.s3.amazonaws.com/models/v1"
FILES: dict[str, str] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))


def path_of(name: str) -> Path:
    """Where a network belongs, whether it is there or not: ``zoo`` in the cache folder."""
    return cache_folder() / "zoo" / f"{FILES[name]}.pth.tar"


def find(name: str) -> Path:
    """The file of a network that has been fetched.

    Raises:
        CodecError: It has not been.
    """
    path = path_of(name)
    if not path.is_file():
        raise CodecError(
            f"codec.checkpoint={name}: {path} is missing; fetch it with: python -m icm download zoo {name}"
        )
    return path


def names_of(wanted: str) -> list[str]:
    """The names that are meant by one, or by an architecture: ``mbt2018-mean`` is all its qualities.

    Raises:
        CodecError: There is none.
    """
    found = [wanted] if wanted in FILES else [name for name in FILES if split(name)[0] == wanted]
    if not found:
        choices = ", ".join(dict.fromkeys(split(name)[0] for name in FILES))
        raise CodecError(f"download zoo {wanted}: no such network; choose from {choices}, or one as mbt2018-mean-3")
    return found


def split(name: str) -> tuple[str, int]:
    """A name without its quality, and the quality."""
    series, _, quality = name.rpartition("-")
    return series, int(quality)


def fetch(name: str, progress: bool = True) -> Path:
    """Download a network and check it. Raises `icm.download.DownloadError`."""
    file = FILES[name]
    return download_by_digits(f"{HOST}/{file}.pth.tar", path_of(name), file.rpartition("-")[2], progress)
