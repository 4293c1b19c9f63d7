"""A job on pictures that were never seen: faces are sought while others are coded, against one after the other."""

import logging
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.case import Case, Options, lazily
from icm import codecs
from icm.config import compose_job
from icm.evaluation.cache import Cache, image_hash
from icm.evaluation.faces import FacesTask
from icm.evaluation.job import Job
from icm.evaluation.recognition import detect
from icm.faces.sources import DemoFaces

_CODECS = {"VVC QP 37": partial(codecs.create, "vvc", qp=37), "SA-ICM, mid": partial(codecs.create, "sa_icm")}


def cases(options: Options) -> Iterator[Case]:
    for title, codec in _CODECS.items():
        yield Case(
            f"{title}: a job on the demo's 16 scenes, MTCNN and Dlib, nothing cached",
            "all faces found first",
            *lazily(_job, codec),
        )


def _job(make_codec: Callable) -> tuple[Callable, Callable]:
    logging.getLogger("icm").setLevel(logging.ERROR)
    codec = make_codec()
    (given,) = compose_job(embedder="dlib")
    detector, (dlib,), (attack,) = given.detector, given.embedders, given.attacks

    def measure(first: Callable[[Cache], None] | None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            cache = Cache(Path(folder, "cache"))
            if first is not None:
                first(cache)
            task = FacesTask(detector, {"dlib": dlib}, {"none": attack})
            Job(codec, DemoFaces(), [task]).run(cache, Path(folder, "run"))

    def find_all(cache: Cache) -> None:
        for source in DemoFaces().images():
            image = source.load()
            detect(image, image_hash(image), detector, cache, source.known_faces)

    return partial(measure, None), partial(measure, find_all)
