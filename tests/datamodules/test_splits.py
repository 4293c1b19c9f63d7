"""What splits a folder of images has."""

import pytest

from icm.images import write_png
from icm.splits import DataError, Split, find_split, find_splits

ANNOTATIONS = "annotations/instances_{split}.json"


@pytest.fixture
def root(tmp_path, make_picture):
    for name in ("val2017/b.png", "val2017/deep/a.png", "other/c.png"):
        write_png(tmp_path / "set" / name, make_picture(8, 8))
    (tmp_path / "set" / "train2017").mkdir()
    return tmp_path / "set"


def test_a_coco_folder_has_its_splits_and_any_other_is_one(root):
    assert [split.name for split in find_splits(root)] == ["train2017", "val2017"]
    whole = find_splits(root / "other", ANNOTATIONS)
    assert whole == [Split(root / "other", ".", root / "other", root / "other" / "annotations/instances_other.json")]
    assert whole[0].images() == ["c.png"]


def test_a_split_knows_its_images_and_annotations(root):
    split = find_split(root, "val2017", ANNOTATIONS)
    assert split == find_splits(root, ANNOTATIONS)[1]
    assert split.annotations == root / "annotations" / "instances_val2017.json"
    assert split.images() == ["b.png", "deep/a.png"]
    assert find_split(root, "val2017").annotations is None


@pytest.mark.parametrize(
    ("find", "message"),
    [
        (lambda root: find_split(None, "train2017"), r"data\.path is not set"),
        (lambda root: find_splits(root / "none"), r"data\.path=.*none: no such folder"),
        (lambda root: find_split(root, "val", key="data.val"), r"data\.val=val: no such folder of images"),
        (lambda root: find_split(root, "train2017").images(), r"train2017: no images in this folder"),
    ],
)
def test_mistakes_are_named(root, find, message):
    with pytest.raises(DataError, match=message):
        find(root)
