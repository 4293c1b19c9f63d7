"""What a result was made with: package versions and the git commit."""

import functools
import hashlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path

import icm

_PACKAGES = (
    "torch", "torchvision", "compressai", "pytorch-lightning", "hydra-core", "deepface", "mtcnn", "tensorflow",
    "imageio-ffmpeg", "pillow", "numpy", "opencv-contrib-python-headless", "segment-anything",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of icm, Python and the packages that shape results; reads metadata only, imports nothing."""
    found = {"icm": icm.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


@functools.cache
def code_digest() -> str:
    """SHA-256 (hexadecimal) of all Python code that measures and reports: the packages icm and models."""
    root = Path(icm.__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(path for package in ("icm", "models") for path in (root / package).rglob("*.py")):
        digest.update(f"{path.relative_to(root)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def git_commit() -> str | None:
    """The checked-out commit of this code, with ``-dirty`` when tracked files differ; None outside a checkout."""
    root = Path(icm.__file__).resolve().parents[1]
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
