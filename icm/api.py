"""The library from a notebook or a script: `icm.evaluate`."""

import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icm.errors import UserError
from icm.preflight import Problem

if TYPE_CHECKING:
    from PIL.Image import Image

    from icm.evaluation.results import Run
    from icm.faces.sources import SourceImage


def evaluate(
    images: "Sequence[np.ndarray | Image | str | os.PathLike]",
    codec: str = "vvc",
    *,
    detector: str = "mtcnn",
    embedder: str | Sequence[str] = "dlib",
    task: str | Sequence[str] = "faces",
    directory: str | os.PathLike | None = None,
    cache: str | os.PathLike | None = None,
    seed: int = 0,
    **options: Any,
) -> "Run":
    """Measure one codec at one operating point on pictures at hand, as ``python evaluate.py`` does.

    >>> run = icm.evaluate([picture], codec="jpeg", quality=10)
    >>> run.summary["bpp"], run.summary["similarity"]["dlib"]["mean"]

    Args:
        images: Pictures: arrays (HWC uint8 RGB), PIL images, or paths of image files.
        codec: One of `icm.codecs.names`.
        detector, embedder, task: Options of conf/detector, conf/embedder and conf/task; several as a list.
        directory: Where the result files go; None: a new temporary folder (``run.directory``).
        cache: Where finished work is kept; None: ``$ICM_CACHE``, by default ``~/.cache/icm``.
        seed: Of the intervals.
        options: The codec's own, such as ``qp=37`` or ``quality=10``.

    Returns:
        The finished run: ``summary``, ``images``, ``faces``, ``estimates``.

    Raises:
        UserError: An option that does not exist, a picture of another type, something missing, or no face anywhere.
    """
    from icm.codecs import create
    from icm.config import compose_job
    from icm.download import cache_folder, use_cache_folder
    from icm.evaluation.cache import Cache
    from icm.evaluation.job import Job
    from icm.parts import preflight

    if cache is not None:
        use_cache_folder(Path(cache))
    source = GivenImages(images)
    tasks = compose_job(detector=detector, embedder=embedder, task=task)
    job = Job(create(codec, **options), source, tasks, seed)
    preflight(job.parts)
    folder = Path(directory if directory is not None else tempfile.mkdtemp(prefix="icm-"))
    return job.run(Cache(cache_folder()), folder)


class GivenImages:
    """Pictures handed over by the caller, as a source.

    Args:
        images: As for `evaluate`.

    Raises:
        UserError: There is none, or one is of another type.
    """

    name = "given"
    version = "1"
    labelled = False
    pairs = ()

    def __init__(self, images: "Sequence[np.ndarray | Image | str | os.PathLike]"):
        if isinstance(images, str | os.PathLike | np.ndarray) or not hasattr(images, "__len__"):
            raise UserError(f"images: a list of pictures is needed, not one {type(images).__name__}; write [picture]")
        if not len(images):
            raise UserError("images: the list is empty; give at least one picture")
        self._images = [_loader(index, image) for index, image in enumerate(images)]
        self.parameters: dict[str, Any] = {"images": len(self._images)}

    def preflight(self) -> list[Problem]:
        return []

    def images(self) -> "list[SourceImage]":
        from icm.faces.sources import SourceImage

        return [SourceImage(name, load) for name, load in self._images]

    def ignored(self) -> list[dict[str, str]]:
        return []


def _loader(index: int, image: Any) -> tuple[str, Any]:
    from PIL.Image import Image

    from icm.images import read_image

    if isinstance(image, str | os.PathLike):
        return f"{index} {Path(image).name}", partial(read_image, Path(image))
    if isinstance(image, Image):
        array = np.array(image.convert("RGB"))
    elif isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        array = image
    else:
        kind = f"{image.dtype}{image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UserError(f"images[{index}]: {kind}; give arrays (height, width, 3) uint8 RGB, PIL images or file paths")
    return str(index), partial(np.copy, array)
