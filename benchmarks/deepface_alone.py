"""DeepFace as a first script would use it: its own networks, and weights that anybody can make."""

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.random_weights import write_random_weights


@contextlib.contextmanager
def deepface_alone() -> Iterator[None]:
    """DeepFace with an MTCNN of its own, as the package makes it."""
    from deepface.modules import modeling

    modeling.build_model(task="face_detector", model_name="mtcnn")
    clients = modeling.cached_models["face_detector"]
    here, clients["mtcnn"] = clients["mtcnn"], _plain_mtcnn()
    try:
        yield
    finally:
        clients["mtcnn"] = here


@functools.cache
def _plain_mtcnn():
    from deepface.models.face_detection.MtCnn import MtCnnClient

    return MtCnnClient()


def install_random(home: Path, *names: str) -> None:
    """Random weights of recognisers in a DeepFace home of the benchmark's own."""
    from icm.faces import weights

    os.environ["DEEPFACE_HOME"] = str(home)
    for name in names:
        if name != "dlib" and not weights.path_of(name).is_file():
            write_random_weights(name)
