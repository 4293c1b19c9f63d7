"""``python -m icm masks``."""

import argparse
import copy
import functools
import queue
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from icm.__main__ import main
from icm.commands import masks as command
from icm.images import read_image
from icm.masks import make
from icm.masks.sam import SamMasks
from icm.masks.sam_generator import SamSettings
from icm.masks.store import MaskStore
from icm.splits import Split

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def fake_weights(tmp_path, tiny_sam, monkeypatch):
    """Let the tiny network stand for vit_b; the overrides that the commands of these tests need."""
    import icm.masks.sam

    monkeypatch.setattr(icm.masks.sam, "load_sam", lambda model, checkpoint: tiny_sam)
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"stand-in")
    return [
        f"masks.checkpoint={weights}",
        "masks.points_per_side=3",
        "masks.stability=0",
        "masks.alpha=0.5",
        "device=cpu",
    ]


def store_of(photos):
    return SamMasks().folder(Split(photos, ".", photos))


def test_the_whole_path(photos, fake_weights, capfd):
    assert main(["masks", f"data.path={photos}", "masks=sam", *fake_weights]) == 0
    folder = store_of(photos)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.gz")) == [
        "a.png.json.gz",
        "b.png.json.gz",
        "c.png.json.gz",
        "deep/d.png.json.gz",
    ]
    output = capfd.readouterr()
    assert "4 images done" in output.out
    assert "image/s" in output.err
    assert "the first image took" in output.out + output.err
    assert read_image(folder / "preview.png").shape[1] > 600
    names = ["a.png", "deep/d.png"]
    low, high = (SamMasks(alpha=alpha).open(Split(photos, ".", photos)) for alpha in (0.5, 0.8))
    assert low.usable(names) == names
    image = read_image(photos / "a.png")
    low_edges, high_edges = (reader.read("a.png", *image.shape[:2]) for reader in (low, high))
    assert low_edges.any()
    assert (high_edges <= low_edges).all()


def test_it_resumes_and_redoes_damaged_files(photos, fake_weights, capfd):
    arguments = ["masks", f"data.path={photos}", "masks=sam", "preview=0", *fake_weights]
    assert main(arguments) == 0
    folder = store_of(photos)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.gz")}
    damaged = folder / "b.png.json.gz"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-5])
    (folder / "c.png.json.gz").unlink()
    capfd.readouterr()
    assert main(arguments) == 0
    assert "2 images done, 2 were there already" in capfd.readouterr().out
    assert damaged.read_bytes() == whole
    assert (folder / "a.png.json.gz").stat().st_mtime_ns == times[folder / "a.png.json.gz"]
    assert not (folder / "preview.png").exists()


def test_bad_images_are_listed_and_the_others_kept(photos, fake_weights, capfd):
    (photos / "b.png").write_bytes((photos / "b.png").read_bytes()[:200])
    assert main(["masks", f"data.path={photos}", *fake_weights]) == 1
    output = capfd.readouterr()
    assert "3 images done, 1 could not be used" in output.out
    assert "b.png: " in output.err
    assert MaskStore(store_of(photos)).listing()[1] == {"b.png"}


def test_shards_part_the_images(photos, fake_weights):
    for index, expected in ((0, {"a.png", "c.png"}), (1, {"a.png", "c.png", "b.png", "deep/d.png"})):
        assert main(["masks", f"data.path={photos}", f"shard={index}/2", *fake_weights]) == 0
        assert MaskStore(store_of(photos)).listing()[0] == expected
    assert (store_of(photos) / "preview-1-of-2.png").exists()


def test_other_settings_are_refused(photos, fake_weights, capfd):
    assert main(["masks", f"data.path={photos}", "shard=0/4", *fake_weights]) == 0
    assert main(["masks", f"data.path={photos}", *fake_weights, "masks.points_per_side=4"]) == 1
    assert "points_per_side 3, now 4" in capfd.readouterr().err


def test_a_coco_folder_means_both_splits(tmp_path, photos, fake_weights, capfd):
    root = tmp_path / "COCO"
    root.mkdir()
    (root / "train2017").symlink_to(photos)
    (root / "val2017").symlink_to(photos / "deep")
    assert main(["masks", f"data.path={root}", *fake_weights]) == 0
    assert "5 images done" in capfd.readouterr().out
    stores = tmp_path / "COCO-masks" / "sam-vit_b"
    assert (stores / "val2017" / "d.png.json.gz").is_file()
    assert (stores / "train2017" / "deep" / "d.png.json.gz").is_file()


SETTINGS = SamSettings(alpha=0.0, points_per_side=1, stability=0.0)


def test_one_process_per_device(photos, tmp_path, tiny_sam):
    store = tmp_path / "store"
    MaskStore.create(store, "vit_b", "", SETTINGS, {})
    task = make.Task(photos, store, ("a.png", "b.png", "c.png"))
    outcomes = list(make.make_on([task], functools.partial(copy.copy, tiny_sam), SETTINGS, ["cpu", "cpu"]))
    assert sorted((outcome.name, outcome.state) for outcome in outcomes) == [
        ("a.png", "done"),
        ("b.png", "done"),
        ("c.png", "done"),
    ]
    assert all(MaskStore(store).has(name) for name in task.names)


def test_a_failing_process_says_why(photos, tmp_path, tiny_sam):
    MaskStore.create(tmp_path / "store", "vit_b", "", SETTINGS, {})
    task = make.Task(photos, tmp_path / "store", ("a.png",))
    outcomes = queue.Queue()
    with pytest.raises(RuntimeError):
        make._work([task], lambda: tiny_sam, SETTINGS, "nowhere", outcomes)
    assert re.search(r"the process on nowhere failed: RuntimeError: .*it resumes", outcomes.get_nowait())


def test_a_killed_process_is_noticed(monkeypatch):
    monkeypatch.setattr(make, "_PATIENCE", 0.01)
    killed = SimpleNamespace(exitcode=-9)
    assert "ended with status -9" in make._next(queue.Queue(), [SimpleNamespace(exitcode=None), killed])


def test_annotations_are_checked_and_shown(tmp_path, monkeypatch, capfd):
    from datamodules.demo_coco import make_demo

    monkeypatch.chdir(tmp_path)
    root = make_demo(tmp_path / "demo", {"train2017": 2, "val2017": 1})
    assert main(["masks", f"data.path={root}", "masks=annotations"]) == 0
    output = capfd.readouterr().out
    assert re.search(r"0 of 3 masks are empty; on average \d\.\d % of the pixels are set", output)
    assert (tmp_path / "outputs" / "masks" / "train2017.png").is_file()
    (root / "val2017" / "000000000001.jpg").write_bytes(b"\xff\xd8")
    assert main(["masks", f"data.path={root}", "data.split=val2017", "masks=annotations"]) == 1
    assert "000000000001.jpg" in capfd.readouterr().err


@pytest.mark.parametrize(
    "override",
    [
        "masks.dilation=2", "masks.dilation=thick", "masks.alpha=high", "masks.stability=-1", "masks.box_nms=null",
        "masks.points_per_side=2.5", "masks.model=vit_x", "preview=some",
    ],
)  # fmt: skip
def test_every_option_is_checked_before_the_first_image(photos, fake_weights, capfd, override):
    assert main(["masks", f"data.path={photos}", *fake_weights, override]) == 1
    error = capfd.readouterr().err
    name, _, value = override.partition("=")
    assert re.search(rf"{re.escape(name)}={value.replace('null', 'None')}: |model {value}: choose from", error)
    assert len(error.splitlines()) == 1
    assert not store_of(photos).exists()


def test_the_annotations_of_every_split_are_needed_before_the_first_image(tmp_path, monkeypatch, capfd):
    from datamodules.demo_coco import make_demo

    monkeypatch.chdir(tmp_path)
    root = make_demo(tmp_path / "demo", {"train2017": 2, "val2017": 1})
    (root / "annotations" / "instances_val2017.json").unlink()
    for override in ("masks=annotations", "masks=objects"):
        assert main(["masks", f"data.path={root}", override]) == 1
        error = capfd.readouterr().err
        assert "instances_val2017.json" in error
        assert "image/s" not in error, "no image was drawn"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], r"data.path is not set"),
        (["data.path=/nowhere"], r"data.path=/nowhere: no such folder"),
        (["data.path={photos}", "data.split=train2018"], r"data.split=train2018: no such folder of images"),
        (["data.path={photos}", "shard=8/8"], r"shard=8/8: use INDEX/COUNT"),
        (["data.path={photos}", "device=tpu"], r"device=tpu: use auto, cuda or cpu"),
        (["data.path={photos}", "data.pth=x"], r"Key 'pth' is not in struct"),
        (["data.path={photos}", "masks=sems"], r"Could not find 'masks/sems'"),
        (["data.path={photos}", "masks.checkpoint=/nowhere.pth"], r"masks.checkpoint=/nowhere.pth is missing"),
        (["data.path={photos}", "masks.alpha=7"], r"masks.alpha=7: use a number from 0 to 1"),
        (["data.path={photos}", "masks=objects", "masks.crowd=some"], r"masks.crowd=some: use true or false"),
        (["data.path={photos}", "masks=boundaries", "masks.threshold=0"], r"masks.threshold=0: use a share"),
        (["data.path={photos}", "masks=annotations", "masks.dilation=4"], r"masks.dilation=4: use an odd number"),
        (["data.path={photos}/deep/..", "masks=annotations"], r"masks=annotations needs the annotations"),
    ],
)
def test_mistakes_are_named(photos, capsys, monkeypatch, overrides, message):
    monkeypatch.delenv("COCO", raising=False)
    assert main(["masks", *(override.format(photos=photos) for override in overrides)]) == 1
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert "Traceback" not in error


def test_help_shows_keys_and_examples_at_once(help_of):
    text, modules = help_of("-m", "icm", "masks")
    for word in ("data.path=", "masks.alpha=", "shard=", "examples:", "python -m icm masks data.path=COCO masks=sam"):
        assert word in text
    assert not {"torch", "hydra", "cv2", "numpy"} & modules


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(50, "about 50 seconds"), (300, "about 5 minutes"), (7 * 3600, "about 7 hours"), (10**6, "about 12 days")],
)
def test_durations_read_well(seconds, text):
    assert command.duration(seconds) == text


def test_the_parser_takes_overrides_only():
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert parser.parse_args(["masks=sam", "shard=0/8"]).overrides == ["masks=sam", "shard=0/8"]
