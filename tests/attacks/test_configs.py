"""Every option of the group attack composes into a working attack, and several at once."""

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from icm.parts import Part, identity

CONF = Path(__file__).resolve().parents[2] / "conf"
GROUPS = {"restoration", "all"}
OPTIONS = sorted({path.stem for path in (CONF / "attack").glob("*.yaml")} - GROUPS)

OPTIONS_IN_ORDER = [
    "none",
    "coded_gallery",
    "projection",
    "classifier",
    "deblock",
    "wiener",
    "sharpen",
    "upscale",
    "restorer",
]


@pytest.fixture
def read(tmp_path):
    """The function ``read("none")``: what ``attack=none`` selects."""
    (tmp_path / "entry.yaml").write_text(
        f"defaults:\n  - attack: none\n  - _self_\nhydra:\n  searchpath: ['file://{CONF}']\n"
    )

    def read(choice):
        with initialize_config_dir(str(tmp_path), version_base=None):
            return compose("entry", overrides=[f"attack={choice}"]).attack

    return read


@pytest.mark.parametrize("name", OPTIONS)
def test_attacks(name, read):
    attack = instantiate(read(name))[name]
    assert isinstance(attack, Part)
    assert attack.name == name
    assert attack.title
    assert attack.gallery in ("original", "coded")
    assert attack.preflight() == []
    assert set(identity(attack)) == {"name", "parameters", "version"}
    config = read(name)[name]
    assert {key: attack.parameters[key] for key in config if key in attack.parameters}.items() <= config.items()
    crop = np.zeros((30, 20, 3), np.uint8)
    assert attack.restore(crop).dtype == np.uint8


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("[none,projection]", ["none", "projection"]),
        ("restoration", ["deblock", "wiener", "sharpen", "upscale"]),
        ("[restoration,none]", ["deblock", "wiener", "sharpen", "upscale", "none"]),
        ("all", OPTIONS_IN_ORDER),
    ],
)
def test_attacks_merge_by_name(choice, names, read):
    assert list(read(choice)) == names
