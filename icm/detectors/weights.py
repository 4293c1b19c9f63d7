"""Published weight files: of torchvision's detectors and its AlexNet (for LPIPS), and of Ultralytics' detectors.

torchvision writes the first eight digits of a file's SHA-256 into its name, and the file is checked against them.
Ultralytics publishes no checksum; what was used is named by its own digest in the results.
"""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from icm.detectors.base import DetectorError
from icm.download import download_by_digits
from icm.files import file_sha256
from icm.preflight import Problem

_PYTORCH = "https://download.pytorch.org/models"
_ULTRALYTICS = "https://github.com/ultralytics/assets/releases/download/v8.3.0"


@dataclass(frozen=True)
class WeightFile:
    """A published file: where it is, and the first digits of its SHA-256, "" where none are published."""

    url: str
    digits: str

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]


def _torchvision(file: str) -> WeightFile:
    return WeightFile(f"{_PYTORCH}/{file}", file.removesuffix(".pth").rpartition("-")[2])


FILES = {
    "fasterrcnn_resnet50_fpn": _torchvision("fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"),
    "fasterrcnn_resnet50_fpn_v2": _torchvision("fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth"),
    "maskrcnn_resnet50_fpn": _torchvision("maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"),
    "maskrcnn_resnet50_fpn_v2": _torchvision("maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth"),
    "retinanet_resnet50_fpn": _torchvision("retinanet_resnet50_fpn_coco-eeacb38b.pth"),
    "retinanet_resnet50_fpn_v2": _torchvision("retinanet_resnet50_fpn_v2_coco-5905b1c5.pth"),
    "fcos_resnet50_fpn": _torchvision("fcos_resnet50_fpn_coco-99b0c9b7.pth"),
    "keypointrcnn_resnet50_fpn": _torchvision("keypointrcnn_resnet50_fpn_coco-fc266e95.pth"),
    "alexnet": _torchvision("alexnet-owt-7be5be79.pth"),
    "yolov5mu": WeightFile(f"{_ULTRALYTICS}/yolov5mu.pt", ""),
    "yolov8n": WeightFile(f"{_ULTRALYTICS}/yolov8n.pt", ""),
    "yolov8m": WeightFile(f"{_ULTRALYTICS}/yolov8m.pt", ""),
}


def folder() -> Path:
    """Where torchvision looks for weights: ``hub/checkpoints`` in ``$TORCH_HOME``, by default ``~/.cache/torch``."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser() / "hub" / "checkpoints"


def path_of(name: str) -> Path:
    """Where a published weight file belongs, whether it is there or not; `DetectorError` for a name not in `FILES`."""
    if name not in FILES:
        raise DetectorError(f"weights {name}: no such weights; choose from {', '.join(FILES)}")
    return folder() / FILES[name].file


def problems(name: str, own: Path | None = None) -> list[Problem]:
    """What is missing or damaged: the published file ``name``, or the user's own file in its place. Reads it whole."""
    if own is not None:
        if own.is_file():
            return []
        return [Problem(f"weight file {own} is missing", "Correct utility.weights, or leave it out")]
    path, published = path_of(name), FILES[name]
    fetch_it = f"python -m icm download utility {name}"
    if not path.is_file():
        what = f"weight file {path} ({name}) is missing; it is published at {published.url}"
        return [Problem(what, f"Fetch it with: {fetch_it}")]
    if not sha256(path).startswith(published.digits):
        what = (
            f"weight file {path} ({name}) is damaged or another file: its SHA-256 does not begin with its name's digits"
        )
        return [Problem(what, f"Fetch it again with: {fetch_it}")]
    return []


def fetch(name: str, progress: bool = True) -> Path:
    """Put a published weight file where torchvision looks for it, checked against the digits in its name.

    Raises:
        DetectorError: there are no such weights.
        DownloadError: the file cannot be fetched, or is another one; then nothing is left at its place.
    """
    path, published = path_of(name), FILES[name]
    return download_by_digits(published.url, path, published.digits, progress)


def describe(path: Path) -> str:
    """A weight file's name and the start of its SHA-256: part of what identifies a result."""
    try:
        return f"{path.name} {sha256(path)[:12]}"
    except OSError as error:
        raise DetectorError(f"{path}: cannot be read ({error.strerror})") from error


def sha256(path: Path) -> str:
    """SHA-256 of a file, remembered for as long as its size and time of change stay the same."""
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=32)
def _sha256(path: Path, _size: int, _changed: int) -> str:
    return file_sha256(path)
