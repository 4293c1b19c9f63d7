"""What is known of a sweep before its first job: what its jobs lack, and what they will take."""

import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from icm.errors import UserError
from icm.evaluation.cache import Cache, image_hash
from icm.evaluation.configured import configured_job
from icm.evaluation.job import Job
from icm.evaluation.task import Context
from icm.faces.sources import SourceImage
from icm.images import ImageError

_WARM_UP = 64  # pixels a side: loads a network, takes no time


@dataclass(frozen=True)
class Cost:
    """What a job takes, from one picture.

    Attributes:
        title: The codec at its point.
        image: The name of the picture.
        images: Of the source.
        coding, tasks: Seconds for the picture.
        workers: Pictures that are coded at once.
    """

    title: str
    image: str
    images: int
    coding: float
    tasks: float
    workers: int

    @property
    def images_per_second(self) -> float:
        return 1 / (self.coding / self.workers + self.tasks)

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
    """Time a job on the first picture of its source that concerns all its tasks, with nothing cached.

    Coding is timed alone, on one core for codecs that code several pictures at once. Recognisers, which work when every
    picture has been coded, are left out.

    Raises:
        UserError: The picture cannot be coded, or there is none.
    """
    images = job.source.images()
    with tempfile.TemporaryDirectory() as folder:
        contexts = [
            Context(Cache(Path(folder) / name), Path(folder), job.codec.title, job.seed, job.source.pairs)
            for name in ("warm-up", "timed")
        ]
        for task in job.tasks:
            task.begin(contexts[0])
        source, image, digest = _first(job, images)
        boxes = [(box.x, box.y, box.width, box.height) for task in job.tasks for box in task.faces(source)]
        corner = np.ascontiguousarray(image[:_WARM_UP, :_WARM_UP])
        job.codec.decode(job.codec.encode(corner, ()))
        start = time.perf_counter()
        coded = job.codec.decode(job.codec.encode(image, boxes))
        coding = time.perf_counter() - start
        for context in contexts:
            start = time.perf_counter()
            for task in job.tasks:
                task.begin(context)
                task.concerns(source, image, digest)
                task.observe(source, image, coded)
        tasks = time.perf_counter() - start
    workers = job.workers or job.codec.max_workers or os.cpu_count() or 1
    return Cost(job.codec.title, source.name, len(images), coding, tasks, workers)


def _first(job: Job, images: Iterable[SourceImage]) -> tuple[SourceImage, np.ndarray, str]:
    for source in images:
        try:
            image = source.load()
        except ImageError:
            continue
        digest = image_hash(image)
        if not any(task.concerns(source, image, digest) for task in job.tasks):
            return source, image, digest
    raise UserError(f"cost=true: no image of {job.source.name} concerns every task, so none can be timed")


def cost_table(costs: Sequence[Cost]) -> str:
    """The costs of a sweep as text for a terminal."""
    rows = [(each.title, f"{each.images_per_second:.2f} images/s", f"{each.images} images", duration(each.seconds))
            for each in costs]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    names = ", ".join(dict.fromkeys(each.image for each in costs))
    lines = [
        f"what {len(costs)} jobs take, each timed on one picture ({names}) with nothing cached, on this machine as "
        "busy as it is, without recognisers and reports:"
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
