"""How codecs name themselves: readable, and never two by one name."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from icm import codecs
from icm.codecs.base import CodecError

ROOT = Path(codecs.__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "title", "series", "short"),
    [
        ("vvc:37", "VVC QP 37", "VVC", "QP 37"),
        ("vvc:37:fast", "VVC QP 37, preset fast", "VVC, preset fast", "QP 37"),
        ("vvc:37:fast:bt709", "VVC QP 37, preset fast, matrix bt709", "VVC, preset fast, matrix bt709", "QP 37"),
        ("hevc:20", "HEVC QP 20", "HEVC", "QP 20"),
        ("av1:20:4", "AV1 QP 20", "AV1", "QP 20"),
        ("jpeg:10", "JPEG quality 10", "JPEG", "quality 10"),
        ("webp:10:0", "WebP quality 10, effort 0", "WebP, effort 0", "quality 10"),
        ("jpeg2000:30", "JPEG 2000 quality 30", "JPEG 2000", "quality 30"),
        ("avif", "AVIF quality 50", "AVIF", "quality 50"),
        ("jxl", "JPEG XL quality 50", "JPEG XL", "quality 50"),
        ("none", "No codec", "No codec", ""),
        ("yuv420", "4:2:0 only", "4:2:0 only", ""),
        ("yuv420:bt709", "4:2:0 only, matrix bt709", "4:2:0 only, matrix bt709", ""),
        ("blur:0.1", "Blur 0.1", "Blur", "0.1"),
        ("blur:0.25:picture", "Blur 0.25, region picture", "Blur, region picture", "0.25"),
        ("pixelate", "Pixelate 8 blocks", "Pixelate", "8 blocks"),
        ("mask", "Black box", "Black box", ""),
        ("downscale:4", "Downscale 4", "Downscale", "4"),
        ("sa_icm:edge:mid", "SA-ICM mid", "SA-ICM", "mid"),
        ("sa_icm:faceless:low", "SA-ICM faceless low", "SA-ICM faceless", "low"),
        ("sa_icm:control:mid", "SA-ICM control mid", "SA-ICM control", "mid"),
    ],
)
def test_titles(text, title, series, short):
    codec = codecs.at(text)
    assert (codec.title, codec.series, codec.short) == (title, series, short)


def test_what_compares_with_what():
    assert codecs.create("vvc").baseline_of == "*"
    edge, control = (codecs.create("sa_icm", variant=variant, device="meta") for variant in ("edge", "control"))
    assert control.baseline_of == edge.series == "SA-ICM, device meta"
    assert (edge.variant, control.variant) == ("edge", "control")
    assert not edge.baseline_of
    others = [codecs.create(name) for name in ("jpeg", "none", "yuv420")]
    assert {codec.baseline_of for codec in others} == {""}
    assert [codec.ceiling for codec in (*others, edge)] == [False, True, True, False]
    assert not any(codec.uses_faces for codec in (*others, edge))


SETTINGS = {
    "vvc": {"qp": (1, 37), "preset": ("fast", "medium"), "matrix": ("bt601", "bt2020"), "range": ("limited", "full")},
    "jpeg": {"quality": (1, 10), "subsampling": ("4:2:0", "4:4:4")},
    "avif": {"quality": (1, 10), "subsampling": ("4:2:0", "4:4:4"), "effort": (3, 4)},
    "blur": {"strength": (0.1, 0.10001, 1), "region": ("faces", "picture")},
    # Torch computes nothing on the device meta, which is everywhere.
    "sa_icm": {
        "variant": ("edge", "control"),
        "rate": ("low", "mid"),
        "device": ("cpu", "meta"),
        "portable": (False, True),
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_two_settings_never_share_a_title_and_two_curves_never_a_series(name):
    values = itertools.product(*SETTINGS[name].values())
    made = [codecs.create(name, **dict(zip(SETTINGS[name], chosen, strict=True))) for chosen in values]
    assert len({codec.title for codec in made}) == len(made)
    curves = {}
    for codec in made:
        rest = {key: value for key, value in codec.parameters.items() if key not in (*codec.point, "checkpoint_sha256")}
        curves.setdefault(codec.series, set()).add(str(rest))
    assert all(len(settings) == 1 for settings in curves.values())


def test_reading_the_title_of_a_shipped_network_imports_no_framework():
    program = "import sys; from icm import codecs; codecs.create('sa_icm').title; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


# Checkpoints ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The function ``checkpoint(region, lmbda, **sizes)``: the file of an untrained network, as train.py keeps it.

    Without a region: as a published one is.
    """
    import torch

    from models.hyperprior import Hyperprior

    folder = tmp_path_factory.mktemp("checkpoints")

    def make(region: str | None = None, lmbda: float = 0.05, seed: int = 0, **sizes) -> Path:
        torch.manual_seed(seed)
        content = {"state_dict": Hyperprior(**{"N": 8, "M": 12, **sizes}).state_dict()}
        if region:
            config = {"objective": {"region": region, "lmbda": lmbda}, "network": sizes}
            content |= {"global_step": 1, "hyper_parameters": config}
        path = folder / f"{region}_{lmbda}_{seed}_{len(list(folder.iterdir()))}.ckpt"
        torch.save(content, path)
        return path

    return make


def test_a_checkpoint_of_train_py_says_what_it_is(checkpoint):
    edge = codecs.create("sa_icm", checkpoint=checkpoint("edge", 0.05))
    assert edge.series == "SA-ICM (Hyperprior N=8 M=12)"
    assert edge.title.startswith("SA-ICM (Hyperprior N=8 M=12) lambda 0.05, ")
    assert edge.short == "lambda 0.05"
    assert edge.point == {"lambda": 0.05}
    assert edge.parameters["lambda"] == 0.05
    plain = codecs.create("learned", checkpoint=checkpoint("plain", 0.02, M=96))
    assert plain.series == "Hyperprior N=8, plain"
    assert plain.title.startswith("Hyperprior N=8, plain lambda 0.02, ")
    assert codecs.create("learned", checkpoint=checkpoint("edge")).series == "Hyperprior N=8 M=12, edge"


@pytest.mark.parametrize("region", ["plain", "object"])
def test_sa_icm_is_trained_for_edges(checkpoint, region):
    with pytest.raises(CodecError, match=rf"trained under objective={region}.*use codec=learned"):
        codecs.create("sa_icm", checkpoint=checkpoint(region))


def test_a_published_checkpoint_is_known_by_its_architecture_and_its_bytes(checkpoint):
    from icm.files import file_sha256

    path = checkpoint()
    for name, series in (("learned", "Hyperprior N=8 M=12"), ("sa_icm", "SA-ICM (Hyperprior N=8 M=12)")):
        codec = codecs.create(name, checkpoint=path)
        assert codec.series == series
        assert codec.title == f"{series}, {file_sha256(path)[:8]}"
        assert (codec.short, codec.point) == ("", {})


def test_no_two_checkpoints_share_a_title(checkpoint):
    paths = [checkpoint("edge", 0.05, seed) for seed in range(2)] + [checkpoint(seed=seed) for seed in range(2)]
    made = [codecs.create("sa_icm", checkpoint=path) for path in paths]
    assert len({codec.title for codec in made}) == len(made)
    assert len({codec.series for codec in made}) == 1


def test_the_user_may_name_them(checkpoint):
    path = checkpoint()
    codec = codecs.create("learned", checkpoint=path, title="LIC-TCM 3", series="LIC-TCM")
    assert (codec.title, codec.series) == ("LIC-TCM 3", "LIC-TCM")
    assert codec.parameters == codecs.create("learned", checkpoint=path).parameters
