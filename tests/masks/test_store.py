"""The mask store, and edges read from it."""

import errno
import gzip
import json
import multiprocessing

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from icm.masks.edges import MaskError, dilate, mask_edge
from icm.masks.sam import SamMasks
from icm.masks.sam_generator import SamSettings, ScoredMask
from icm.masks.store import MaskStore
from icm.splits import Split

SETTINGS = SamSettings(alpha=0.7)


def square(first, last):
    mask = np.zeros((30, 40), np.uint8)
    mask[first:last, first:last] = 1
    return mask


def scored(mask, score):
    return ScoredMask(coco.encode(np.asfortranarray(mask))["counts"].decode(), score, 0.97)


BIG, SMALL = square(2, 20), square(10, 14)


@pytest.fixture
def split(tmp_path):
    (tmp_path / "set" / "train").mkdir(parents=True)
    return Split(tmp_path / "set", "train", tmp_path / "set" / "train")


@pytest.fixture
def store(split):
    folder = SamMasks().folder(split)
    store = MaskStore.create(folder, "vit_b", "0123", SETTINGS, {"icm": "1"})
    store.write("deep/a.jpg", 30, 40, [scored(SMALL, 0.9), scored(BIG, 0.75)])
    return store


def test_what_is_written_comes_back(store):
    height, width, masks = store.read("deep/a.jpg")
    assert (height, width) == (30, 40)
    assert [mask.score for mask in masks] == [0.9, 0.75]
    assert store.listing() == ({"deep/a.jpg"}, set())


def test_the_default_place_is_beside_the_data_set(split):
    root = split.root.parent
    assert SamMasks().folder(split) == root / "set-masks" / "sam-vit_b" / "train"
    assert SamMasks(path="elsewhere").folder(split).as_posix() == "elsewhere/train"


def test_edges_at_any_alpha_not_below_the_stores(store, split):
    def edges(alpha):
        return SamMasks(alpha=alpha).open(split).read("deep/a.jpg", 30, 40)

    np.testing.assert_array_equal(edges(0.7), mask_edge(BIG) | mask_edge(SMALL))
    np.testing.assert_array_equal(edges(0.85), mask_edge(SMALL))
    assert not edges(0.95).any()
    with pytest.raises(MaskError, match=r"masks.alpha=0\.6 is below 0\.7.*icm masks .*masks\.alpha=0\.6"):
        edges(0.6)


def test_a_mask_of_the_very_alpha_is_left_out_as_the_generator_does(split):
    store = MaskStore.create(SamMasks().folder(split), "vit_b", "", SamSettings(0.7), {})
    for number, score in enumerate((0.9, float(np.float32(0.9)), float(np.nextafter(np.float32(0.9), np.float32(1))))):
        store.write(f"{number}.jpg", 30, 40, [scored(BIG, score)])
    reader = SamMasks(alpha=0.9).open(split)
    assert [bool(reader.read(f"{number}.jpg", 30, 40).any()) for number in range(3)] == [False, False, True]


def test_crops_and_cleaned_regions_are_settings_of_the_store(split):
    folder = SamMasks().folder(split)
    MaskStore.create(folder, "vit_b", "0123", SETTINGS, {})
    for name in ("crop_n_layers", "min_mask_region_area"):
        with pytest.raises(MaskError, match=f"{name} 0, now 1"):
            MaskStore.create(folder, "vit_b", "0123", SamSettings(0.7, **{name: 1}), {})
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["settings"].pop("crop_n_layers") == manifest["settings"].pop("min_mask_region_area") == 0
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert MaskStore.create(folder, "vit_b", "0123", SETTINGS, {}).settings == SETTINGS, "an older store's defaults"


@pytest.mark.parametrize("name", ["crop_n_layers", "min_mask_region_area"])
def test_with_crops_or_cleaned_regions_a_store_serves_its_own_alpha_alone(split, name):
    MaskStore.create(SamMasks().folder(split), "vit_b", "", SamSettings(0.7, **{name: 2}), {})
    SamMasks(alpha=0.7).open(split)
    with pytest.raises(MaskError, match=rf"masks\.alpha=0\.8, but .* serves 0\.7 alone.*{name}=2.*masks\.alpha=0\.8"):
        SamMasks(alpha=0.8).open(split)


def test_dilation(store, split):
    thin, thick = (SamMasks(alpha=0.8, dilation=d).open(split).read("deep/a.jpg", 30, 40) for d in (1, 3))
    assert thick.sum() > thin.sum()


@pytest.fixture
def decodings(monkeypatch):
    """Names of the images whose masks were decoded."""
    names, read = [], MaskStore.read
    monkeypatch.setattr(MaskStore, "read", lambda store, name: names.append(name) or read(store, name))
    return names


def test_masks_are_decoded_once_for_every_alpha_and_run(store, split, decodings):
    for number, alpha in enumerate((0.7, 0.85), start=1):
        first = SamMasks(alpha=alpha).open(split).read("deep/a.jpg", 30, 40)
        for dilation in (1, 3):
            again = SamMasks(alpha=alpha, dilation=dilation).open(split).read("deep/a.jpg", 30, 40)
            np.testing.assert_array_equal(again, dilate(first, dilation))
        assert len(decodings) == number
        picture = cv2.imread(str(store.folder / f"edges-{alpha}" / "deep" / "a.jpg.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(picture != 0, first != 0)
    assert store.listing() == ({"deep/a.jpg"}, set())


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "foreign", "larger"])
def test_damaged_and_foreign_pictures_of_edges_are_made_again(store, split, decodings, damage):
    store.write("b.jpg", 30, 40, [scored(square(5, 25), 0.9)])
    store.write("c.jpg", 60, 40, [])
    reader = SamMasks(alpha=0.7).open(split)
    expected = reader.read("deep/a.jpg", 30, 40)
    reader.read("b.jpg", 30, 40), reader.read("c.jpg", 60, 40)
    picture = reader.pictures / "deep" / "a.jpg.png"
    whole = picture.read_bytes()
    for place in range(45, len(whole), 7) if damage == "flip" else [len(whole) // 2]:
        changed = {
            "cut": whole[:place],
            "flip": whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :],
            "empty": b"",
            "text": b"no picture",
            "foreign": (reader.pictures / "b.jpg.png").read_bytes(),
            "larger": (reader.pictures / "c.jpg.png").read_bytes(),
        }
        picture.write_bytes(changed[damage])
        np.testing.assert_array_equal(reader.read("deep/a.jpg", 30, 40), expected)
    # A flipped checksum of a chunk whose pixels are right does no harm and stays.
    assert picture.read_bytes() == whole or damage == "flip"
    assert decodings.count("deep/a.jpg") > 1


def test_edges_of_masks_that_were_made_again_are_new(store, split):
    reader = SamMasks(alpha=0.7).open(split)
    reader.read("deep/a.jpg", 30, 40)
    store.write("deep/a.jpg", 30, 40, [scored(SMALL, 0.9)])
    np.testing.assert_array_equal(reader.read("deep/a.jpg", 30, 40), mask_edge(SMALL))


def test_a_store_that_cannot_be_written_is_read_with_one_warning(store, split, caplog):
    (store.folder / "edges-0.7").write_text("in the way")
    reader = SamMasks(alpha=0.7).open(split)
    for _ in range(2):
        np.testing.assert_array_equal(reader.read("deep/a.jpg", 30, 40), mask_edge(BIG) | mask_edge(SMALL))
    assert len(caplog.records) == 1
    assert "edges-0.7 cannot be written (File exists)" in caplog.text


def test_a_disk_that_fills_up_is_one_warning(store, split, caplog, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("icm.masks.edge_pictures.atomic_write", full)
    reader = SamMasks(alpha=0.7).open(split)
    for _ in range(2):
        np.testing.assert_array_equal(reader.read("deep/a.jpg", 30, 40), mask_edge(BIG) | mask_edge(SMALL))
    assert [record.getMessage().count("No space left on device") for record in caplog.records] == [1]


def test_many_processes_may_read_for_the_first_time_at_once(store, split):
    names = [f"{number}.jpg" for number in range(12)]
    for name in names:
        store.write(name, 30, 40, [scored(BIG, 0.9)])
    reader = SamMasks(alpha=0.7).open(split)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.starmap(reader.read, [(name, 30, 40) for name in names * 8], chunksize=1)
    assert all(np.array_equal(edges, mask_edge(BIG)) for edges in found)
    assert sorted(path.name for path in reader.pictures.iterdir()) == sorted(f"{name}.png" for name in names)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign", "text"])
def test_a_damaged_file_is_noticed(store, split, damage):
    path = store.folder / "deep" / "a.jpg.json.gz"
    content = path.read_bytes()
    if damage == "foreign":
        store.write("b.jpg", 30, 40, [])
        content = (store.folder / "b.jpg.json.gz").read_bytes()
    changed = {
        "cut": content[:-9],
        "flip": content[:40] + bytes([content[40] ^ 8]) + content[41:],
        "empty": b"",
        "foreign": content,
        "text": gzip.compress(b'{"format": 1}'),
    }
    assert store.has("deep/a.jpg")
    path.write_bytes(changed[damage])
    assert not store.has("deep/a.jpg")
    with pytest.raises(MaskError, match=r"a\.jpg\.json\.gz is missing or damaged.*icm masks again"):
        SamMasks().open(split).read("deep/a.jpg", 30, 40)


def test_the_same_masks_give_the_same_bytes(store):
    path = store.folder / "deep" / "a.jpg.json.gz"
    before = path.read_bytes()
    store.write("deep/a.jpg", 30, 40, [scored(SMALL, 0.9), scored(BIG, 0.75)])
    assert path.read_bytes() == before


def test_other_settings_are_refused(store):
    again = MaskStore.create(store.folder, "vit_b", "0123", SETTINGS, {"icm": "2"})
    assert again.manifest["versions"] == {"icm": "1"}
    with pytest.raises(MaskError, match=r"alpha 0\.7, now 0\.8"):
        MaskStore.create(store.folder, "vit_b", "0123", SamSettings(alpha=0.8), {})
    with pytest.raises(MaskError, match="model 'vit_b', now 'vit_h'; weights '0123', now '4567'"):
        MaskStore.create(store.folder, "vit_h", "4567", SETTINGS, {})


def test_an_unfinished_store_is_refused_and_unreadable_images_left_out(store, split, caplog):
    reader = SamMasks().open(split)
    with pytest.raises(MaskError, match=r"1 of 2 images have no masks .*first: b\.jpg.*finish it"):
        reader.usable(["deep/a.jpg", "b.jpg"])
    store.write_failure("b.jpg", "truncated")
    assert reader.usable(["deep/a.jpg", "b.jpg"]) == ["deep/a.jpg"]
    assert "1 of 2 images could not be read" in caplog.text
    store.write("b.jpg", 30, 40, [])
    assert reader.usable(["deep/a.jpg", "b.jpg"]) == ["deep/a.jpg", "b.jpg"]
    assert store.listing()[1] == set()


def test_errors_name_the_store_and_the_remedy(store, split):
    with pytest.raises(MaskError, match=r"is no mask store; make it with: python -m icm masks data\.path="):
        SamMasks().open(Split(split.root, "val", split.root / "val"))
    with pytest.raises(MaskError, match=r"masks\.model=vit_h, but .* was made by vit_b"):
        SamMasks(model="vit_h", path=str(store.folder.parent)).open(split)
    with pytest.raises(MaskError, match=r"a\.jpg has 41x30 pixels, its masks .* 40x30"):
        SamMasks().open(split).read("deep/a.jpg", 30, 41)
    (store.folder / "manifest.json").write_text("{")
    with pytest.raises(MaskError, match=r"manifest\.json is missing or damaged"):
        SamMasks().open(split)
