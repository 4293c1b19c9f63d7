"""Describing faces: DeepFace's recognisers on its PyTorch engine."""

import importlib.util
from collections.abc import Sequence

import numpy as np

from icm.errors import UserError
from icm.faces import weights
from icm.faces.deepface_setup import import_deepface, versions
from icm.preflight import Problem

# DeepFace's name of each recogniser -> its weight file's name in `weights.FILES`, and the module and the package
# that run it.
MODELS = {
    "VGG-Face": ("vggface", "torch", "torch"),
    "Facenet": ("facenet", "torch", "torch"),
    "Facenet512": ("facenet512", "torch", "torch"),
    "ArcFace": ("arcface", "torch", "torch"),
    "OpenFace": ("openface", "torch", "torch"),
    "GhostFaceNet": ("ghostfacenet", "torch", "torch"),
    "SFace": ("sface", "onnxruntime", "onnxruntime"),
    "Buffalo_L": ("buffalo_l", "insightface", "insightface"),
    "Dlib": ("dlib", "dlib", "dlib-bin"),
}
NORMALIZATIONS = ("base", "raw", "Facenet", "Facenet2018", "VGGFace", "VGGFace2", "ArcFace")


class EmbeddingError(UserError):
    """A recogniser that does not exist, or cannot be loaded."""


class Embedder:
    """One recogniser.

    Args:
        name: What results call it, e.g. ``"dlib"``.
        model: DeepFace's name of it, a key of ``MODELS``.
        normalization: DeepFace's name of the pixel scaling the network was trained with (see conf/embedder/*.yaml).
        batch_size: Faces per forward pass. Dlib, SFace and Buffalo_L run face by face whatever it is, so a face's
            embedding is the same bytes in any company. PyTorch picks its kernels by batch shape: there the company
            of a face moves its embedding by about 1e-6 of its length. ``batch_size: 1`` ends that, at up to four
            times the seconds (VGG-Face).
    """

    def __init__(self, name: str, model: str, normalization: str, batch_size: int = 16):
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

    @property
    def parameters(self) -> dict[str, int | float | str | bool]:
        """Every setting that shapes the embedding."""
        return {"model": self.model, "normalization": self.normalization, "batch_size": self.batch_size}

    @property
    def version(self) -> str:
        """The versions of the packages, and the digest of the weight file, that shape the embedding."""
        weight, _, package = MODELS[self.model]
        return f"{versions('deepface', package)}, {weights.describe(weight)}"

    def preflight(self) -> list[Problem]:
        """What is missing before `embed` can work; imports no framework."""
        weight, module, install = MODELS[self.model]
        problems = weights.problems([weight])
        if importlib.util.find_spec(module) is None:
            what = f"embedder {self.name} needs the package {install}, which is not installed"
            problems.insert(0, Problem(what, f"Install it with: python -m pip install {install}"))
        return problems

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings of face crops, shape (n, dim), float32, not normalised unless the model itself does.

        DeepFace resizes each crop to the network's input, keeping its aspect ratio and padding with black.

        Args:
            crops: HWC uint8 RGB, each of its own size.

        Raises:
            EmbeddingError: the weights are missing or damaged; the message names the file and the remedy.
        """
        problems = self.preflight()
        if problems:
            raise EmbeddingError(f"{problems[0].what}. {problems[0].remedy}")
        deepface = import_deepface()
        from deepface.modules.modeling import build_model

        weight = MODELS[self.model][0]
        weights.install(weight)
        with weights.loading(weight):
            network = build_model(task="facial_recognition", model_name=self.model)
        rows = []
        for start in range(0, len(crops), self.batch_size):
            batch = [np.ascontiguousarray(face[:, :, ::-1]) for face in crops[start : start + self.batch_size]]
            faces = deepface.represent(
                batch,
                model_name=self.model,
                detector_backend="skip",
                enforce_detection=False,
                align=False,
                normalization=self.normalization,
            )
            # DeepFace unwraps a list of one: [{...}] instead of [[{...}]].
            rows += [face["embedding"] for face in (faces if len(batch) == 1 else [found[0] for found in faces])]
        return np.asarray(rows, dtype=np.float32).reshape(len(crops), network.output_shape)
