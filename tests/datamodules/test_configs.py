"""Every data and masks option composes and builds."""

from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from datamodules.coco import MaskedDataModule

CONF = Path(__file__).resolve().parents[2] / "conf"
DATA = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))
MASKS = sorted(path.stem for path in (CONF / "masks").glob("*.yaml"))


def build(data, masks):
    parts = {
        "data": OmegaConf.load(CONF / "data" / f"{data}.yaml"),
        "masks": OmegaConf.load(CONF / "masks" / f"{masks}.yaml"),
    }
    config = OmegaConf.create({"seed": 3, **parts})
    config.data.path = "/data/set" if "path" in config.data else None
    if config.data.path is None:
        del config.data["path"]
    return instantiate(config.data)


@pytest.mark.parametrize("data", DATA)
def test_every_data_set_builds_with_its_masks(data):
    made = build(data, "boundaries" if data == "scenes" else "annotations")
    assert isinstance(made, MaskedDataModule)
    assert made.seed == 3


@pytest.mark.parametrize("masks", MASKS)
def test_every_kind_of_mask_builds(masks):
    assert hasattr(build("coco", masks).masks, "open")


def test_the_options_of_the_contract_exist():
    assert {"coco", "demo", "folder", "scenes"} <= set(DATA)
    assert {"sam", "annotations", "objects", "boundaries", "none"} <= set(MASKS)
