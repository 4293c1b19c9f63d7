"""Composed training scenes."""

import json
import time

import numpy as np
import pytest
import torch

from datamodules.compose import label_outlines
from datamodules.library import boundary_names, load_library
from datamodules.scenes import SceneEdges, held_out_names
from icm.errors import UserError
from icm.images import write_png
from icm.masks.annotations import AnnotationMasks
from icm.masks.base import NoMasks
from icm.masks.boundaries import BoundaryMasks
from icm.masks.edges import MaskError, dilate


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A small folder in the layout of the experiments' data."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:120, 0:160]
    disc = (y - 60) ** 2 + (x - 70) ** 2
    ring = (disc >= 30**2) & (disc < 31.5**2)
    for number in range(6):
        write_png(root / "natural" / f"bsds_{number}.png", rng.integers(0, 256, (120, 160, 3)).astype(np.uint8))
        share = np.where(ring, 255, 0).astype(np.uint8)
        share[10] = 60
        write_png(root / "natural_edges" / f"bsds_{number}.png", np.repeat(share[..., None], 3, axis=2))
    write_png(root / "natural" / "pf_1.png", rng.integers(0, 256, (120, 160, 3)).astype(np.uint8))
    people = np.zeros((120, 160), np.uint8)
    people[20:80, 30:50], people[40:100, 90:120] = 1, 2
    write_png(root / "natural_masks" / "pf_1.png", np.repeat(people[..., None], 3, axis=2))
    for folder in ("coco_scenes", "coco_faces", "faces_id", "kodak"):
        write_png(root / folder / "c.png", np.full((120, 160, 3), 77, np.uint8))
    square = {"image_id": 1, "iscrowd": 0, "segmentation": [[30, 30, 80, 30, 80, 90, 30, 90]]}
    listed = [{"id": 1, "file_name": "c.png", "height": 120, "width": 160}]
    (root / "coco_scenes" / "instances.json").write_text(
        json.dumps({"images": listed, "annotations": [square], "categories": []})
    )
    return root


def module(root, masks=None, **options):
    options = {"held_out": 2, "scenes": 24, "crop": 64, "val_crop": 96, "batch_size": 4, "workers": 0} | options
    made = SceneEdges(str(root), masks or BoundaryMasks(), **options)
    made.setup()
    return made


def scenes(made, count=24, epoch=0):
    return [made.train_set[index, epoch] for index in range(count)]


def test_batches(root):
    made = module(root)
    batch = next(iter(made.train_dataloader()))
    assert batch["image"].shape == (4, 3, 64, 64)
    assert batch["mask"].shape == (4, 1, 64, 64)
    assert 0 <= batch["image"].min() < batch["image"].max() <= 1
    assert set(batch["mask"].unique().tolist()) <= {0.0, 1.0}
    assert len(made.train_dataloader()) == 6
    kinds = {scene["name"].split("-")[0] for scene in scenes(made)}
    assert kinds == {"plain", "pasted", "leaves"}


def test_edges_are_the_visible_boundaries_of_the_composition(root):
    """The mask is recomputed from the canvas, and each outline separates pixels of different cut-outs."""
    made = module(root).train_set
    for seed in range(40):
        kind = made.pasted if seed % 2 else made.leaves
        canvas = kind(np.random.default_rng(seed))
        outlines = canvas.outlines()
        np.testing.assert_array_equal(outlines, label_outlines(canvas.labels))
        y, x = np.nonzero(outlines)
        assert len(y)
        down, right = np.minimum(y + 1, 63), np.minimum(x + 1, 63)
        here = canvas.labels[y, x]
        assert ((here != canvas.labels[down, x]) | (here != canvas.labels[y, right])).all()
        quiet = dilate(outlines | canvas.own_edges, 3) == 0
        for label in np.unique(canvas.labels[quiet]):
            assert (canvas.labels == label).any()


def test_pasted_pixels_come_from_the_cut_out(root):
    """With plain colours for photographs the change of colour is exactly at the outline."""
    made = module(root)
    library = made.train_set.library
    for photograph in library.photographs:
        photograph.pixels[:] = 40
    for cut in library.cut_outs:
        cut.pixels[:] = 40
    canvas = made.train_set._background(made.train_set.labelled, np.random.default_rng(0))
    canvas.paste(np.full((20, 20, 3), 240, np.uint8), np.full((20, 20), 255, np.uint8), 10, 12)
    change = np.abs(np.diff(canvas.pixels[..., 0].astype(int), axis=1)) > 0
    np.testing.assert_array_equal(change[15], canvas.outlines()[15, :-1] == 1)


def test_deterministic_by_seed_epoch_and_index(root):
    first = scenes(module(root))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, scenes(module(root)), strict=True))
    other = scenes(module(root, seed=1))
    later = scenes(module(root), epoch=1)
    for changed in (other, later):
        assert not any(torch.equal(a["image"], b["image"]) for a, b in zip(first, changed, strict=True))


def test_workers_change_nothing(root):
    ordered = [list(module(root, workers=workers, scenes=8).train_dataloader()) for workers in (0, 2)]
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(*ordered, strict=True))


def test_plain_training_sees_the_same_scenes_with_ones(root):
    edges, ones = scenes(module(root)), scenes(module(root, NoMasks()))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(edges, ones, strict=True))
    assert all(scene["mask"].all() for scene in ones)


def test_threshold_and_dilation(root):
    def weight(**options):
        return np.mean(
            [scene["mask"].mean() for scene in scenes(module(root, BoundaryMasks(**options), pasted=0, leaves=0))]
        )

    assert weight(dilation=1) < weight(dilation=3) < weight(dilation=5)
    assert weight(threshold=0.2) > weight(threshold=0.5) > 0


def test_held_out_photographs_are_never_used(root):
    made = module(root)
    names = boundary_names(root)
    chosen = held_out_names(names, 2)
    assert made.val_set.names == chosen
    assert chosen == held_out_names(names, 2)
    library = made.train_set.library
    # 4 of 6 drawn photographs, one of Penn-Fudan, one of coco_scenes; never faces or kodak.
    assert len(library.photographs) == 6
    assert sum(photograph.drawn for photograph in library.photographs) == 4
    # A disc each, two people, one square.
    assert len(library.cut_outs) == 4 + 2 + 1
    val = next(iter(made.val_dataloader()))
    assert val["image"].shape == (2, 3, 96, 96)
    assert val["mask"].any()
    assert next(iter(module(root, NoMasks()).val_dataloader()))["mask"].all()


def test_cut_outs_have_their_objects_shape(root):
    library = load_library(root, 0.5, set())
    areas = sorted(int(cut.mask.sum()) for cut in library.cut_outs)
    for exact in (60 * 20, 60 * 30, 50 * 60):
        areas.remove(exact)
    # What is left are the discs inside the six drawn rings, grown by the half of the ring's width.
    assert len(areas) == 6
    assert all(np.pi * 30**2 < area < np.pi * 32**2 for area in areas)


@pytest.fixture
def faces(tmp_path):
    """A face in the disc of two drawn photographs and on one of the two people; one box that is too unsure."""
    path = tmp_path / "faces.csv"
    path.write_text(
        "path,x,y,w,h,confidence\nnatural/bsds_0.png,50,40,40,40,0.99\nnatural/bsds_1.png,50,40,40,40,1\n"
        "natural/pf_1.png,32,22,16,20,0.9\nnatural/bsds_2.png,50,40,40,40,0.7\nnatural/absent.png,1,1,30,30,1\n"
    )
    return str(path)


def test_faces_go_where_their_pictures_go_and_hold_no_edge(root, faces):
    made = module(root, faces=faces, plain=0, pasted=0, leaves=0, portraits=1, held_out=1, scenes=60)
    sources = [source for source, _ in made.train_set.portraits]
    assert any(hasattr(source, "drawn") for source in sources)
    assert any(not hasattr(source, "drawn") for source in sources)
    found = scenes(made, 60)
    assert {scene["name"].split("-")[0] for scene in found} == {"portrait"}
    shown = [scene for scene in found if scene["faces"].any()]
    assert len(shown) > 50
    # The whole of the drawn ring lies in its face; what crosses a face is what was pasted over it.
    inside = [float((scene["mask"] * scene["faces"]).sum() / scene["faces"].sum()) for scene in shown]
    assert np.mean(inside) < 0.02 < np.mean([float(scene["mask"].mean()) for scene in scenes(module(root), 24)])


def test_faces_leave_pictures_as_they_are(root, faces):
    for before, after in zip(scenes(module(root)), scenes(module(root, faces=faces)), strict=True):
        assert torch.equal(before["image"], after["image"])
        assert torch.equal(before["mask"] * (1 - after["faces"]) > 0, after["mask"] * (1 - after["faces"]) > 0)
        assert not before["faces"].any()


def test_a_file_of_faces_that_cannot_be_used_is_named(root, tmp_path):
    path = tmp_path / "boxes.csv"
    with pytest.raises(UserError, match=r"data\.portraits=1: portraits need data\.faces"):
        module(root, portraits=1)
    for text in (None, "image,x\na,1\n", "path,x,y,w,h,confidence\na.png,1,2,inf,4,1\n"):
        if text is not None:
            path.write_text(text)
        with pytest.raises(UserError, match=r"data\.faces=.*boxes\.csv: not a CSV file with path,x,y,w,h,confidence"):
            module(root, portraits=1, faces=str(path))
    path.write_text("path,x,y,w,h,confidence\nelsewhere.png,1,2,30,40,1\n")
    with pytest.raises(UserError, match="no face of it is in a photograph that is used"):
        module(root, portraits=1, faces=str(path))


def test_mistakes_are_named(root, tmp_path):
    cases = [
        (lambda: module(root, AnnotationMasks()), "use masks=boundaries or masks=none"),
        (lambda: module("/nowhere"), r"data\.path=/nowhere"),
        (lambda: module(""), r"data\.path is not set"),
        (lambda: module(root, held_out=6), r"data\.held_out=6: only 6 photographs"),
        (lambda: module(root, plain=0, pasted=0, leaves=0), r"use shares >= 0"),
        (lambda: module(root, crop=4), r"data\.crop=4"),
        (lambda: module(root, BoundaryMasks(threshold=0)), r"masks\.threshold=0"),
    ]
    for build, message in cases:
        with pytest.raises(UserError, match=message):
            build()
    write_png(tmp_path / "natural" / "a.png", np.zeros((20, 20, 3), np.uint8))
    write_png(tmp_path / "natural_edges" / "a.png", np.zeros((20, 21, 3), np.uint8))
    with pytest.raises(MaskError, match=r"a\.png has 21x20 pixels, its photograph 20x20"):
        load_library(tmp_path, 0.5, set())


@pytest.mark.slow
def test_real_photographs(shared_data):
    """On the experiments' own data: sparse edges, objects by the hundred, and over 60 crops of 192 x 192 a second."""
    made = SceneEdges(str(shared_data), BoundaryMasks(), workers=0)
    made.setup()
    library = made.train_set.library
    assert len(made.val_set) == 40
    assert sum(photograph.drawn for photograph in library.photographs) == 360
    assert len(library.cut_outs) > 1000
    begin = time.process_time()
    weights = [float(scene["mask"].mean()) for scene in scenes(made, 200)]
    assert 200 / (time.process_time() - begin) > 60
    assert 0.02 < np.mean(weights) < 0.2
