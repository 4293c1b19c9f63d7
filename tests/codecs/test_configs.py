"""Every file of ``conf/codec`` composes and makes the codec that it names."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

import icm

FOLDER = Path(icm.__file__).parents[1] / "conf"
OPTIONS = sorted(
    path.relative_to(FOLDER / "codec").with_suffix("").as_posix()
    for path in (FOLDER / "codec").rglob("*.yaml")
    if not path.name.startswith(("sa_icm", "control"))
)


def codec_of(option: str, *overrides: str) -> dict:
    with initialize_config_dir(str(FOLDER), version_base=None):
        return compose(overrides=[f"+codec={option}", "+qp=33", *overrides]).codec


@pytest.mark.parametrize("option", OPTIONS)
def test_it_makes_the_codec_it_names(option):
    codec = instantiate(codec_of(option))
    expected, _, point = option.rpartition("/")[2].partition("_")
    assert codec.name == expected
    if point:
        assert list(codec.point.values()) == [int(point.lstrip("qp"))]
    elif "qp" in codec.point:
        assert codec.point == {"qp": 33}


@pytest.mark.parametrize("rate", ["low", "mid", "high"])
@pytest.mark.parametrize(("name", "variant"), [("sa_icm", "edge"), ("control", "control")])
def test_the_points_of_the_shipped_networks_are_those(name, variant, rate):
    config = codec_of(f"point/{name}_{rate}")
    assert (config.name, config.variant, config.rate, config.checkpoint) == ("sa_icm", variant, rate, None)


@pytest.mark.parametrize("option", [option for option in OPTIONS if "/" not in option])
def test_every_key_has_a_comment(option):
    lines = (FOLDER / "codec" / f"{option}.yaml").read_text().splitlines()
    keys = [line for line in lines if not line.startswith(("#", "_target_", "name"))]
    assert lines[0].startswith("# ")
    assert all("  # " in line for line in keys)


def test_settings_reach_the_codec():
    codec = instantiate(codec_of("vvc", "codec.preset=faster", "codec.matrix=bt709", "codec.range=full", "codec.qp=20"))
    assert codec.parameters == {"qp": 20, "preset": "faster", "matrix": "bt709", "range": "full"}
