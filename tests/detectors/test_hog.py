"""OpenCV's people detector."""

import numpy as np
import pytest

from icm.detectors.hog import HogPeople
from icm.images import read_image
from icm.metrics.detection import CocoTruth, average_precision, evaluate
from icm.parts import Part


def test_it_finds_standing_people_the_same_way_each_time(shared_data):
    detector = HogPeople()
    assert isinstance(detector, Part)
    assert detector.preflight() == []
    truth = CocoTruth.load(shared_data / "instances_coco_all.json")
    image_id = truth.image_id("coco_scenes/000000143931.jpg")
    image = read_image(shared_data / truth.images[image_id].file_name)
    found = detector.predict(image)
    assert found == detector.predict(image)
    assert all(0 < person["score"] < 1 and person["category_id"] == 1 for person in found)
    measured = average_precision(evaluate(truth, {image_id: found}, names=detector.categories))
    assert measured["ap50"] == pytest.approx(1)


def test_a_picture_smaller_than_its_window_holds_nobody():
    assert HogPeople().predict(np.zeros((127, 64, 3), np.uint8)) == []
    assert HogPeople().predict(np.zeros((128, 64, 3), np.uint8)) == []
