"""Every option of the groups faces, detector and embedder composes into a working object."""

import json
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from icm.faces import weights
from icm.faces.detection import BACKENDS, Detector
from icm.faces.embedding import Embedder
from icm.faces.sources import Source
from icm.parts import identity

CONF = Path(__file__).resolve().parents[2] / "conf"
MEAN_COLOUR = """
import numpy as np

class MeanColour:
    name, title, threshold, align = "mean_colour", "Mean colour", None, False
    parameters, version = {}, "1"

    def preflight(self):
        return []

    def embed(self, crops):
        return np.array([crop.mean(axis=(0, 1)) for crop in crops], dtype=np.float32)
"""


@pytest.fixture
def read(tmp_path):
    """The function ``read(group, choice)``: what ``group=choice`` selects, composed as an entry composes it."""
    (tmp_path / "entry.yaml").write_text(
        "defaults:\n  - faces: demo\n  - detector: mtcnn\n  - embedder: dlib\n  - _self_\n"
        f"hydra:\n  searchpath: ['file://{CONF}']\n"
    )

    def read(*overrides):
        with initialize_config_dir(str(tmp_path), version_base=None):
            return compose("entry", overrides=list(overrides))

    return read


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def test_every_detector_backend_has_an_option():
    assert set(BACKENDS) <= set(options("detector"))


@pytest.mark.parametrize("name", options("detector"))
def test_detectors(name, read, has_all_of):
    detector = instantiate(read(f"detector={name}").detector)
    assert has_all_of(detector, Detector)
    assert detector.name == name


@pytest.mark.parametrize("name", options("faces"))
def test_faces(name, read, tmp_path, has_all_of):
    config = read(f"faces={name}").faces
    if "path" in config:
        config.path = str(tmp_path)
    source = instantiate(config)
    assert has_all_of(source, Source)
    assert source.name == name
    json.dumps(identity(source))


@pytest.mark.parametrize("choice", options("embedder"))
def test_embedders(choice, read, has_all_of):
    chosen = instantiate(read(f"embedder={choice}").embedder)
    assert chosen
    for name, embedder in chosen.items():
        assert has_all_of(embedder, Embedder)
        assert embedder.name == name


def test_align_is_set_for_all_recognisers_or_for_one(read):
    def aligned(*overrides):
        return {name: part.align for name, part in instantiate(read(*overrides).embedder).items()}

    assert aligned("embedder=[dlib,arcface]") == {"dlib": False, "arcface": False}
    assert aligned("embedder=[dlib,arcface]", "embedder.align=true") == {"dlib": True, "arcface": True}
    assert aligned("embedder=[dlib,arcface]", "embedder.dlib.align=true") == {"dlib": True, "arcface": False}


def test_a_recogniser_of_ones_own_is_a_class_and_a_file(read, tmp_path, monkeypatch, has_all_of):
    """Nothing but these two says what there is."""
    (tmp_path / "mean_colour.py").write_text(MEAN_COLOUR)
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "embedder"
    folder.mkdir()
    (folder / "mean_colour.yaml").write_text("mean_colour: {_target_: mean_colour.MeanColour}\n")
    mine = instantiate(read("embedder=[dlib,mean_colour]").embedder)["mean_colour"]
    assert has_all_of(mine, Embedder)
    assert identity(mine)["name"] == "mean_colour"
    assert mine.embed([np.full((4, 5, 3), 7, np.uint8)]).tolist() == [[7, 7, 7]]
    assert list(instantiate(read("embedder=mean_colour").embedder)) == ["mean_colour"]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("dlib", ["dlib"]),
        ("[dlib,arcface]", ["dlib", "arcface"]),
        ("paper", list(weights.PAPER)),
        ("[paper,dlib]", [*weights.PAPER, "dlib"]),
    ],
)
def test_embedders_merge_by_name(choice, names, read):
    assert list(instantiate(read(f"embedder={choice}").embedder)) == names
