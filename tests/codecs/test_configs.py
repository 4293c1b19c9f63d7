"""Every file of ``conf/codec`` composes and makes the codec that it names; a new codec needs no more than a file."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

import icm
from icm import codecs
from icm.codecs.base import CodecError, unpack

CONF = Path(icm.__file__).parents[1] / "conf"
OPTIONS = sorted(path.stem for path in (CONF / "codec").glob("*.yaml"))
EXPERIMENTS = [path.stem for path in sorted((CONF / "experiment").glob("*.yaml")) if "codec.at" in path.read_text()]


def codec_of(option: str, *overrides: str) -> dict:
    with initialize_config_dir(str(CONF), version_base=None):
        return compose(overrides=[f"+codec={option}", "+qp=33", *overrides]).codec


@pytest.mark.parametrize("name", [name for name in codecs.NAMES if name != "learned"])
def test_it_makes_the_codec_it_names_and_says_its_defaults(name):
    codec = instantiate(codec_of(name))
    assert codec.name == name
    expected = codecs.create(name, **{key: 33 for key in codec.point if key == "qp"})
    assert codec.parameters == expected.parameters
    assert codec.title == expected.title


@pytest.mark.parametrize("option", OPTIONS)
def test_every_key_has_a_comment(option):
    lines = (CONF / "codec" / f"{option}.yaml").read_text().splitlines()
    keys = [line for line in lines if not line.startswith(("#", "_target_", "name"))]
    assert lines[0].startswith("# ")
    assert all("  # " in line for line in keys)
    if option != "point":
        assert list(codecs.options(option)) == [line.partition(":")[0] for line in keys]
        assert all(codecs.options(option).values())


def test_settings_reach_the_codec():
    codec = instantiate(codec_of("vvc", "codec.preset=faster", "codec.matrix=bt709", "codec.range=full", "codec.qp=20"))
    assert codec.parameters == {"qp": 20, "preset": "faster", "matrix": "bt709", "range": "full"}


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("vvc:32", "vvc", {"qp": 32}),
        ("vvc:32:fast", "vvc", {"qp": 32, "preset": "fast"}),
        ("jpeg:10", "jpeg", {"quality": 10}),
        ("sa_icm:control:low", "sa_icm", {"variant": "control", "rate": "low"}),
        ("none", "none", {}),
    ],
)
def test_a_point_in_one_word(text, name, options):
    codec = instantiate(codec_of("point", f"codec.at={text}"))
    expected = codecs.create(name, **options)
    assert (codec.name, codec.title, codec.parameters) == (name, expected.title, expected.parameters)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h264:32", r"codec\.name=h264: no such codec"),
        ("jpeg:1:2:3", r"codec\.at=jpeg:1:2:3: jpeg takes at most 2 values \(quality, subsampling\)"),
        ("vvc:loud", r"codec\.qp=loud: vvc takes a QP from 0 to 63"),
    ],
)
def test_a_point_that_is_none(text, message):
    with pytest.raises(CodecError, match=message):
        codecs.at(text)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_point_of_an_experiment_is_a_codec_of_its_own(experiment):
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("evaluate", overrides=[f"experiment={experiment}"], return_hydra_config=True)
    points = [text.strip() for text in config.hydra.sweeper.params["codec.at"].split(",")]
    titles = [codecs.at(text).title for text in points]
    assert len(set(titles)) == len(points) > 6
    assert config.codec._target_ == "icm.codecs.at"


INVERTED = '''
from icm.codecs.plain import NoCodec
from icm.codecs.base import Container, pack, unpack_for

class Inverted(NoCodec):
    """The picture's negative."""

    name = "inverted"
    title = series = "Inverted"

    def __init__(self, strength=1):
        super().__init__()
        self.parameters = {"strength": strength}

    def encode(self, image, faces=()):
        return pack(Container(self.name, self.parameters, image.shape[1], image.shape[0], (255 - image).tobytes()))
'''


def test_a_new_codec_is_a_class_and_a_file(tmp_path, monkeypatch, picture):
    (tmp_path / "inverted_codec.py").write_text(INVERTED)
    (tmp_path / "inverted.yaml").write_text("# Negative.\n_target_: inverted_codec.Inverted\nstrength: 1  # of it\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(codecs, "FOLDER", tmp_path)
    bitstream = codecs.create("inverted", strength=2).encode(picture)
    assert unpack(bitstream).codec == "inverted"
    np.testing.assert_array_equal(codecs.decode(bitstream), 255 - picture)
    assert codecs.at("inverted:3").parameters == {"strength": 3}
    with pytest.raises(CodecError, match=r"codec\.qp=3: inverted has no such option; it takes strength"):
        codecs.create("inverted", qp=3)
    sys.modules.pop("inverted_codec")
