import numpy as np
import pytest

from icm.metrics.detectability import average_precision, detectability, match, overlap


def test_overlap_by_hand():
    found = overlap(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 2, 2], [0, 0, 2, 2], [5, 5, 1, 1]]))
    np.testing.assert_allclose(found, [[1 / 3, 1, 0]])


def test_a_face_is_found_once_and_by_the_surest_box():
    truth = np.array([[0, 0, 10, 10]])
    boxes = np.array([[0, 0, 10, 9, 0.8], [0, 0, 10, 10, 0.7], [30, 0, 10, 10, 0.9]])
    assert match(truth, boxes).tolist() == [True, False, False]
    assert match(np.zeros((0, 4)), boxes).tolist() == [False] * 3
    assert match(truth, np.zeros((0, 5))).tolist() == []


def test_lost_faces_are_counted_apart():
    face = np.array([[0, 0, 10, 10]])
    two = np.array([[0, 0, 10, 10], [50, 0, 10, 10]])
    seen = np.array([[0, 0, 10, 10, 0.9]])
    found = detectability([face, two, face], [seen, seen, np.zeros((0, 5))])
    assert found.recall.value == 0.5
    assert (found.recall.n, found.recall.units) == (4, 3)
    assert (found.lost_faces, found.lost_pictures) == (2, 1)
    assert found.recall.low < 0.5 < found.recall.high
    # Precision is 1 up to recall 0.5, which 51 of the 101 levels reach.
    assert found.average_precision.value == pytest.approx(51 / 101)


def test_all_or_nothing():
    faces = [np.array([[0, 0, 10, 10]])] * 5
    everything = detectability(faces, [np.array([[0, 0, 10, 10, 1.0]])] * 5)
    assert (everything.recall.value, everything.average_precision.value) == (1, 1)
    assert (everything.recall.low, everything.recall.high) == (pytest.approx(0.025 ** (1 / 5)), 1)
    nothing = detectability(faces, [np.zeros((0, 5))] * 5)
    assert (nothing.recall.value, nothing.average_precision.value) == (0, 0)
    assert nothing.lost_pictures == 5
    empty = detectability([np.zeros((0, 4))], [np.array([[0, 0, 10, 10, 1.0]])])
    assert (empty.recall.value, empty.recall.note) == (None, "no face in the originals")


def test_weights_count_boxes_that_often():
    hit = np.array([True, False, True])
    repeated = average_precision(np.repeat(hit, [2, 3, 1]), np.ones(6), 5)
    assert average_precision(hit, np.array([2, 3, 1]), 5) == pytest.approx(repeated)


def test_agrees_with_pycocotools(rng, capsys):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, boxes = [], []
    for _ in range(12):
        faces = rng.integers([0, 0, 20, 20], [200, 200, 60, 60], (rng.integers(1, 4), 4))
        found = faces + rng.integers(-6, 7, faces.shape)
        others = rng.integers([0, 0, 20, 20], [200, 200, 60, 60], (2, 4))
        kept = np.concatenate([found[rng.random(len(found)) < 0.8], others])
        truth.append(faces)
        boxes.append(np.column_stack([kept, rng.random(len(kept))]))
    data = COCO()
    data.dataset = {
        "images": [{"id": i + 1} for i in range(12)],
        "categories": [{"id": 1}],
        "annotations": [
            {"image_id": i + 1, "category_id": 1, "bbox": box.tolist(), "area": float(box[2] * box[3]), "iscrowd": 0}
            for i, faces in enumerate(truth)
            for box in faces
        ],
    }
    for number, annotation in enumerate(data.dataset["annotations"]):
        annotation["id"] = number + 1
    data.createIndex()
    found = data.loadRes(
        [
            {"image_id": i + 1, "category_id": 1, "bbox": box[:4].tolist(), "score": float(box[4])}
            for i, found in enumerate(boxes)
            for box in found
        ]
    )
    reference = COCOeval(data, found, "bbox")
    reference.evaluate()
    reference.accumulate()
    capsys.readouterr()
    ours = detectability(truth, boxes, resamples=50)
    assert ours.average_precision.value == pytest.approx(reference.eval["precision"][0, :, 0, 0, 2].mean(), abs=1e-9)
    assert ours.recall.value == pytest.approx(reference.eval["recall"][0, 0, 0, 2])
