"""Ultralytics' YOLO detectors. The package is not in requirements.txt: python -m pip install ultralytics."""

import importlib.util
import threading
from pathlib import Path
from typing import Any

import numpy as np

from icm.detectors import weights as files
from icm.detectors.base import COCO_CATEGORIES, DetectorError, found, versions
from icm.preflight import Problem

MODELS = {"yolov5mu": "YOLOv5m", "yolov8n": "YOLOv8n", "yolov8m": "YOLOv8m"}


class UltralyticsDetector:
    """One of Ultralytics' detectors, with the thresholds under which its accuracy is published.

    Args:
        model: Ultralytics' name of it, a key of ``MODELS``.
        weights: A file of Ultralytics' own format, trained by the user on COCO's classes; None: the published one. Such
            a file is a pickle, which can run programs when it is loaded: use only files from those you trust.
        image_size: The longer side is scaled to this many pixels.
        device: ``cpu`` or ``cuda``.
    """

    kinds = ("bbox",)
    categories = COCO_CATEGORIES

    def __init__(self, model: str, weights: str | Path | None = None, image_size: int = 640, device: str = "cpu"):
        if model not in MODELS:
            raise DetectorError(f"utility.model={model}: no such detector; choose from {', '.join(MODELS)}")
        self.name = model
        self.title = MODELS[model]
        self.image_size = image_size
        self.device = device
        self._own = None if weights is None else Path(weights).expanduser()
        self._network: Any = None
        self._ids: dict[int, int] = {}
        # One picture at a time: Ultralytics keeps the state of a prediction in the model.
        self._predicting = threading.Lock()

    @property
    def parameters(self) -> dict[str, int | str]:
        """Every setting that shapes the detections."""
        return {"image_size": self.image_size, "device": self.device}

    @property
    def version(self) -> str:
        """The versions of the packages, and the digest of the weight file, that shape the detections."""
        return f"{versions('ultralytics', 'torch')}, {files.describe(self._path)}"

    def preflight(self) -> list[Problem]:
        """What is missing before `predict` can work; imports no framework."""
        problems = files.problems(self.name, self._own)
        if importlib.util.find_spec("ultralytics") is None:
            what = f"detector {self.name} needs the package ultralytics, which is not installed"
            problems.insert(0, Problem(what, "Install it with: python -m pip install ultralytics"))
        return problems

    def predict(self, image: np.ndarray) -> list[dict]:
        """See `icm.detectors.base.ObjectDetector.predict`.

        Raises:
            DetectorError: the package or the weights are missing, or the weights know other classes than COCO's.
        """
        with self._predicting:
            self._network = self._network or self._load()
            (result,) = self._network.predict(
                np.ascontiguousarray(image[:, :, ::-1]),
                imgsz=self.image_size,
                # The thresholds of Ultralytics' own validation.
                conf=0.001,
                iou=0.7,
                max_det=300,
                device=self.device,
                verbose=False,
            )
        boxes = result.boxes
        rows = zip(boxes.cls.tolist(), boxes.conf.tolist(), boxes.xyxy.tolist(), strict=True)
        return [found(self._ids[int(label)], score, corners) for label, score, corners in rows]

    @property
    def _path(self) -> Path:
        return self._own or files.path_of(self.name)

    def _load(self) -> Any:
        problems = self.preflight()
        if problems:
            raise DetectorError(f"{problems[0].what}. {problems[0].remedy}")
        from ultralytics import YOLO, settings

        # Ultralytics reports its use to its makers until this setting, which it keeps on disk, forbids it.
        settings.update({"sync": False})
        try:
            network = YOLO(str(self._path), task="detect")
            names = network.names
        except Exception as error:  # a pickle of any content can raise anything
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DetectorError(f"{self._path}: cannot be loaded as {self.name} ({reason})") from error
        # Ultralytics numbers the classes 0 to 79: names alone tell which is which.
        ids = {name: number for number, name in COCO_CATEGORIES.items()}
        if unknown := [name for name in names.values() if name not in ids]:
            raise DetectorError(f"{self._path}: knows the class {unknown[0]}, which is not one of COCO's")
        self._ids = {number: ids[name] for number, name in names.items()}
        return network
