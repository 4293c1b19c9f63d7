"""``python -m icm rate``: whole pictures coded to real bits, in parts, over interruptions."""

import csv
import json
import shutil

import cv2
import numpy as np
import pytest

from icm.__main__ import main
from icm.codecs.base import payload_size
from icm.codecs.learned import LearnedCodec
from icm.codecs.shipped import FOLDER
from icm.images import read_image
from icm.masks.annotations import AnnotationMasks
from icm.metrics.quality import psnr
from icm.splits import Split

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {"a.png": (96, 128), "b.png": (70, 101), "c.png": (64, 64), "sub/d.png": (128, 96), "unlisted.png": (80, 64)}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A trained network, under a name that looks like a key."""
    path = tmp_path_factory.mktemp("network") / "epoch=3.safetensors"
    shutil.copy(FOLDER / "edge_low.safetensors", path)
    return path


@pytest.fixture
def pictures(tmp_path, make_picture):
    """A data set of one split, whose annotations list all pictures but one."""
    folder = tmp_path / "data" / "val2017"
    for seed, (name, size) in enumerate(SIZES.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), make_picture(*size, seed=seed))
    square = [[10, 10, 50, 10, 50, 50, 10, 50]]
    listed = [(n, name, size) for n, (name, size) in enumerate(SIZES.items()) if name != "unlisted.png"]
    content = {
        "images": [{"id": n, "file_name": name, "height": size[0], "width": size[1]} for n, name, size in listed],
        "annotations": [{"id": n, "image_id": n, "segmentation": square, "iscrowd": 0} for n, _, _ in listed],
        "categories": [],
    }
    path = tmp_path / "data" / "annotations" / "instances_val2017.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return tmp_path / "data"


@pytest.fixture
def rate(network, pictures, tmp_path, monkeypatch):
    """The function ``rate(out, *keys)``: the command's exit status, its results in ``tmp_path / out``."""
    # Half of the time would go into drawing a report that nobody here looks at.
    monkeypatch.setattr("icm.report.html.write_report", lambda runs, path, **options: path)

    def command(out: str, *keys: str, cache: str = "cache") -> int:
        given = [f"data.path={pictures}", f"cache={tmp_path / cache}", f"out={tmp_path / out}"]
        return main(["rate", str(network), *given, *keys])

    return command


def rows(folder) -> list[dict]:
    with open(folder / "images.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_rate_and_distortion_are_those_of_the_real_bitstreams(rate, network, pictures, tmp_path, capsys):
    assert rate("out") == 0
    codec = LearnedCodec("learned", network)
    split = Split(pictures, "val2017", pictures / "val2017", pictures / "annotations" / "instances_val2017.json")
    reader = AnnotationMasks().open(split)
    found = rows(tmp_path / "out" / "0")
    assert [row["image"] for row in found] == list(SIZES)
    for row in found:
        image = read_image(pictures / "val2017" / row["image"])
        height, width = image.shape[:2]
        bitstream = codec.encode(image)
        assert float(row["bpp"]) == pytest.approx(8 * payload_size(bitstream) / (height * width), abs=1e-6)
        # The last words of two strings, of pictures this small.
        assert 0 <= (float(row["bpp"]) - float(row["estimated_bpp"])) * height * width < 250
        coded = codec.decode(bitstream)
        assert float(row["psnr"]) == pytest.approx(psnr(image, coded), abs=1e-6)
        if row["image"] == "unlisted.png":
            assert row["masked_psnr"] == row["unmasked_psnr"] == ""
            continue
        mask = reader.read(row["image"], height, width)
        assert float(row["masked_psnr"]) == pytest.approx(psnr(image, coded, mask), abs=1e-6)
        assert float(row["unmasked_psnr"]) == pytest.approx(psnr(image, coded, 1 - mask), abs=1e-6)
    printed = capsys.readouterr().out
    mean = np.mean([float(row["bpp"]) for row in found])
    assert f"{codec.title}: 5 pictures, {mean:.4f} bpp, estimated " in printed
    table = list(csv.DictReader((tmp_path / "out" / "table.csv").open()))
    assert float(table[0]["bpp"]) == pytest.approx(mean, abs=1e-6)
    assert float(table[0]["estimated_bpp"]) == pytest.approx(np.mean([float(row["estimated_bpp"]) for row in found]))


def test_parts_together_are_what_one_command_makes_and_nothing_is_coded_twice(rate, tmp_path, monkeypatch, capsys):
    assert rate("whole", cache="another") == 0
    for index in range(2):
        assert rate(f"part{index}", f"shard={index}/2") == 0
    assert [row["image"] for row in rows(tmp_path / "part1" / "0")] == ["b.png", "sub/d.png"]
    assert "part 1 of 2 (from 0)" in capsys.readouterr().out
    for method in ("encode", "decode", "estimated_bits"):
        monkeypatch.setattr(LearnedCodec, method, lambda *_, **__: pytest.fail("coded again"))
    assert rate("merged") == 0
    for name in ("0/images.csv", "0/summary.json", "table.csv"):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_interrupted_command_goes_on_where_it_stopped(rate, tmp_path, monkeypatch):
    encode, coded = LearnedCodec.encode, []

    def killed(self, image, faces=()):
        if len(coded) == 2:
            raise KeyboardInterrupt
        coded.append(image.shape)
        return encode(self, image, faces)

    monkeypatch.setattr(LearnedCodec, "encode", killed)
    assert rate("out") == 130
    assert not (tmp_path / "out" / "0" / "summary.json").exists()
    coded.append(None)  # it lives on
    assert rate("out") == 0
    assert len(coded) == len(SIZES) + 1


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["limit=0"], "limit=0: use a number of pictures, or null for all"),
        (["shard=4/4"], "shard=4/4: use INDEX/COUNT"),
        (["split=test2017"], "split=test2017: no such folder of images"),
        (["data.annotations=none.json"], "masks=annotations needs the annotations"),
        (["masks.dilation=2"], "masks.dilation=2: "),
        (["device=tpu"], "device=tpu: use cpu or cuda"),
        (["qp=3"], "python -m icm rate --help lists the keys"),
        (["missing.ckpt"], "missing.ckpt: no such file"),
    ],
)
def test_mistakes_are_told_before_the_first_picture(rate, keys, message, tmp_path, capsys):
    assert rate("out", *keys) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "0").exists()


def test_a_command_without_checkpoints_says_so(capsys):
    assert main(["rate", "data.path=COCO"]) == 1
    assert "name at least one checkpoint" in capsys.readouterr().err
