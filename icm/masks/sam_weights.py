"""Segment Anything's published checkpoints (Kirillov et al. 2023)."""

from dataclasses import dataclass
from pathlib import Path

from icm.download import cache_folder, download
from icm.errors import UserError
from icm.preflight import Problem

_HOST = "https://dl.fbaipublicfiles.com/segment_anything"


class CheckpointError(UserError):
    """A Segment Anything model that does not exist."""


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint.

    Meta publishes no full checksum, only the first six digits of the MD5 sum inside each file's name. The SHA-256 sums
    and sizes here are the ones that many independent projects record for these files.

    Attributes:
        file: Its name.
        sha256: 64 hexadecimal digits.
        size: Bytes.
    """

    file: str
    sha256: str
    size: int

    @property
    def url(self) -> str:
        return f"{_HOST}/{self.file}"


CHECKPOINTS = {
    "vit_b": Checkpoint(
        "sam_vit_b_01ec64.pth", "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912", 375042383
    ),
    "vit_l": Checkpoint(
        "sam_vit_l_0b3195.pth", "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622", 1249524607
    ),
    "vit_h": Checkpoint(
        "sam_vit_h_4b8939.pth", "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e", 2564550879
    ),
}


def default_folder() -> Path:
    """Where checkpoints are kept: ``sam`` in the cache folder."""
    return cache_folder() / "sam"


def published(model: str) -> Checkpoint:
    """The checkpoint of ``vit_b``, ``vit_l`` or ``vit_h``; `CheckpointError` for another name."""
    if model not in CHECKPOINTS:
        raise CheckpointError(f"Segment Anything model {model}: choose from {', '.join(CHECKPOINTS)}")
    return CHECKPOINTS[model]


def find_checkpoint(model: str, folder: Path | str | None = None) -> Path | Problem:
    """A checkpoint that is there, or what is wrong.

    Checks the size, which shows a file cut short; the checksum is verified when it is downloaded.

    Args:
        model: vit_b, vit_l or vit_h.
        folder: Where it is looked for; None: `default_folder`.

    Raises:
        CheckpointError: an unknown model.
    """
    checkpoint = published(model)
    folder = default_folder() if folder is None else Path(folder).expanduser()
    path = folder / checkpoint.file
    remedy = f"Fetch it with: python -m icm download sam {model}"
    if folder != default_folder():
        remedy += f" --path {folder}"
    if not path.is_file():
        return Problem(f"Segment Anything checkpoint {path} is missing; it is published at {checkpoint.url}", remedy)
    if (size := path.stat().st_size) != checkpoint.size:
        what = f"Segment Anything checkpoint {path} is damaged: it has {size} bytes instead of {checkpoint.size}"
        return Problem(what, remedy)
    return path


def fetch_checkpoint(model: str, folder: Path | str | None = None, progress: bool = True) -> Path:
    """Download a checkpoint and verify it.

    Args:
        model: vit_b, vit_l or vit_h.
        folder: Where it goes; None: `default_folder`.
        progress: Show a bar.

    Raises:
        CheckpointError: an unknown model.
        DownloadError: it cannot be fetched.
    """
    checkpoint = published(model)
    folder = default_folder() if folder is None else Path(folder).expanduser()
    return download(checkpoint.url, folder / checkpoint.file, checkpoint.sha256, checkpoint.size, progress)
