"""Ultralytics' detectors, which are an optional extra."""

import importlib.util

import numpy as np
import pytest

from icm.detectors import weights
from icm.detectors.base import COCO_CATEGORIES, DetectorError
from icm.detectors.ultralytics_detector import UltralyticsDetector

IMAGE = np.random.default_rng(0).integers(0, 255, (100, 140, 3), np.uint8)


def test_what_is_missing_is_named(torch_home, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ultralytics" else find(name))
    package, file = UltralyticsDetector("yolov5mu").preflight()
    assert package.remedy == "Install it with: python -m pip install ultralytics"
    assert str(torch_home / "hub" / "checkpoints" / "yolov5mu.pt") in file.what
    assert file.remedy.endswith("python -m icm download utility yolov5mu")
    with pytest.raises(DetectorError, match="which is not installed"):
        UltralyticsDetector("yolov5mu").predict(IMAGE)
    with pytest.raises(DetectorError, match=r"utility\.model=yolov9"):
        UltralyticsDetector("yolov9")


def test_random_weights_in_its_own_format(torch_home, monkeypatch, tmp_path):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    ultralytics = pytest.importorskip("ultralytics")
    model = ultralytics.YOLO("yolov8n.yaml")
    model.model.names = dict(enumerate(COCO_CATEGORIES.values()))
    for head in model.model.model[-1].cv3:
        head[-1].bias.data[79] = 3.0
    path = weights.path_of("yolov8n")
    path.parent.mkdir(parents=True)
    model.save(str(path))
    detector = UltralyticsDetector("yolov8n", image_size=160)
    assert detector.preflight() == []
    assert "yolov8n.pt" in detector.version
    found = detector.predict(IMAGE)
    assert found == detector.predict(IMAGE)
    assert found[0]["category_id"] == 90, "class 79 of 80 is the toothbrush, 90 in COCO's annotations"
    assert found == sorted(found, key=lambda one: -one["score"])
    corners = np.array([one["bbox"] for one in found])
    assert (corners >= 0).all()
    assert ((corners[:, :2] + corners[:, 2:]) <= [140.001, 100.001]).all()
    model.model.names[3] = "unicorn"
    model.save(str(path))
    with pytest.raises(DetectorError, match="knows the class unicorn"):
        UltralyticsDetector("yolov8n").predict(IMAGE)
