"""Every option of the group utility composes into a working object."""

import json
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from icm.detectors import torchvision_detector, ultralytics_detector

GROUP = Path(__file__).resolve().parents[2] / "conf" / "utility"
NAMES = sorted(path.stem for path in GROUP.glob("*.yaml"))


def test_there_is_an_option_for_every_detector():
    assert set(NAMES) == {"hog", *torchvision_detector.MODELS, *ultralytics_detector.MODELS}


@pytest.mark.parametrize("name", NAMES)
def test_options(name, torch_home):
    detector = instantiate(OmegaConf.load(GROUP / f"{name}.yaml"))
    assert detector.name == name
    assert detector.title
    assert "bbox" in detector.kinds
    assert detector.categories[1] == "person"
    assert json.loads(json.dumps(detector.parameters)) == detector.parameters
    assert all(name in problem.remedy or "pip install" in problem.remedy for problem in detector.preflight())
    assert bool(detector.preflight()) == (name != "hog")
