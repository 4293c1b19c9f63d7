"""Masks from COCO instance annotations."""

import json
import logging

import numpy as np
import pytest
from pycocotools import mask as coco

from icm.masks.annotations import AnnotationMasks, ObjectMasks
from icm.masks.base import NoMasks
from icm.masks.edges import MaskError, mask_edge
from icm.masks.instances import load_instances, rasterize
from icm.splits import Split

SQUARE = [4, 4, 12, 4, 12, 12, 4, 12]
FAR = [20, 20, 28, 20, 28, 26, 20, 26]


def disc(height=32, width=40):
    y, x = np.mgrid[0:height, 0:width]
    return ((y - 16) ** 2 + (x - 28) ** 2 < 49).astype(np.uint8)


def run_lengths(mask):
    """COCO's uncompressed run lengths, column by column, starting with zeros."""
    flat = mask.flatten(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def annotation(segmentation, image_id=1, crowd=0):
    return {"image_id": image_id, "segmentation": segmentation, "iscrowd": crowd, "category_id": 1}


@pytest.fixture
def make_split(tmp_path):
    def make(*annotations):
        images = [
            {"id": key, "file_name": f"{name}.jpg", "height": 32, "width": 40} for key, name in ((1, "a"), (2, "bare"))
        ]
        path = tmp_path / "instances.json"
        path.write_text(json.dumps({"images": images, "annotations": list(annotations), "categories": []}))
        return Split(tmp_path, "train", tmp_path, path)

    return make


def test_a_polygon_by_hand(make_split):
    reader = ObjectMasks().open(make_split(annotation([SQUARE])))
    expected = np.zeros((32, 40), np.uint8)
    expected[4:12, 4:12] = 1
    np.testing.assert_array_equal(reader.read("a.jpg", 32, 40), expected)
    edge = AnnotationMasks().open(make_split(annotation([SQUARE]))).read("a.jpg", 32, 40)
    np.testing.assert_array_equal(edge, mask_edge(expected))
    assert edge[4:12, 4].any() or edge[4:12, 3].any()
    assert not edge[7:9, 7:9].any()


def test_objects_overlap_with_both_edges(make_split):
    below, above = [2, 2, 20, 2, 20, 20, 2, 20], [10, 10, 30, 10, 30, 30, 10, 30]
    edge = AnnotationMasks().open(make_split(annotation([below]), annotation([above]))).read("a.jpg", 32, 40)
    single = [rasterize([polygon], 32, 40) for polygon in (below, above)]
    np.testing.assert_array_equal(edge, mask_edge(single[0]) | mask_edge(single[1]))


def test_parts_of_one_object_are_one_mask(make_split):
    reader = ObjectMasks().open(make_split(annotation([SQUARE, FAR])))
    assert len(reader.images["a.jpg"].segmentations) == 1
    assert reader.read("a.jpg", 32, 40).sum() == 8 * 8 + 8 * 6


def test_run_lengths_of_both_kinds(make_split):
    mask = disc()
    compressed = coco.encode(np.asfortranarray(mask))
    compressed = {"size": list(compressed["size"]), "counts": compressed["counts"].decode()}
    for segmentation in (run_lengths(mask), compressed):
        reader = ObjectMasks().open(make_split(annotation(segmentation)))
        np.testing.assert_array_equal(reader.read("a.jpg", 32, 40), mask)


def test_crowds_are_an_option(make_split):
    split = make_split(annotation(run_lengths(disc()), crowd=1))
    assert not ObjectMasks().open(split).read("a.jpg", 32, 40).any()
    assert ObjectMasks(crowd=True).open(split).read("a.jpg", 32, 40).any()


def test_degenerate_polygons_are_no_object(make_split):
    # pycocotools would take four numbers for a box.
    assert not ObjectMasks().open(make_split(annotation([[1, 1, 9, 9]]), annotation([]))).read("a.jpg", 32, 40).any()


def test_dilation_thickens(make_split):
    split = make_split(annotation([SQUARE]))
    thin, thick = (AnnotationMasks(dilation=size).open(split).read("a.jpg", 32, 40) for size in (1, 3))
    assert thick.sum() > 2 * thin.sum()
    assert (thick >= thin).all()


def test_images_without_objects_are_reported_and_unlisted_ones_left_out(make_split, caplog):
    reader = AnnotationMasks().open(make_split(annotation([SQUARE])))
    with caplog.at_level(logging.INFO):
        assert reader.usable(["a.jpg", "bare.jpg", "new.jpg"]) == ["a.jpg", "bare.jpg"]
    assert "1 of 3 images are not listed" in caplog.text
    assert "1 of 2 images have no annotated object" in caplog.text
    with pytest.raises(MaskError, match="lists none of the split's images"):
        reader.usable(["other.jpg"])


def test_errors_name_file_and_remedy(make_split, tmp_path):
    split = make_split(annotation([SQUARE]))
    with pytest.raises(MaskError, match=r"a\.jpg has 41x32 pixels, .*instances.json says 40x32"):
        AnnotationMasks().open(split).read("a.jpg", 32, 41)
    with pytest.raises(MaskError, match=r"set data\.annotations"):
        AnnotationMasks().open(Split(tmp_path, "train", tmp_path))
    with pytest.raises(MaskError, match=r"masks=objects needs the annotations .*gone.json"):
        ObjectMasks().open(Split(tmp_path, "train", tmp_path, tmp_path / "gone.json"))
    split.annotations.write_text('{"images": [')
    with pytest.raises(MaskError, match="is not a readable COCO instance file"):
        load_instances(split.annotations)


def test_no_masks_are_ones_everywhere(tmp_path):
    reader = NoMasks().open(Split(tmp_path, "train", tmp_path))
    assert reader.usable(["x"]) == ["x"]
    assert reader.read("x", 3, 4).tolist() == np.ones((3, 4)).tolist()


def test_real_annotations_outline_real_objects(shared_data):
    scenes = shared_data / "coco_scenes"
    reader = AnnotationMasks().open(Split(shared_data, "coco_scenes", scenes, scenes / "instances.json"))
    for name, image in list(load_instances(scenes / "instances.json").items())[:5]:
        assert 0 < reader.read(name, image.height, image.width).mean() < 0.1
