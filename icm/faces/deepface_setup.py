"""Importing DeepFace the one way this project uses it."""

import contextlib
import functools
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata

from icm.errors import UserError


def import_deepface():
    """The ``DeepFace`` module, on its PyTorch engine, quiet.

    DeepFace reads its settings from the environment when it is imported, and takes TensorFlow where it finds it; its
    PyTorch engine must therefore be named first. Log levels the user has set stay as they are.

    Raises:
        UserError: DeepFace cannot make the folder of its weights, which it does on import.
    """
    os.environ["DEEPFACE_BACKEND_ENGINE"] = "pytorch"
    os.environ.setdefault("DEEPFACE_LOG_LEVEL", "40")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from deepface import DeepFace
    except OSError as error:
        what = f"{error.filename}: DeepFace cannot make its folder ({error.strerror})"
        raise UserError(f"{what}; set DEEPFACE_HOME to a folder that can be written") from error
    return DeepFace


def load_triton() -> None:
    """Load Triton, which PyTorch brings along; to be called before TensorFlow is loaded.

    Both carry LLVM. Loaded first, Triton gets along with TensorFlow; loaded after it, which CompressAI does to any
    process that then imports it, Triton ends the process with a segmentation fault (triton 3.7, tensorflow 2.21).
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("triton._C.libtriton")


def versions(*packages: str) -> str:
    """The installed versions of packages that shape results, as ``"deepface 0.0.103, mtcnn 1.0.0"``."""
    return ", ".join(f"{package} {_version(package)}" for package in packages)


@functools.lru_cache(maxsize=64)
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the chatter of C++ libraries off standard error while one is loaded; an exception brings it back.

    TensorFlow writes several lines before it reads its own log level, so only the file descriptor stops them.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as chatter:
        stderr = os.dup(2)
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(stderr, 2)
            chatter.seek(0)
            sys.stderr.write(chatter.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
