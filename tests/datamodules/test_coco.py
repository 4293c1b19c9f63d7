"""COCO folders and plain folders as data modules."""

import json
import logging
import re

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from datamodules.coco import CocoEdges, DataError
from datamodules.sampling import Counter, FixedSampler
from icm.images import ImageError, write_png
from icm.masks.annotations import AnnotationMasks, ObjectMasks
from icm.masks.base import NoMasks
from icm.masks.boundaries import BoundaryMasks
from icm.masks.edges import MaskError
from icm.masks.sam import SamMasks
from icm.masks.sam_generator import SamSettings, ScoredMask
from icm.masks.store import MaskStore
from icm.splits import find_split


def fill(folder, count, size=(40, 48)):
    """Images that hold the place of each pixel (row, column, image number), with one annotated square each."""
    images, annotations = [], []
    for number in range(count):
        y, x = np.mgrid[0 : size[0], 0 : size[1]]
        write_png(folder / f"{number}.png", np.stack([y, x, np.full_like(y, number)], axis=-1).astype(np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "height": size[0], "width": size[1]})
        square = [[10, 10, 30, 10, 30, 30, 10, 30]]
        annotations.append({"id": number, "image_id": number, "iscrowd": 0, "segmentation": square})
    return json.dumps({"images": images, "annotations": annotations, "categories": []})


@pytest.fixture
def root(tmp_path):
    (tmp_path / "annotations").mkdir()
    for split, count in (("train2017", 12), ("val2017", 3)):
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(fill(tmp_path / split, count))
    return tmp_path


def module(path, masks=None, **options):
    options = {"crop": 32, "val_crop": 32, "batch_size": 4, "val_batch_size": 2, "workers": 0} | options
    made = CocoEdges(str(path), masks or ObjectMasks(), **options)
    made.setup()
    return made


def batches(made, epoch=0):
    loader = made.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def same(first, second):
    return all(
        torch.equal(a["image"], b["image"]) and torch.equal(a["mask"], b["mask"]) and a["name"] == b["name"]
        for a, b in zip(first, second, strict=True)
    )


def test_batches(root):
    made = module(root)
    found = batches(made)
    assert len(found) == 3
    for batch in found:
        assert batch["image"].shape == (4, 3, 32, 32)
        assert batch["mask"].shape == (4, 1, 32, 32)
        assert batch["image"].dtype == batch["mask"].dtype == torch.float32
        assert isinstance(batch["name"], list)
    assert sorted(name for batch in found for name in batch["name"]) == sorted(f"{n}.png" for n in range(12))


def test_image_and_mask_stay_aligned(root):
    for batch in batches(module(root)):
        place = (batch["image"] * 255).round()
        inside = (place[:, 0] >= 10) & (place[:, 0] < 30) & (place[:, 1] >= 10) & (place[:, 1] < 30)
        assert torch.equal(batch["mask"][:, 0].bool(), inside)


def test_padding_is_marked_whatever_the_masks(root):
    options = {"crop": 64, "scale": [0.5, 1.2]}
    for bare, masked in zip(
        batches(module(root, NoMasks(), **options)), batches(module(root, ObjectMasks(), **options)), strict=True
    ):
        assert torch.equal(bare["valid"], bare["mask"])
        assert torch.equal(bare["valid"], masked["valid"])
        assert (masked["mask"] <= masked["valid"]).all()
        assert 0 < masked["mask"].sum() < masked["valid"].sum() < masked["valid"].numel()


def test_validation_is_fixed_and_in_the_middle(root):
    made = module(root)
    first = list(made.val_dataloader())
    loader = made.val_dataloader()
    loader.sampler.set_epoch(5)
    assert same(first, list(loader))
    assert [name for batch in first for name in batch["name"]] == ["0.png", "1.png", "2.png"]
    assert (first[0]["image"][0, :2, 0, 0] * 255).round().tolist() == [4, 8]
    assert len(module(root, val_images=2).val_set) == 2


def test_samples_depend_on_seed_and_epoch_only(root):
    reference = batches(module(root, seed=1))
    assert same(reference, batches(module(root, seed=1, workers=2)))
    assert not same(reference, batches(module(root, seed=2)))
    again = module(root, seed=1)
    later = batches(again, epoch=1)
    assert not same(reference, later)
    assert same(reference, batches(again))


def test_two_processes_see_what_one_sees_with_the_joined_batch(root):
    class Rank:
        world_size = 2
        fit_loop = pl.Trainer(logger=False, accelerator="cpu").fit_loop

        def __init__(self, rank):
            self.global_rank = rank

    joined = batches(module(root, batch_size=4))
    parts = []
    for rank in range(2):
        made = module(root, batch_size=2)
        made.trainer = Rank(rank)
        parts.append(batches(made))
    for whole, first, second in zip(joined, *parts, strict=True):
        assert sorted(whole["name"]) == sorted(first["name"] + second["name"])
        images = {
            name: image for part in (first, second) for name, image in zip(part["name"], part["image"], strict=True)
        }
        assert all(torch.equal(image, images[name]) for name, image in zip(whole["name"], whole["image"], strict=True))


def test_lightning_sets_the_epoch_and_keeps_the_sampler(root):
    class Recorder(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.sums = []

        def training_step(self, batch, index):
            self.sums.append(float(batch["image"].sum()))
            return self.weight * batch["mask"].mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    recorder, made = Recorder(), module(root)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    pl.Trainer(max_epochs=2, accelerator="cpu", limit_val_batches=0, **quiet).fit(recorder, made)
    expected = [float(batch["image"].sum()) for epoch in range(2) for batch in batches(made, epoch)]
    assert recorder.sums == expected


def test_flip_and_scale_are_options(root):
    straight = batches(module(root, flip=False))
    assert all((batch["image"][:, 1, 0, 1] > batch["image"][:, 1, 0, 0]).all() for batch in straight)
    shrunk = batches(module(root, flip=False, scale=[0.8, 0.8]))
    assert all((batch["image"][:, 1, 0, 3] - batch["image"][:, 1, 0, 0]).mean() * 255 > 3.4 for batch in shrunk)
    with pytest.raises(DataError, match=r"data\.scale=\[2, 1\]"):
        module(root, scale=[2, 1])


def test_a_damaged_image_is_replaced_named_and_counted(root, caplog):
    (root / "train2017" / "5.png").write_bytes((root / "train2017" / "5.png").read_bytes()[:60])
    made = module(root)
    names = [name for batch in batches(made) for name in batch["name"]]
    assert len(names) == 12
    assert "5.png" not in names
    assert "5.png" in caplog.text
    assert made.train_set.damaged.value == 1
    with caplog.at_level(logging.INFO):
        made.teardown("fit")
    assert "training data: 12 samples, 0 without any edge, 1 unreadable images replaced" in caplog.text


def test_counts_are_shared_with_workers(root):
    (root / "train2017" / "5.png").write_bytes(b"x")
    made = module(root, workers=2)
    batches(made)
    assert made.train_set.damaged.value >= 1


def test_a_set_of_damaged_images_ends_training(root):
    for path in (root / "train2017").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="20 images in a row could not be read"):
        batches(module(root))


def test_empty_masks_are_counted_not_refused(root):
    content = json.loads((root / "annotations" / "instances_train2017.json").read_text())
    content["annotations"] = content["annotations"][:2]
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    made = module(root, AnnotationMasks())
    assert len(batches(made)) == 3
    assert made.train_set.bare.value == 10


@pytest.mark.parametrize("min_edge", [1, 0.02])
def test_empty_crops_are_drawn_again_and_stay_reproducible(tmp_path, min_edge):
    (tmp_path / "annotations").mkdir()
    for split, count in (("train2017", 12), ("val2017", 1)):
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(fill(tmp_path / split, count, (70, 90)))
    bare = {}
    for least in (0, min_edge):
        made = module(tmp_path, min_edge=least)
        found = [batch for epoch in range(3) for batch in batches(made, epoch)]
        bare[least] = made.train_set.bare.value
    assert bare[0] > 10
    assert bare[min_edge] < bare[0] / 4
    workers = module(tmp_path, min_edge=min_edge, workers=2)
    assert same(found, [batch for epoch in range(3) for batch in batches(workers, epoch)])
    last = module(tmp_path, min_edge=min_edge)
    assert same(found[-3:], batches(last, epoch=2)), "a resumed run goes on with the same crops"


def test_a_plain_folder_holds_some_images_out(tmp_path):
    fill(tmp_path / "deep" / "er", 30)
    options = {"train": ".", "val": None, "annotations": None}
    made = module(tmp_path, NoMasks(), **options)
    assert (len(made.train_set), len(made.val_set)) == (29, 1)
    made = module(tmp_path, NoMasks(), val_images=10, **options)
    assert not set(made.train_set.names) & set(made.val_set.names)
    assert len(made.val_set) == 10
    assert made.val_set.names == module(tmp_path, NoMasks(), val_images=10, **options).val_set.names
    assert made.val_set.names != module(tmp_path, NoMasks(), val_images=10, seed=3, **options).val_set.names
    assert batches(made)[0]["mask"].all()
    with pytest.raises(DataError, match=r"data\.val_images=30: .* has 30 usable images"):
        module(tmp_path, NoMasks(), val_images=30, **options)


def test_every_kind_of_mask(root, tmp_path):
    edges = module(root, AnnotationMasks())
    assert 0 < batches(edges)[0]["mask"].mean() < batches(module(root))[0]["mask"].mean() < 1
    for split in ("train2017", "val2017"):
        store = MaskStore.create(SamMasks().folder(find_split(root, split)), "vit_b", "", SamSettings(0.7), {})
        from pycocotools import mask as coco

        square = np.zeros((40, 48), np.uint8, order="F")
        square[10:30, 10:30] = 1
        scored = ScoredMask(coco.encode(square)["counts"].decode(), 0.8, 1.0)
        for path in (root / split).iterdir():
            store.write(path.name, 40, 48, [scored])
    assert same(batches(module(root, SamMasks(alpha=0.78))), batches(edges))
    assert not batches(module(root, SamMasks(alpha=0.9)))[0]["mask"].any()
    drawn = tmp_path / "drawn"
    for number in (3, 4, 7):
        write_png(drawn / f"{number}.png", np.full((40, 48, 3), 255, np.uint8))
    made = module(root, BoundaryMasks(str(drawn)), val=None, val_images=1)
    assert sorted(made.train_set.names + made.val_set.names) == ["3.png", "4.png", "7.png"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"path": "/nowhere"}, DataError, r"data\.path=/nowhere: no such folder"),
        ({"path": ""}, DataError, r"data\.path is not set"),
        ({"train": "train2014"}, DataError, r"train2014: no such folder of images"),
        ({"val": "annotations"}, DataError, r"annotations: no images in this folder"),
        ({"annotations": "none.json"}, MaskError, r"needs the annotations .*none\.json"),
        ({"annotations": None}, MaskError, r"set data\.annotations"),
        ({"masks": SamMasks()}, MaskError, r"is no mask store; make it with"),
        ({"crop": 0}, DataError, r"data\.crop=0"),
        ({"batch_size": 0}, DataError, r"data\.batch_size=0"),
        ({"min_edge": -1}, DataError, r"data\.min_edge=-1: use a share"),
        ({"min_edge": 1025}, DataError, r"data\.min_edge=1025: .* up to 1024"),
        ({"min_edge": "few"}, DataError, r"data\.min_edge=few"),
        ({"workers": -1}, DataError, r"data\.workers=-1"),
    ],
)
def test_mistakes_are_named(root, change, error, message):
    with pytest.raises(error, match=message) as caught:
        module(**({"path": root} | change))
    assert "\n" not in str(caught.value)


def test_images_of_any_kind_come_as_rgb(tmp_path, make_picture):
    from PIL import Image

    picture = Image.fromarray(make_picture(40, 48))
    kinds = {"l.png": "L", "p.png": "P", "cmyk.jpg": "CMYK", "rgba.png": "RGBA", "bits.png": "1"}
    for name, mode in kinds.items():
        picture.convert(mode).save(tmp_path / name)
    made = module(tmp_path, NoMasks(), train=".", val=None, annotations=None, batch_size=2)
    assert all(batch["image"].shape == (2, 3, 32, 32) for batch in batches(made))
    with pytest.raises(ImageError, match=re.escape("gone.png")):
        made.train_set.load("gone.png")


@pytest.mark.parametrize(("images", "processes"), [(7, 1), (7, 3), (8, 4), (2, 3)])
def test_validation_counts_every_image_once_whatever_the_number_of_processes(images, processes):
    samplers = [FixedSampler(range(images), processes, rank, shuffle=False) for rank in range(processes)]
    seen = [index for sampler in samplers for index, _ in sampler]
    assert all(len(list(sampler)) == len(sampler) > 0 for sampler in samplers)
    # Fewer images than processes: the first is repeated, for a process without any would be waited for.
    assert sorted(seen) == [0] * max(0, processes - images) + list(range(images))


def test_empty_masks_are_counted_on_a_machine_without_shared_memory(monkeypatch):
    def refuse(*_):
        raise RuntimeError(
            "unable to open shared memory object </torch_1> in read-write mode: Read-only file system (30)"
        )

    monkeypatch.setattr(torch.Tensor, "share_memory_", refuse)
    counter = Counter()
    counter.add()
    assert counter.value == 1
