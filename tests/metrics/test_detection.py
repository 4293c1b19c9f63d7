"""COCO average precision, held against pycocotools' own evaluation."""

import contextlib
import copy
import io
import json
import time

import numpy as np
import pytest

from icm.metrics.detection import (
    CocoTruth,
    TruthError,
    average_precision,
    bootstrap_precision,
    evaluate,
    precision_difference,
    precision_table,
)
from icm.metrics.resampling import image_weights

SIZE = 200


def content(boxes: dict[int, list], categories=((1, "person"), (3, "car"), (90, "toothbrush")), first_id=1) -> dict:
    """A COCO file of square pictures; ``boxes``: image id -> (category id, box, iscrowd)."""
    annotations = [
        {
            "image_id": image,
            "category_id": category,
            "bbox": list(box),
            "area": width * height,
            "iscrowd": crowd,
            "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
        }
        for image, found in boxes.items()
        for category, box, crowd in found
        for x, y, width, height in [box]
    ]
    return {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg", "width": SIZE, "height": SIZE} for n in boxes],
        "categories": [{"id": number, "name": name} for number, name in categories],
        "annotations": [{"id": first_id + n, **annotation} for n, annotation in enumerate(annotations)],
    }


def detected(category, box, score=0.9):
    return {"category_id": category, "bbox": list(box), "score": score}


def scene(rng, images=12, ties=True) -> tuple[dict, dict]:
    """Random annotations, some crowds, objects of every size; detections near them, elsewhere and of equal scores."""
    boxes, detections = {}, {}
    for image in rng.choice(1000, images, replace=False).tolist():
        found = []
        for _ in range(rng.integers(0, 8)):
            side = rng.choice([12, 40, 110], 2) * rng.uniform(0.6, 1.4, 2)
            box = [*rng.uniform(0, SIZE - side), *side]
            found.append((int(rng.choice([1, 3])), [float(value) for value in box], int(rng.random() < 0.15)))
        boxes[image] = found
        near = [
            (category if rng.random() < 0.9 else 90, np.add(box, rng.normal(0, 0.12, 4) * np.tile(box[2:], 2)))
            for category, box, _ in found
            for _ in range(rng.integers(0, 3))
        ]
        near += [(int(rng.choice([1, 3, 90])), rng.uniform(5, 90, 4)) for _ in range(rng.integers(0, 4))]
        detections[image] = [
            detected(category, (np.abs(box) + 1).tolist(), float(score))
            for category, box in near
            for score in [rng.integers(0, 10) / 10 if ties else rng.random()]
        ]
    return content(boxes), detections


def theirs(annotated: dict, detections: dict, kind="bbox", image_ids=None):
    """pycocotools' own COCOeval after evaluate and accumulate."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(annotated)
        truth.createIndex()
        results = [{"image_id": image, **found} for image, each in detections.items() for found in copy.deepcopy(each)]
        evaluator = COCOeval(truth, truth.loadRes(results), kind)
        if image_ids is not None:
            evaluator.params.imgIds = sorted(image_ids)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def their_table(evaluator) -> np.ndarray:
    """(categories, areas, thresholds) with NaN for -1."""
    precision = evaluator.eval["precision"][..., -1].mean(axis=1).transpose(1, 2, 0)
    return np.where(precision < 0, np.nan, precision)


def as_segments(detections: dict) -> dict:
    from pycocotools import mask

    return {
        image: [
            {
                "category_id": one["category_id"],
                "score": one["score"],
                "segmentation": mask.frPyObjects(np.array([one["bbox"]]), SIZE, SIZE)[0],
            }
            for one in each
        ]
        for image, each in detections.items()
    }


def as_keypoints(annotated: dict, detections: dict, rng) -> tuple[dict, dict]:
    def points(box, visible):
        x, y, width, height = box
        places = [x, y] + rng.uniform(0.2, 0.8, (17, 2)) * 0.2 * [width, height]
        return [float(value) for row, seen in zip(places, visible, strict=True) for value in (*row, seen)]

    annotated = copy.deepcopy(annotated)
    for annotation in annotated["annotations"]:
        visible = rng.integers(0, 3, 17) * (rng.random() < 0.8)
        annotation["keypoints"] = points(annotation["bbox"], visible)
        annotation["num_keypoints"] = int((visible > 0).sum())
    found = {
        image: [
            {"category_id": one["category_id"], "score": one["score"], "keypoints": points(one["bbox"], np.ones(17))}
            for one in each
        ]
        for image, each in detections.items()
    }
    return annotated, found


@pytest.mark.parametrize("kind", ["bbox", "segm", "keypoints"])
def test_every_number_is_that_of_pycocotools(kind, rng):
    annotated, detections = scene(rng)
    if kind == "segm":
        detections = as_segments(detections)
    if kind == "keypoints":
        annotated, detections = as_keypoints(annotated, detections, rng)
    evaluator = theirs(annotated, detections, kind)
    matches = evaluate(CocoTruth.parse(annotated), detections, kind)
    np.testing.assert_allclose(precision_table(matches)[0], their_table(evaluator), rtol=0, atol=1e-12)
    ours = average_precision(matches)
    names = ["ap", "ap50", "ap75", *(f"ap_{area}" for area in matches.areas[1:])]
    assert [ours[name] for name in names] == pytest.approx(list(evaluator.stats[: len(names)]), abs=1e-12)
    assert 0.01 < ours["ap"] < 0.9
    assert ours["ap/toothbrush"] is None


def test_a_subset_evaluates_its_own_images_only(rng):
    annotated, detections = scene(rng)
    subset = sorted(detections)[::3]
    evaluator = theirs(annotated, detections, image_ids=subset)
    truth = CocoTruth.parse(annotated)
    matches = evaluate(truth, detections, image_ids=subset)
    np.testing.assert_allclose(precision_table(matches)[0], their_table(evaluator), atol=1e-12)
    alone = evaluate(truth, {image: detections[image] for image in subset})
    assert average_precision(alone) == average_precision(matches)
    assert average_precision(alone) != average_precision(evaluate(truth, detections))


def test_weights_are_copies_of_images(rng):
    annotated, detections = scene(rng, ties=False)
    truth = CocoTruth.parse(annotated)
    matches = evaluate(truth, detections)
    weights = image_weights(len(detections), resamples=4, seed=2)
    assert (weights == 0).any()
    assert (weights > 1).any()
    table = precision_table(matches, weights)
    for row, drawn in zip(table, weights, strict=True):
        # The multiset written out: every copy of an image is an image of its own.
        copied, found = {**annotated, "images": [], "annotations": []}, {}
        for number, times in zip(matches.image_ids, drawn, strict=True):
            for _ in range(times):
                new = len(found) + 1
                copied["images"].append({**truth.images[number].__dict__, "id": new})
                found[new] = detections[number]
                copied["annotations"] += [{**a, "image_id": new} for a in truth.annotations.get(number, [])]
        copied["annotations"] = [{**a, "id": n} for n, a in enumerate(copied["annotations"], start=1)]
        np.testing.assert_allclose(row, their_table(theirs(copied, found)), rtol=0, atol=1e-12)


def test_annotations_as_detections_are_perfect_and_shifted_boxes_fall_by_the_computed_amount():
    boxes = {7: [(1, (10, 10, 100, 100), 0), (3, (120, 20, 60, 60), 0)], 9: [(1, (30, 40, 80, 100), 0)]}
    truth = CocoTruth.parse(content(boxes))

    def shifted(share):
        return {
            image: [detected(category, (box[0] + share * box[2], *box[1:])) for category, box, _ in found]
            for image, found in boxes.items()
        }  # fmt: skip

    oracle = average_precision(evaluate(truth, shifted(0)))
    assert [oracle[name] for name in ("ap", "ap50", "ap75", "ap_medium", "ap_large", "ap/person")] == pytest.approx(
        [1] * 6
    )
    assert oracle["ap_small"] is None
    # A fifth to the side: IoU 0.8 / 1.2 = 0.667, four of the ten thresholds.
    moved = average_precision(evaluate(truth, shifted(0.2)))
    assert (moved["ap"], moved["ap50"], moved["ap75"]) == pytest.approx((0.4, 1, 0))
    # Only persons moved, and half of them: of two, the one that fits comes second, precision 1/2 at recall 1/2.
    half = {7: [detected(1, (30, 10, 100, 100), 0.9)], 9: [detected(1, (30, 40, 80, 100), 0.8)]}
    found = average_precision(evaluate(truth, half))
    above = 0.5 * 51 / 101  # recall points 0 to 0.5 at the thresholds that the moved box misses
    assert found["ap/person"] == pytest.approx(0.4 * 1 + 0.6 * above)
    assert found["ap/car"] == 0


def test_no_detection_at_all_is_zero(rng):
    truth = CocoTruth.parse(content({1: [(1, (5, 5, 20, 20), 0)], 2: []}))
    matches = evaluate(truth, {1: [], 2: []})
    assert average_precision(matches)["ap"] == 0
    assert average_precision(matches)["ap/car"] is None
    assert average_precision(evaluate(truth, {2: []}))["ap"] is None
    with pytest.raises(TruthError, match="image 2 has no list"):
        evaluate(truth, {1: []}, image_ids=[1, 2])


def test_a_crowd_swallows_detections_without_reward_or_penalty():
    boxes = {1: [(1, (0, 0, 100, 100), 1), (1, (120, 120, 50, 50), 0)]}
    inside = [detected(1, (10 * n, 10, 20, 20), 0.95) for n in range(5)]
    truth = CocoTruth.parse(content(boxes))
    assert average_precision(evaluate(truth, {1: [*inside, detected(1, (120, 120, 50, 50))]}))["ap"] == pytest.approx(1)
    no_crowd = CocoTruth.parse(content({1: [(1, (120, 120, 50, 50), 0)]}))
    assert average_precision(evaluate(no_crowd, {1: [*inside, detected(1, (120, 120, 50, 50))]}))["ap"] < 0.2


def test_annotation_ids_from_zero_are_matched():
    truth = CocoTruth.parse(content({1: [(1, (10, 10, 50, 50), 0)]}, first_id=0))
    assert average_precision(evaluate(truth, {1: [detected(1, (10, 10, 50, 50))]}))["ap"] == pytest.approx(1)


def test_mask_area_decides_size_even_where_a_box_comes_along():
    from pycocotools import mask

    # A thin diagonal: a large box, a small area.
    diagonal = np.asfortranarray(np.eye(SIZE, dtype=np.uint8))
    rle = mask.encode(diagonal)
    annotated = content({1: [(1, (0, 0, SIZE, SIZE), 0)]})
    annotated["annotations"][0] |= {
        "segmentation": {"size": [SIZE, SIZE], "counts": rle["counts"].decode()},
        "area": SIZE,
    }
    truth = CocoTruth.parse(annotated)
    found = {"category_id": 1, "score": 0.5, "bbox": [0, 0, SIZE, SIZE], "segmentation": rle}
    measured = average_precision(evaluate(truth, {1: [found]}, "segm"))
    assert measured["ap_small"] == pytest.approx(1)
    assert measured["ap_large"] is None
    unmatched = {**found, "segmentation": mask.encode(np.asfortranarray(diagonal[::-1]))}
    measured = average_precision(evaluate(truth, {1: [{**unmatched, "score": 0.9}, found]}, "segm"))
    assert measured["ap_small"] == pytest.approx(0.5)
    with pytest.raises(TruthError, match=r"a mask of \[100, 200\] pixels for 200x200"):
        evaluate(truth, {1: [{**found, "segmentation": mask.encode(np.asfortranarray(diagonal[:100]))}]}, "segm")


def test_classes_are_matched_by_name_not_by_number():
    boxes = {1: [(90, (10, 10, 50, 50), 0), (1, (80, 80, 50, 50), 0)]}
    truth = CocoTruth.parse(content(boxes))
    # A detector that numbers its classes from 0 without gaps, and knows one more.
    names = {0: "person", 1: "car", 2: "toothbrush", 3: "unicorn"}
    found = [detected(2, (10, 10, 50, 50)), detected(0, (80, 80, 50, 50)), detected(3, (0, 0, 9, 9))]
    assert average_precision(evaluate(truth, {1: found}, names=names))["ap"] == pytest.approx(1)
    with pytest.raises(TruthError, match="a detection of category 2, which nothing gives a name"):
        evaluate(truth, {1: found})
    # Categories the detector does not know are not held against it.
    person = average_precision(evaluate(truth, {1: found[1:2]}, names={0: "person"}))
    assert person["ap"] == pytest.approx(1)
    assert "ap/toothbrush" not in person
    with pytest.raises(TruthError, match="none of its categories"):
        evaluate(truth, {1: found}, names={0: "unicorn"})


def test_names_are_taken_whole():
    annotated = content({1: [], 2: [], 3: []})
    for image, name in zip(
        annotated["images"], ("val/000000000009.jpg", "train/000000000009.jpg", "x.jpg"), strict=True
    ):
        image["file_name"] = name
    truth = CocoTruth.parse(annotated)
    assert [truth.image_id("val/000000000009.jpg"), truth.image_id("train/000000000009.jpg")] == [1, 2]
    for guess in ("000000000009.jpg", "9.jpg", "val/000000000009.png"):
        with pytest.raises(TruthError, match="no image is called"):
            truth.image_id(guess)
    annotated["images"][1]["file_name"] = "val/000000000009.jpg"
    with pytest.raises(TruthError, match="2 images are called"):
        CocoTruth.parse(annotated).image_id("val/000000000009.jpg")
    truth.check_size(3, SIZE, SIZE)
    with pytest.raises(TruthError, match="10x200 pixels, annotations says 200x200"):
        truth.check_size(3, SIZE, 10)


def test_unusable_files_are_one_line(tmp_path):
    with pytest.raises(TruthError, match="cannot be read"):
        CocoTruth.load(tmp_path / "none.json")
    path = tmp_path / "some.json"
    good = content({1: [(1, (5, 5, 20, 20), 0)]})
    for damage, message in [
        ("no json", "is no JSON file"),
        ([], "is no COCO annotation file"),
        ({**good, "images": []}, "annotations of image 1, which it does not list"),
        ({**good, "categories": []}, "annotations of category 1, which it does not list"),
        ({**good, "images": good["images"] * 2}, "image id 1 is given more than once"),
        ({**good, "categories": [*good["categories"], {"id": 5, "name": "car"}]}, "category name car"),
    ]:
        path.write_text(damage if isinstance(damage, str) else json.dumps(damage))
        with pytest.raises(TruthError, match=message) as caught:
            CocoTruth.load(path)
        assert str(path) in str(caught.value)
    path.write_text(json.dumps(good))
    truth = CocoTruth.load(path)
    with pytest.raises(TruthError, match="annotation 1 has no keypoints, which keypoints needs"):
        evaluate(truth, {1: []}, "keypoints")
    with pytest.raises(TruthError, match="a detection without segmentation"):
        evaluate(truth, {1: [detected(1, (1, 1, 5, 5))]}, "segm")
    good["annotations"][0]["segmentation"] = [[5, 5, 20, 20]]
    with pytest.raises(TruthError, match="a polygon needs three points"):
        evaluate(CocoTruth.parse(good), {1: []}, "segm")
    with pytest.raises(TruthError, match="no image with the id 4"):
        evaluate(truth, {4: []})


def test_bootstrap_of_500_images_and_80_classes_takes_seconds(rng):
    boxes, detections = {}, {}
    for image in range(500):
        kinds = rng.integers(1, 81, 7).tolist()
        corners = rng.uniform(0, 100, (7, 2))
        found = [(kind, [float(x), float(y), 60.0, 60.0], 0) for kind, (x, y) in zip(kinds, corners, strict=True)]
        boxes[image] = found
        detections[image] = [
            detected(kind, np.add(box, [dx, 0, 0, 0]).tolist(), float(score))
            for kind, box, _ in found
            for dx, score in zip(rng.uniform(0, 50, 2), rng.random(2), strict=True)
        ]
    truth = CocoTruth.parse(content(boxes, [(n, f"class {n}") for n in range(1, 81)]))
    matches = evaluate(truth, detections)
    start = time.process_time()
    samples = bootstrap_precision(matches, image_weights(500, resamples=100))
    assert time.process_time() - start < 10
    whole = average_precision(matches)
    for name in ("ap", "ap50", "ap75"):
        low, high = np.quantile(samples[name], [0.025, 0.975])
        assert low < high < low + 0.1
        assert low - 0.05 < whole[name] < high + 0.05


def test_pairing_narrows_the_interval_of_a_difference(rng):
    annotated, detections = scene(rng, images=40, ties=False)
    truth = CocoTruth.parse(annotated)
    worse = {
        image: [{**one, "bbox": np.add(one["bbox"], [3, 0, 0, 0]).tolist()} for one in each]
        for image, each in detections.items()
    }
    first, second = evaluate(truth, detections), evaluate(truth, worse)
    found = precision_difference(first, second, resamples=200)["ap"]
    assert found.difference == pytest.approx(average_precision(first)["ap"] - average_precision(second)["ap"])
    assert found.ci95[0] < found.difference < found.ci95[1]
    low, high = np.quantile(bootstrap_precision(first, image_weights(40, 200))["ap"], [0.025, 0.975])
    assert found.ci95[1] - found.ci95[0] < 0.8 * (high - low)
    assert precision_difference(first, first, resamples=20)["ap"].ci95 == (0, 0)
    assert precision_difference(first, second, resamples=20)["ap/toothbrush"].difference is None
    with pytest.raises(ValueError, match="same kind, images"):
        precision_difference(first, evaluate(truth, detections, image_ids=list(detections)[:9]))
