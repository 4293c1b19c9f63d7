"""How the cost of a sweep grows with pictures, recognisers and points, and what the same again costs.

The parts are cheap (JPEG, each picture a face, mean colours as the recogniser), so that what is left is the pipeline.
"""

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.case import Case, Options
from icm import codecs
from icm.api import GivenImages
from icm.attacks.direct import Direct
from icm.evaluation.cache import Cache
from icm.evaluation.faces import FacesTask
from icm.evaluation.finished import find_earlier, mark, remember, reuse, run_key, write_mark
from icm.evaluation.job import Job
from icm.faces.detection import WholePicture
from icm.faces.embedding import Embedder
from icm.faces.sources import DemoFaces

_SIZES = ((15, 1, 1), (150, 1, 1), (600, 1, 1), (15, 6, 1), (15, 1, 8), (15, 6, 8))
_SIDE = 96


def cases(options: Options) -> Iterator[Case]:
    for images, embedders, points in _SIZES:
        title = f"{images} images x {embedders} recogniser{'s' * (embedders > 1)} x {points} point{'s' * (points > 1)}"
        with tempfile.TemporaryDirectory() as folder:
            yield Case(f"{title}, new", "", partial(_new, images, embedders, points))
            yield Case(f"{title}, the same again", "", partial(_again, Path(folder), images, embedders, points))


class MeanColours:
    """A recogniser that costs nothing: the mean colours of an 8 x 8 grid."""

    title, version, align = "mean colours", "1", False
    threshold: float | None = None

    def __init__(self, number: int):
        self.name = f"colours{number}"
        self.parameters = {"number": number}

    def preflight(self) -> list:
        return []

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([cv2.resize(crop, (8, 8), interpolation=cv2.INTER_AREA).ravel() for crop in crops]).astype("f4")


def _new(images: int, embedders: int, points: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return _sweep(Path(folder), images, embedders, points)


def _again(folder: Path, images: int, embedders: int, points: int) -> float:
    """In the same cache; the first call, which is not counted, fills it."""
    return _sweep(folder, images, embedders, points)


def _sweep(folder: Path, images: int, embedders: int, points: int) -> float:
    """Seconds that the jobs of a sweep take, as ``evaluate.py`` runs them, without the making of the pictures."""
    logging.getLogger("icm").setLevel(logging.ERROR)
    source = GivenImages(_pictures(images))
    cache = Cache(folder / "cache")
    results = Path(tempfile.mkdtemp(dir=folder))
    start = time.perf_counter()
    for point in range(points):
        recognisers: dict[str, Embedder] = {f"colours{number}": MeanColours(number) for number in range(embedders)}
        task = FacesTask(WholePicture(), recognisers, {"none": Direct("original")})
        job = Job(codecs.create("jpeg", quality=10 + 10 * point), source, [task])
        key = run_key(job) or ""  # nothing is missing here
        directory = results / str(point)
        earlier = find_earlier(key, cache)
        if earlier:
            reuse(*earlier, directory)
        else:
            job.run(cache, directory)
        remember(key, directory, write_mark(directory, mark(job)), cache)
    return time.perf_counter() - start


def _pictures(count: int) -> list[np.ndarray]:
    """Different pictures of `_SIDE` pixels squared, cut out of the demo's scenes."""
    scenes = [scene.load() for scene in DemoFaces().images()]
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        scene = scenes[number % len(scenes)]
        top, left = (int(rng.integers(0, side - _SIDE)) for side in scene.shape[:2])
        found.append(np.ascontiguousarray(scene[top : top + _SIDE, left : left + _SIDE]))
    return found
