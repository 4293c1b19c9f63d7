"""Every option of the groups faces, detector and embedder composes into a working object."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from icm.faces import weights
from icm.faces.detection import BACKENDS
from icm.faces.embedding import MODELS

CONF = Path(__file__).resolve().parents[2] / "conf"


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


def test_there_is_an_option_for_everything():
    assert options("detector") == sorted(BACKENDS)
    assert options("faces") == ["coco", "coco15", "demo", "folder"]
    assert options("embedder") == sorted([*weights.PAPER, "facenet512", "buffalo_l", "dlib", "paper"])


@pytest.mark.parametrize("name", options("detector"))
def test_detectors(name, read):
    assert instantiate(read(f"detector={name}").detector).backend == name


@pytest.mark.parametrize("name", options("faces"))
def test_faces(name, read, tmp_path):
    config = read(f"faces={name}", *([] if name == "demo" else [f"faces.path={tmp_path}"]))
    assert instantiate(config.faces).name == name


@pytest.mark.parametrize("name", [name for name in options("embedder") if name != "paper"])
def test_embedders(name, read):
    embedder = instantiate(read(f"embedder={name}").embedder)[name]
    assert embedder.name == name
    assert MODELS[embedder.model][0] == name


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
    assert list(read(f"embedder={choice}").embedder) == names
