"""torchvision's detectors with the weights it publishes for COCO."""

import pickle
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icm.detectors import weights as files
from icm.detectors.base import COCO_CATEGORIES, DetectorError, found, versions
from icm.preflight import Problem

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Model:
    """One of torchvision's models.

    Attributes:
        title: Its name in papers.
        kinds: What it finds.
        frozen: Its published weights were trained with batch normalisation without epsilon, which torchvision sets to 0
            when it loads them: left at its default, every box would move a little.
    """

    title: str
    kinds: tuple[str, ...] = ("bbox",)
    frozen: bool = False


MODELS = {
    "fasterrcnn_resnet50_fpn": Model("Faster R-CNN", frozen=True),
    "fasterrcnn_resnet50_fpn_v2": Model("Faster R-CNN v2"),
    "maskrcnn_resnet50_fpn": Model("Mask R-CNN", ("bbox", "segm"), frozen=True),
    "maskrcnn_resnet50_fpn_v2": Model("Mask R-CNN v2", ("bbox", "segm")),
    "retinanet_resnet50_fpn": Model("RetinaNet", frozen=True),
    "retinanet_resnet50_fpn_v2": Model("RetinaNet v2"),
    "fcos_resnet50_fpn": Model("FCOS"),
    "keypointrcnn_resnet50_fpn": Model("Keypoint R-CNN", ("bbox", "keypoints"), frozen=True),
}


class TorchvisionDetector:
    """One of torchvision's detectors, with the thresholds under which its accuracy is published.

    Args:
        model: torchvision's name of it, a key of ``MODELS``.
        weights: A state dict of that model, trained by the user; None: the published one for COCO.
        min_size: The picture is scaled so that its shorter side has this many pixels (and the longer 1333 at most).
        device: ``cpu`` or ``cuda``.

    The weights are loaded by the first `predict`. Several threads may predict at once.
    """

    def __init__(self, model: str, weights: str | Path | None = None, min_size: int = 800, device: str = "cpu"):
        if model not in MODELS:
            raise DetectorError(f"utility.model={model}: no such detector; choose from {', '.join(MODELS)}")
        if not isinstance(min_size, int) or min_size < 32:
            raise DetectorError(f"utility.min_size={min_size}: must be a whole number of pixels, at least 32")
        self.name = model
        self.title = MODELS[model].title
        self.kinds = MODELS[model].kinds
        self.categories = {1: "person"} if "keypoints" in self.kinds else COCO_CATEGORIES
        self.min_size = min_size
        self.device = device
        self._own = None if weights is None else Path(weights).expanduser()
        self._network: torch.nn.Module | None = None
        self._loading = threading.Lock()

    @property
    def parameters(self) -> dict[str, int | str]:
        """Every setting that shapes the detections."""
        return {"min_size": self.min_size, "device": self.device}

    @property
    def version(self) -> str:
        """The versions of the packages, and the digest of the weight file, that shape the detections."""
        return f"{versions('torchvision', 'torch')}, {files.describe(self._path)}"

    def preflight(self) -> list[Problem]:
        """What is missing before `predict` can work; imports no framework."""
        return files.problems(self.name, self._own)

    def predict(self, image: np.ndarray) -> list[dict]:
        """See `icm.detectors.base.ObjectDetector.predict`.

        Raises:
            DetectorError: the weights are missing, damaged or those of another model.
        """
        import torch

        with self._loading:
            self._network = self._network or self._load()
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(self.device).float() / 255
        with torch.inference_mode():
            (output,) = self._network([pixels])
        return [self._found(output, index) for index in range(len(output["scores"])) if self._is_named(output, index)]

    @property
    def _path(self) -> Path:
        return self._own or files.path_of(self.name)

    def _load(self) -> "torch.nn.Module":
        problems = self.preflight()
        if problems:
            raise DetectorError(f"{problems[0].what}. {problems[0].remedy}")
        import torch
        from torchvision.models import detection

        network = getattr(detection, self.name)(weights=None, weights_backbone=None, min_size=self.min_size)
        try:
            network.load_state_dict(torch.load(self._path, map_location="cpu", weights_only=True))
            if MODELS[self.name].frozen:
                for module in network.modules():
                    if isinstance(module, torch.nn.BatchNorm2d):
                        module.eps = 0.0
            return network.eval().to(self.device)
        except (OSError, EOFError, RuntimeError, TypeError, AttributeError, pickle.UnpicklingError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DetectorError(f"{self._path}: cannot be loaded as {self.name} ({reason})") from error

    def _is_named(self, output: dict, index: int) -> bool:
        """Whether a label is a class: the network has outputs for the ten gaps in COCO's ids, too."""
        return int(output["labels"][index]) in self.categories

    def _found(self, output: dict, index: int) -> dict:
        detection = found(output["labels"][index], output["scores"][index], output["boxes"][index].tolist())
        if "segm" in self.kinds:
            from pycocotools import mask

            # The network gives the probability of each pixel of the picture.
            rle = mask.encode(np.asfortranarray((output["masks"][index, 0] > 0.5).cpu().numpy().astype(np.uint8)))
            detection["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
        if "keypoints" in self.kinds:
            detection["keypoints"] = [float(value) for value in output["keypoints"][index].flatten()]
        return detection
