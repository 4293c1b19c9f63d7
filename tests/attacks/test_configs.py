"""Every option of the group attack composes into a working attack, and several at once."""

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from icm.parts import Part, identity

CONF = Path(__file__).resolve().parents[2] / "conf"
GROUPS = {"restoration", "all"}
NEEDS_A_FILE = {"restorer"}
OPTIONS = sorted({path.stem for path in (CONF / "attack").glob("*.yaml")} - GROUPS - NEEDS_A_FILE)


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
    assert {key: value for key, value in read(name)[name].items() if key in attack.parameters} == attack.parameters
    crop = np.zeros((30, 20, 3), np.uint8)
    assert attack.restore(crop).dtype == np.uint8


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("[none,projection]", ["none", "projection"]),
        ("restoration", ["deblock", "wiener", "sharpen", "upscale"]),
        ("[restoration,none]", ["deblock", "wiener", "sharpen", "upscale", "none"]),
        ("all", ["none", "coded_gallery", "projection", "classifier", "deblock", "wiener", "sharpen", "upscale"]),
    ],
)
def test_attacks_merge_by_name(choice, names, read):
    assert list(read(choice)) == names


def test_the_restorer_takes_a_file(read, tmp_path):
    (tmp_path / "weights").write_bytes(b"")
    config = read("restorer").restorer
    config.weights = str(tmp_path / "weights")
    attack = instantiate(config)
    assert (attack.name, attack.preflight()) == ("restorer", [])
