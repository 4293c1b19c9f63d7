"""VVC coding of several images: one single-threaded process per core against one image at a time."""

import os
from concurrent.futures import ThreadPoolExecutor

from icm import codecs
from icm.faces.sources import DemoFaces


def cases():
    """One case: four demo scenes at QP 37."""
    images = [scene.load() for scene in DemoFaces().images()[:4]]
    codec = codecs.create("vvc", qp=37)

    def parallel():
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as executor:
            list(executor.map(codec.encode, images))

    yield "vvc: images in parallel / one after another", parallel, lambda: [codec.encode(image) for image in images]
