"""``task=detection`` with an oracle: annotations as detections, moved by a known amount when the picture was coded."""

import json

import numpy as np
import pytest

from icm.codecs import create
from icm.config import compose_job
from icm.errors import UserError
from icm.evaluation.cache import Cache
from icm.evaluation.detection import DetectionTask
from icm.evaluation.job import Job
from icm.evaluation.measures import Subject
from icm.faces.sources import SourceImage
from icm.images import read_image
from icm.metrics.resampling import image_weights
from icm.parts import preflight
from icm.report.tables import write_table

BOX = (20, 20, 40, 40)


class Oracle:
    """Finds the annotated box, ``shift`` pixels to the right in a picture that is not the original."""

    name, title, version, kinds, categories = "oracle", "Oracle", "1", ("bbox",), {5: "cat"}

    def __init__(self, originals, shift):
        self.originals, self.shift = originals, shift

    @property
    def parameters(self):
        return {"shift": self.shift}

    def preflight(self):
        return []

    def predict(self, image):
        shift = 0 if any(np.array_equal(image, original) for original in self.originals) else self.shift
        if shift is None:
            return []
        x, y, width, height = BOX
        return [{"category_id": 5, "score": 0.9, "bbox": [x + shift, y, width, height]}]


class Pictures:
    name, version, labelled, pairs, parameters = "made", "1", False, (), property(lambda self: {})

    def __init__(self, pictures):
        self.pictures = pictures

    def preflight(self):
        return []

    def ignored(self):
        return []

    def images(self):
        return [SourceImage(name, lambda name=name: self.pictures[name]) for name in self.pictures]


@pytest.fixture
def scene(make_picture, tmp_path):
    """Pictures in two folders with equal file names, and one that is not listed; the category has another id there."""
    pictures = {name: make_picture(96, 128, seed=n) for n, name in enumerate(("a/1.png", "b/1.png", "1.png"))}
    images = [{"id": 7 + n, "file_name": name, "width": 128, "height": 96} for n, name in enumerate(list(pictures)[:2])]
    boxes = [{"id": n, "image_id": 7 + n, "category_id": 17, "bbox": BOX, "area": 1600, "iscrowd": 0} for n in range(2)]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": [{"id": 17, "name": "cat"}]}))
    return pictures, path


def measured(codec, scene, shift, tmp_path):
    pictures, path = scene
    task = DetectionTask("detection", str(path), Oracle(list(pictures.values()), shift))
    return Job(create(*codec), Pictures(pictures), [task]).run(Cache(tmp_path / "cache"), tmp_path / "run")


def test_an_oracle_is_perfect_on_originals_and_images_that_are_not_listed_take_no_part(scene, tmp_path):
    run = measured(("none",), scene, 10, tmp_path)
    assert run.estimates["ap", Subject(model="oracle")].value == pytest.approx(1.0)
    assert [row["image"] for row in run.images] == ["a/1.png", "b/1.png"]
    assert [entry["image"] for entry in run.summary["skipped"]] == ["1.png"]
    assert run.summary["titles"] == {"oracle": "Oracle"}


def test_moved_boxes_lose_what_their_overlap_says(scene, tmp_path):
    run = measured(("jpeg",), scene, 10, tmp_path)
    # A shift of 10 of 40 pixels: IoU 30/50 = 0.6, which passes the thresholds 0.5, 0.55 and 0.6 of ten.
    assert run.estimates["ap", Subject(model="oracle")].value == pytest.approx(0.3)
    assert run.estimates["ap50", Subject(model="oracle")].value == pytest.approx(1.0)
    assert run.estimates["ap75", Subject(model="oracle")].value == pytest.approx(0.0)
    person = run.estimates["ap_person", Subject(model="oracle")]
    assert (person.value, person.note) == (None, "nothing of that kind is annotated")


def test_no_detection_at_all_is_ap_zero(scene, tmp_path):
    assert measured(("jpeg",), scene, None, tmp_path).estimates["ap", Subject(model="oracle")].value == 0.0


def test_images_are_drawn_by_name_as_rates_are(scene, tmp_path):
    pictures, path = scene
    content = json.loads(path.read_text())
    for image, other in zip(content["images"], (9, 4), strict=True):  # the first by name is not the first by id
        image["id"] = other
    for box, other in zip(content["annotations"], (9, 4), strict=True):
        box["image_id"] = other
    path.write_text(json.dumps(content))
    finder = Oracle([pictures["a/1.png"]], None)
    task = DetectionTask("detection", str(path), finder)
    run = Job(create("none"), Pictures(pictures), [task], seed=3).run(Cache(tmp_path / "cache"), tmp_path / "run")
    replicates = np.array(json.loads((run.directory / "replicates.json").read_text())["ap|||oracle"])
    # Found in a/1.png alone: all of a resample that draws nothing else, nothing of one without it.
    drawn = image_weights(2, len(replicates), 3)
    np.testing.assert_array_equal(replicates == 1, drawn[:, 0] == 2)
    np.testing.assert_array_equal(replicates == 0, drawn[:, 0] == 0)


def test_what_is_missing_is_said_before_the_start(scene, tmp_path):
    with pytest.raises(UserError, match=r"absent\.json: no such file"):
        preflight([DetectionTask("detection", str(tmp_path / "absent.json"), Oracle([], 0))])
    with pytest.raises(UserError, match=r"task=people measures against annotations.*task\.people\.annotations=FILE"):
        preflight(compose_job(task="people"))
    with pytest.raises(UserError, match="Oracle finds bbox only"):
        DetectionTask("segmentation", str(scene[1]), Oracle([], 0))


def test_the_smoke_test_runs_offline_and_names_itself(shared_data, tmp_path):
    (task,) = compose_job(task="people")
    task = DetectionTask("people", str(shared_data / "instances_coco_all.json"), task.model)
    name = "coco_scenes/000000143931.jpg"
    picture = {name: read_image(shared_data / name)}
    run = Job(create("none"), Pictures(picture), [task]).run(Cache(tmp_path / "cache"), tmp_path / "run")
    found = run.estimates["people_ap50", Subject(model="hog")]
    assert found.value > 0.3  # the one person is among the few windows it finds
    assert run.images[0]["people_found"] > 0
    (markdown,) = [path.read_text() for path in write_table([run], tmp_path) if path.suffix == ".md"]
    assert "HOG people (smoke test)" in markdown
