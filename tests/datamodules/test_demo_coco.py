"""The embedded demo set."""

import json
import multiprocessing

import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from datamodules import demo_coco
from datamodules.demo_coco import DemoEdges, make_demo
from icm.files import WriteError, file_sha256
from icm.images import read_image
from icm.masks.annotations import AnnotationMasks
from icm.masks.instances import load_instances


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_demo(tmp_path_factory.mktemp("demo") / "set", {"train2017": 10, "val2017": 3})


def test_pycocotools_reads_it(root):
    for split, count in (("train2017", 10), ("val2017", 3)):
        coco = COCO(str(root / "annotations" / f"instances_{split}.json"))
        assert len(coco.imgs) == count
        kinds = set()
        for annotation in coco.loadAnns(coco.getAnnIds()):
            image = coco.imgs[annotation["image_id"]]
            mask = coco.annToMask(annotation)
            assert mask.shape == (image["height"], image["width"])
            assert mask.sum() == annotation["area"] > 0
            x, y, w, h = annotation["bbox"]
            assert mask[y : y + h, x : x + w].sum() == annotation["area"]
            assert mask_utils.area(coco.annToRLE(annotation)) == annotation["area"]
            kinds.add(type(annotation["segmentation"]))
        assert kinds == {list, dict} or split == "val2017"
        for image in coco.imgs.values():
            pixels = read_image(root / split / image["file_name"])
            assert pixels.shape[:2] == (image["height"], image["width"])
            assert min(pixels.shape[:2]) >= 256


def test_annotations_are_the_visible_parts(root):
    for image in load_instances(root / "annotations" / "instances_train2017.json").values():
        total = np.zeros((image.height, image.width), int)
        for mask in image.masks():
            total += mask
        assert total.max() == 1


def test_outlines_are_where_the_picture_changes(root):
    """Gradients on the annotated edges are larger than elsewhere: annotation and pixels belong together."""
    on, off = [], []
    reader = DemoEdges(AnnotationMasks(dilation=3), str(root.parent))
    reader.path = str(root)
    reader.setup()
    for name in reader.train_set.names:
        image, mask = reader.train_set.load(name)
        gradient = np.abs(np.gradient(image.astype(float).mean(axis=2))).sum(axis=0)
        on.append(gradient[mask == 1].mean())
        off.append(gradient[mask == 0].mean())
    assert np.mean(on) > 1.5 * np.mean(off)


def test_the_same_pixels_every_time(root, tmp_path):
    again = make_demo(tmp_path / "again", {"train2017": 10, "val2017": 3})
    files = sorted(path.relative_to(root) for path in root.rglob("*.*"))
    assert len(files) == 15
    assert all(file_sha256(root / file) == file_sha256(again / file) for file in files)


def test_made_once_and_whole(root, tmp_path, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    make_demo(root, {"train2017": 99})
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}

    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_coco, "_annotation", fail)
    with pytest.raises(KeyboardInterrupt):
        make_demo(tmp_path / "set", {"train2017": 2})
    assert list(tmp_path.iterdir()) == []


def test_two_processes_may_make_it_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=make_demo, args=(tmp_path / "set", {"train2017": 2})) for _ in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert len(json.loads((tmp_path / "set" / "annotations" / "instances_train2017.json").read_text())["images"]) == 2


def test_the_faces_of_the_evaluation_are_not_in_it():
    assert not {"astronaut.png", "grace_hopper.jpg"} & set(demo_coco.PHOTOGRAPHS)
    assert all((demo_coco.photograph_folder() / name).is_file() for name in demo_coco.PHOTOGRAPHS)


def test_it_serves_batches_offline(tmp_path):
    made = DemoEdges(AnnotationMasks(), str(tmp_path), train_images=4, val_images=2, batch_size=2)
    made.prepare_data()
    made.setup()
    batch = next(iter(made.train_dataloader()))
    assert batch["image"].shape == (2, 3, 256, 256)
    assert 0 < batch["mask"].mean() < 0.1
    assert len(list(made.val_dataloader())) == 1
    with pytest.raises(demo_coco.DataError, match=r"data\.train_images=0"):
        DemoEdges(AnnotationMasks(), str(tmp_path), train_images=0)


def test_a_cache_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(WriteError, match=r"cache/demo: cannot be written \(File exists\)"):
        make_demo(tmp_path / "cache" / "demo", {"train2017": 1})
