"""Every data and masks option composes and builds."""

import dataclasses
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from datamodules.coco import MaskedDataModule
from icm.masks.sam import SamMasks
from models.objective import REGIONS

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
    made = build("coco", masks).masks
    assert hasattr(made, "open")
    assert made.region in REGIONS
    assert made.region == {"none": "plain", "objects": "object"}.get(masks, "edge")


def test_training_knows_no_option_that_shapes_the_store_alone():
    """Changing one of them must not make another training run of it."""
    read, make = (set(OmegaConf.load(CONF / "masks" / name)) for name in ("sam.yaml", "make/sam.yaml"))
    assert read - {"_target_"} == {"alpha", "dilation", "path", "model"}
    assert not read & make
    assert read | make == {"_target_"} | {field.name for field in dataclasses.fields(SamMasks)}


def test_a_coco_folder_is_found_by_its_environment_variable(monkeypatch):
    for place, expected in (("/data/COCO", "/data/COCO"), (None, None)):
        monkeypatch.delenv("COCO", raising=False)
        if place:
            monkeypatch.setenv("COCO", place)
        for config in ("data/coco.yaml", "masks.yaml"):
            node = OmegaConf.load(CONF / config)
            assert node.get("data", node).path == expected


def test_the_options_of_the_contract_exist():
    assert {"coco", "demo", "folder", "scenes"} <= set(DATA)
    assert {"sam", "annotations", "objects", "boundaries", "none"} <= set(MASKS)
