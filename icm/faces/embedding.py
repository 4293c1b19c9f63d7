"""Describing faces: DeepFace's recognisers on its PyTorch engine."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from icm.errors import UserError
from icm.faces import dlib_processes, weights
from icm.faces.deepface_setup import import_deepface, versions
from icm.malloc import keep_large_blocks
from icm.parts import Part
from icm.preflight import Problem


class Embedder(Part, Protocol):
    """A recogniser: turns crops of faces into vectors that are alike where the faces are. An option of conf/embedder.

    Attributes:
        title: Its name for people.
        threshold: The cosine similarity from which on it takes two faces for the same person; None where its authors
            give none.
        align: Whether it is to be given `icm.faces.crops.aligned_crop` instead of `icm.faces.crops.crop`.
    """

    title: str
    threshold: float | None
    align: bool

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings of face crops (HWC uint8 RGB, each of its own size), shape (n, dim), float32."""
        ...


@dataclass(frozen=True)
class Model:
    """One of DeepFace's recognisers.

    Attributes:
        title: Its name for people.
        weights: Its weight file's name in `icm.faces.weights.FILES`.
        distance: DeepFace's own threshold of verification: the largest cosine distance (1 - similarity) between two
            faces of one person (`deepface.modules.verification.find_threshold`, deepface 0.0.103).
        module, package: What runs it, as it is imported and as it is installed.
    """

    title: str
    weights: str
    distance: float
    module: str = "torch"
    package: str = "torch"


# By DeepFace's own names.
MODELS = {
    "VGG-Face": Model("VGG-Face", "vggface", 0.68),
    "Facenet": Model("FaceNet", "facenet", 0.40),
    "Facenet512": Model("FaceNet512", "facenet512", 0.30),
    "ArcFace": Model("ArcFace", "arcface", 0.68),
    "OpenFace": Model("OpenFace", "openface", 0.10),
    "GhostFaceNet": Model("GhostFaceNet", "ghostfacenet", 0.65),
    "DeepFace": Model("DeepFace", "deepface", 0.23),
    "DeepID": Model("DeepID", "deepid", 0.015),
    "SFace": Model("SFace", "sface", 0.593, "onnxruntime", "onnxruntime"),
    "Buffalo_L": Model("Buffalo_L", "buffalo_l", 0.55, "insightface", "insightface"),
    "Dlib": Model("Dlib", "dlib", 0.07, "dlib", "dlib-bin"),
}
NORMALIZATIONS = ("base", "raw", "Facenet", "Facenet2018", "VGGFace", "VGGFace2", "ArcFace")


class EmbeddingError(UserError):
    """A recogniser that does not exist, or cannot be loaded."""


class DeepFaceEmbedder:
    """One of DeepFace's recognisers.

    Args:
        name: What results call it, e.g. ``"dlib"``.
        model: DeepFace's name of it, a key of ``MODELS``.
        normalization: DeepFace's name of the pixel scaling the network was trained with (see conf/embedder/*.yaml).
        batch_size: Faces per forward pass. Dlib, SFace and Buffalo_L run face by face whatever it is, so a face's
            embedding is the same bytes in any company (Dlib's faces in a process for each core). PyTorch picks its
            kernels by batch shape: there the company of a face moves its embedding by about 1e-6 of its length.
            ``batch_size: 1`` ends that, at up to four times the seconds (VGG-Face).
        align: Whether faces are turned until their eyes are level before they are cropped, as recognisers are trained
            and verification is done.
    """

    def __init__(self, name: str, model: str, normalization: str, batch_size: int = 16, align: bool = False):
        if model not in MODELS:
            raise EmbeddingError(f"embedder.{name}.model={model}: no such recogniser; choose from {', '.join(MODELS)}")
        if normalization not in NORMALIZATIONS:
            choices = ", ".join(NORMALIZATIONS)
            raise EmbeddingError(f"embedder.{name}.normalization={normalization}: choose from {choices}")
        if batch_size < 1:
            raise EmbeddingError(f"embedder.{name}.batch_size={batch_size}: must be at least 1")
        self.name = name
        self.model = model
        self.normalization = normalization
        self.batch_size = batch_size
        self.align = align
        self.title = MODELS[model].title
        self.threshold = round(1 - MODELS[model].distance, 6)

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        """Every setting that shapes the embedding."""
        return {
            "model": self.model,
            "normalization": self.normalization,
            "batch_size": self.batch_size,
            "align": self.align,
        }

    @property
    def version(self) -> str:
        """The versions of the packages, and the digest of the weight file, that shape the embedding."""
        model = MODELS[self.model]
        return f"{versions('deepface', model.package)}, {weights.describe(model.weights)}"

    def preflight(self) -> list[Problem]:
        """What is missing before `embed` can work; imports no framework."""
        model = MODELS[self.model]
        problems = weights.problems([model.weights])
        if importlib.util.find_spec(model.module) is None:
            what = f"embedder {self.name} needs the package {model.package}, which is not installed"
            problems.insert(0, Problem(what, f"Install it with: python -m pip install {model.package}"))
        return problems

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings of face crops, shape (n, dim), float32, not normalised unless the model itself does.

        DeepFace resizes each crop to the network's input, keeping its aspect ratio and padding with black.

        Args:
            crops: HWC uint8 RGB, each of its own size.

        Raises:
            EmbeddingError: The weights are missing or damaged; the message names the file and the remedy.
        """
        problems = self.preflight()
        if problems:
            raise EmbeddingError(f"{problems[0].what}. {problems[0].remedy}")
        import_deepface()
        from deepface.modules.modeling import build_model

        model = MODELS[self.model]
        path = weights.install(model.weights)
        if model.module == "torch":
            keep_large_blocks()
        with weights.loading(model.weights):
            network = build_model(task="facial_recognition", model_name=self.model)
        if self.model == "Dlib":
            faces = (self._input(network, [crop]) for crop in crops)
            rows = dlib_processes.forward(network, path, faces, len(crops))
        else:
            rows = []
            for start in range(0, len(crops), self.batch_size):
                batch = crops[start : start + self.batch_size]
                found = network.forward(self._input(network, batch))
                rows += [found] if len(batch) == 1 else found  # DeepFace unwraps a batch of one
        return np.asarray(rows, dtype=np.float32).reshape(len(crops), network.output_shape)

    def _input(self, network, crops: Sequence[np.ndarray]) -> np.ndarray:
        """What ``DeepFace.represent`` makes of faces that need no detecting: (n, height, width, 3), float32, BGR."""
        from deepface.modules.preprocessing import normalize_input, resize_image

        height, width = network.input_shape[1], network.input_shape[0]  # as there: DeepID's is width first
        faces = [resize_image(np.ascontiguousarray(crop[..., ::-1]), (height, width)) for crop in crops]
        return np.concatenate([normalize_input(face, self.normalization) for face in faces])


def chosen(align: bool = False, **embedders: Embedder) -> dict[str, Embedder]:
    """The recognisers of ``embedder=[NAME,...]`` by name.

    Args:
        align: What ``embedder.align`` sets for every one of them; their own configurations refer to it.
        embedders: The recognisers.
    """
    return embedders
