"""VVC coding of several images: one single-threaded process per core against one image at a time."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.case import Case, Options
from icm import codecs
from icm.faces.sources import DemoFaces


def cases(options: Options) -> Iterator[Case]:
    images = [scene.load() for scene in DemoFaces().images()[:4]]
    codec = codecs.create("vvc", qp=37)

    def parallel() -> None:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as executor:
            list(executor.map(codec.encode, images))

    def serial() -> None:
        for image in images:
            codec.encode(image)

    yield Case("VVC, 4 demo scenes at QP 37", "one ffmpeg after another", parallel, serial, goal=1.8)
