"""The weight files of recognisers and detectors: where each comes from, where DeepFace looks for it, its checksum."""

import contextlib
import functools
import importlib.util
import os
import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from icm.download import DownloadError, download
from icm.errors import UserError
from icm.files import WriteError, atomic_write, file_sha256
from icm.preflight import Problem

_RELEASES = "https://github.com/serengil/deepface_models/releases/download/v1.0"
_MIRROR = "https://huggingface.co/serengil/deepface/resolve/main"
_OPENCV_ZOO = "https://github.com/opencv/opencv_zoo/raw/main/models"
_DRIVE = "https://drive.google.com/uc"


class WeightsError(UserError):
    """A weight file that is missing, damaged or not the published one."""


@dataclass(frozen=True)
class WeightFile:
    """One weight file.

    Attributes:
        file: Its name inside `folder()`.
        urls: Where it is published, in the order DeepFace tries them.
        sha256, size: As published by its authors; None where they publish none.
        package, member: An installed package that carries the file, and the file's path inside it.
    """

    file: str
    urls: tuple[str, ...]
    sha256: str | None = None
    size: int | None = None
    package: str | None = None
    member: str | None = None


def _deepface(file: str) -> WeightFile:
    return WeightFile(file, (f"{_RELEASES}/{file}", f"{_MIRROR}/{file}"))


FILES = {
    "vggface": _deepface("vgg_face_weights.pth"),
    "facenet": _deepface("facenet_weights.pth"),
    "facenet512": _deepface("facenet512_weights.pth"),
    "arcface": _deepface("arcface_weights.pth"),
    "openface": _deepface("openface_weights.pth"),
    "ghostfacenet": _deepface("ghostfacenet_v1.pth"),
    "deepface": _deepface("VGGFace2_DeepFace_weights_val-0.9034.pth"),
    "deepid": _deepface("deepid_weights.pth"),
    # Checksum and size from the Git LFS pointer in opencv_zoo at 966be4cb.
    "sface": WeightFile(
        "face_recognition_sface_2021dec.onnx",
        (f"{_OPENCV_ZOO}/face_recognition_sface/face_recognition_sface_2021dec.onnx",),
        sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
        size=38696353,
    ),
    "buffalo_l": WeightFile(
        "buffalo_l/webface_r50.onnx", (f"{_DRIVE}?export=download&confirm=pbef&id=1N0GL-8ehw_bz2eZQWz2b0A5XBdXdxZhg",)
    ),
    # Checksum and size from the RECORD of face_recognition_models 0.3.0.
    "dlib": WeightFile(
        "dlib_face_recognition_resnet_model_v1.dat",
        (),
        sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        size=22466066,
        package="face_recognition_models",
        member="models/dlib_face_recognition_resnet_model_v1.dat",
    ),
    "retinaface": _deepface("retinaface.pth"),
    "yolov8n": WeightFile("yolov8n-face.pt", (f"{_DRIVE}?id=1qcr9DbgsX3ryrz2uU8w4Xm3cOrRywXqb",)),
    # Checksum and size from the Git LFS pointer in opencv_zoo at 966be4cb.
    "yunet": WeightFile(
        "face_detection_yunet_2023mar.onnx",
        (f"{_OPENCV_ZOO}/face_detection_yunet/face_detection_yunet_2023mar.onnx",),
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        size=232589,
    ),
}

PAPER = ("vggface", "facenet", "openface", "arcface", "sface", "ghostfacenet")


def folder() -> Path:
    """Where DeepFace looks for weights: ``$DEEPFACE_HOME/.deepface/weights``, by default under the home folder."""
    return Path(os.environ.get("DEEPFACE_HOME", Path.home())) / ".deepface" / "weights"


def path_of(name: str) -> Path:
    """Where DeepFace looks for a weight file, whether it is there or not."""
    return folder() / FILES[name].file


def record_of(path: Path) -> Path:
    """The small file beside a weight file that holds its SHA-256, in the form ``sha256sum --check`` reads."""
    return path.with_name(f"{path.name}.sha256")


def record(path: Path) -> None:
    """Write down the SHA-256 a weight file has now, so that later damage shows."""
    atomic_write(record_of(path), f"{file_sha256(path)}  {path.name}\n")


def expected_sha256(name: str) -> str | None:
    """The checksum a weight file must have: the recorded one, else the published one, else None.

    A record wins over the published checksum, so that someone who deliberately puts other weights in place can say so.
    """
    file = record_of(path_of(name))
    if file.is_file():
        return file.read_text().split()[0].lower()
    return FILES[name].sha256


def _packaged(name: str) -> Path | None:
    """The copy of a weight file inside an installed package. The package itself is not imported."""
    file = FILES[name]
    if file.package is None or (spec := importlib.util.find_spec(file.package)) is None:
        return None
    path = Path(spec.origin).parent / file.member
    return path if path.is_file() else None


def problems(names: Iterable[str]) -> list[Problem]:
    """The weight files that are missing or damaged, one problem each. Reads whole files, imports no framework."""
    found = (_problem(name) for name in names)
    return [problem for problem in found if problem is not None]


def _problem(name: str) -> Problem | None:
    file, path = FILES[name], path_of(name)
    fetch = f"python -m icm download weights {name}"
    if not path.is_file():
        if file.package is None:
            what = f"weight file {path} ({name}) is missing; it is published at {file.urls[0]}"
            return Problem(what, f"Fetch it with: {fetch}")
        if _packaged(name) is None:
            what = f"weight file {path} ({name}) is missing; it comes with the package {file.package}"
            return Problem(what, f"Install it with: python -m pip install {file.package}")
        return None
    expected = expected_sha256(name)
    if expected is not None and sha256(path) != expected:
        what = f"weight file {path} ({name}) is damaged or another file: its SHA-256 is not {expected}"
        return Problem(what, f"Fetch it again with: {fetch}")
    return None


def install(name: str) -> Path:
    """Copy a weight file that an installed package carries to where DeepFace looks for it, unless it is there."""
    path = path_of(name)
    if not path.is_file() and (source := _packaged(name)) is not None:
        try:
            atomic_write(path, source.read_bytes())
        except WriteError as error:
            raise WeightsError(f"{error}: set DEEPFACE_HOME to a folder you can write to") from error
    return path


def fetch(name: str, progress: bool = True) -> Path:
    """Put a weight file where DeepFace looks for it: from the package that carries it, or from the network.

    A file with a published checksum is verified against it. Where none is published, the checksum of the first
    download is written beside the file and holds from then on.

    Raises:
        WeightsError: it comes with a package that is not installed.
        DownloadError: none of the published addresses delivers the expected file.
    """
    file, path = FILES[name], path_of(name)
    if file.package is not None:
        if not path.is_file() or sha256(path) != expected_sha256(name):
            path.unlink(missing_ok=True)
        problem = _problem(name)
        if problem:
            raise WeightsError(f"{problem.what}. {problem.remedy}")
        return install(name)
    expected = expected_sha256(name)
    placed_by_hand = path.is_file()
    failures = []
    for url in file.urls:
        try:
            download(url, path, expected, file.size if expected == file.sha256 else None, progress)
        except DownloadError as error:
            failures.append(error)
            continue
        if expected is None and not placed_by_hand:
            record(path)
        return path
    raise failures[0]


def sha256(path: Path) -> str:
    """SHA-256 of a file, remembered for as long as its size and time of change stay the same."""
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, _size: int, _changed: int) -> str:
    return file_sha256(path)


def describe(name: str) -> str:
    """A weight file's name and the start of its SHA-256: part of what identifies a result.

    Raises:
        WeightsError: the file is missing.
    """
    path = path_of(name) if path_of(name).is_file() else _packaged(name)
    if path is None:
        problem = _problem(name)
        raise WeightsError(f"{problem.what}. {problem.remedy}")
    return f"{FILES[name].file} {sha256(path)[:12]}"


@contextlib.contextmanager
def loading(name: str | None) -> Iterator[None]:
    """Turn what the loaders of three frameworks raise on a bad file into one line that names the file."""
    try:
        yield
    except (ValueError, RuntimeError, ImportError, OSError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if name is None:
            raise WeightsError(f"the detector cannot be loaded: {reason}") from error
        remedy = f"delete it, then run: python -m icm download weights {name}"
        raise WeightsError(f"{path_of(name)}: cannot be loaded as {name} weights ({reason}); {remedy}") from error
