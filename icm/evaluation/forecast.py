"""What is known of a sweep before its first job: what its jobs lack, and what they will take."""

import itertools
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from omegaconf import DictConfig

from icm.errors import UserError
from icm.evaluation.cache import Cache, image_hash
from icm.evaluation.configured import configured_job
from icm.evaluation.faces import FacesTask
from icm.evaluation.job import Job
from icm.evaluation.recognition import cut
from icm.evaluation.task import Context
from icm.faces.sources import SourceImage
from icm.images import ImageError
from icm.threads import cores

_WARM_UP = 64  # pixels a side: loads a network, takes no time


@dataclass(frozen=True)
class Cost:
    """What a job takes, from a few pictures.

    Attributes:
        title: The codec at its point.
        timed: The names of those pictures.
        images: Of the source.
        coding, tasks, recognisers: Seconds for each of them.
        workers: Pictures that are coded at once.
    """

    title: str
    timed: tuple[str, ...]
    images: int
    coding: float
    tasks: float
    recognisers: float
    workers: int

    @property
    def images_per_second(self) -> float:
        return 1 / (self.coding / self.workers + self.tasks + self.recognisers)

    @property
    def seconds(self) -> float:
        return self.images / self.images_per_second


def missing(jobs: Sequence[DictConfig]) -> dict[str, list[int]]:
    """What jobs of a sweep lack, each thing with its remedy, and the numbers of the jobs that lack it.

    Parts that several jobs share are checked once.
    """
    found: dict[str, list[int]] = {}
    checked: dict[str, list[str]] = {}
    for number, cfg in enumerate(jobs):
        for text in _lacking(cfg, checked):
            found.setdefault(text, []).append(number)
    return found


def _lacking(cfg: DictConfig, checked: dict[str, list[str]]) -> list[str]:
    try:
        parts = configured_job(cfg).parts
        for part in parts:
            key = repr((part.name, part.parameters))
            if key not in checked:
                checked[key] = [f"{problem.what}. {problem.remedy}" for problem in part.preflight()]
        return list(dict.fromkeys(text for part in parts for text in checked[repr((part.name, part.parameters))]))
    except UserError as error:
        return [str(error)]


def cost(job: Job) -> Cost:
    """Time a job on a few pictures of its source that concern all its tasks, with nothing cached.

    Coding is timed alone, on one core for codecs that code several pictures at once. Recognisers are timed on the faces
    of those originals, once for each attack; what an attack itself takes is left out.

    Raises:
        UserError: A picture cannot be coded, or there is none.
    """
    images = job.source.images()
    with tempfile.TemporaryDirectory() as folder:
        contexts = [
            Context(Cache(Path(folder) / name), Path(folder), job.codec.title, job.seed, job.source.pairs)
            for name in ("warm-up", "timed")
        ]
        for task in job.tasks:
            task.begin(contexts[0])
        pictures = _some(job, images)
        corner = np.ascontiguousarray(pictures[0].image[:_WARM_UP, :_WARM_UP])
        job.codec.decode(job.codec.encode(corner, ()))
        start = time.perf_counter()
        coded = [job.codec.decode(job.codec.encode(picture.image, picture.boxes)) for picture in pictures]
        coding = time.perf_counter() - start
        for context in contexts:
            start = time.perf_counter()
            for task in job.tasks:
                task.begin(context)
                for picture, image in zip(pictures, coded, strict=True):
                    task.concerns(picture.source, picture.image, picture.digest)
                    task.observe(picture.source, picture.image, image)
        tasks = time.perf_counter() - start
    count = len(pictures)
    recognisers = _recognising(job, pictures) / count
    workers = job.workers or job.codec.max_workers or cores()
    names = tuple(picture.source.name for picture in pictures)
    return Cost(job.codec.title, names, len(images), coding / count, tasks / count, recognisers, workers)


class _Picture(NamedTuple):
    source: SourceImage
    image: np.ndarray
    digest: str
    boxes: list[tuple[int, int, int, int]]


def _some(job: Job, images: Sequence[SourceImage]) -> list[_Picture]:
    """The first, the middle and the last picture, so far as they concern all tasks; where none does, another one."""
    spread = [images[round(share * (len(images) - 1))] for share in (0, 0.5, 1)] if images else []
    if found := list(_concerning(job, dict.fromkeys(spread))):
        return found
    if found := list(itertools.islice(_concerning(job, images), 1)):
        return found
    raise UserError(f"cost=true: no image of {job.source.name} concerns every task, so none can be timed")


def _concerning(job: Job, images: Iterable[SourceImage]) -> Iterator[_Picture]:
    for source in images:
        try:
            image = source.load()
        except ImageError:
            continue
        digest = image_hash(image)
        if not any(task.concerns(source, image, digest) for task in job.tasks):
            boxes = [(box.x, box.y, box.width, box.height) for task in job.tasks for box in task.faces(source)]
            yield _Picture(source, image, digest, boxes)


def _recognising(job: Job, pictures: Sequence[_Picture]) -> float:
    """Seconds that recognisers take for the faces of some pictures, once loaded."""
    total = 0.0
    for task in (task for task in job.tasks if isinstance(task, FacesTask)):
        for embedder in task.embedders:
            crops = [cut(seen.image, box, embedder.align) for seen in pictures for box in task.faces(seen.source)]
            embedder.embed(crops[:1])
            start = time.perf_counter()
            embedder.embed(crops)
            total += (time.perf_counter() - start) * len(task.attacks)
    return total


def cost_table(costs: Sequence[Cost]) -> str:
    """The costs of a sweep as text for a terminal."""
    rows = [(each.title, f"{each.images_per_second:.2f} images/s", f"{each.images} images", duration(each.seconds))
            for each in costs]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    names = ", ".join(dict.fromkeys(name for each in costs for name in each.timed))
    lines = [
        f"what {len(costs)} jobs take, each timed on a few pictures ({names}) with nothing cached, on this machine as "
        "busy as it is, without attacks and reports:"
    ]
    for title, *numbers in rows:
        cells = [text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join(["", title.ljust(widths[0]), *cells]))
    total = duration(sum(each.seconds for each in costs))
    return "\n".join([*lines, f"in all about {total}; what is cached of earlier runs is not done again"])


def duration(seconds: float) -> str:
    """``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
