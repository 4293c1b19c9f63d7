"""Detectors behind one class."""

import csv
import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icm.faces import weights
from icm.faces.boxes import Box, KnownFace
from icm.faces.crops import crop
from icm.faces.deepface_setup import quiet
from icm.faces.detection import BACKENDS, DeepFaceDetector, DetectionError, Detector, LabelledBoxes, WholePicture
from icm.faces.sources import DemoFaces
from icm.images import ImageError, read_image

ROOT = Path(__file__).resolve().parents[2]


def scene(name: str) -> np.ndarray:
    return next(image for image in DemoFaces().images() if image.name == name).load()


def test_mtcnn_boxes_equal_the_recorded_ones(shared_data):
    recorded = defaultdict(list)
    with open(shared_data / "faces_mtcnn.csv") as file:
        for row in csv.DictReader(file):
            x, y, width, height = (int(row[key]) for key in "xywh")
            recorded[row["path"]].append(Box(x, y, width, height, float(row["confidence"])))
    detector = DeepFaceDetector()
    for name in sorted(path for path in recorded if path.startswith("coco_faces/"))[:8]:
        expected = [box for box in recorded[name] if box.confidence >= 0.9 and min(box.width, box.height) >= 24]
        found = detector.detect(read_image(shared_data / name))
        assert [replace(box, eyes=None) for box in found] == sorted(expected, key=lambda box: (box.x, box.y))


def test_mtcnn_tells_where_the_eyes_are():
    boxes = DeepFaceDetector().detect(scene("far-lawn"))
    for box in boxes:
        (right_x, right_y), (left_x, left_y) = box.eyes
        assert box.x < right_x < left_x < box.x + box.width
        assert all(box.y + box.height / 5 < y < box.y + box.height / 2 for y in (right_y, left_y))
    assert [Box(**json.loads(json.dumps(vars(box)))) for box in boxes] == boxes


def test_detectors_are_parts_that_need_no_labels(has_all_of):
    detector = DeepFaceDetector("opencv", min_size=30)
    assert has_all_of(detector, Detector)
    assert (detector.name, detector.backend, detector.uses_known) == ("opencv", "opencv", False)
    assert detector.parameters["min_size"] == 30


def test_thresholds_drop_faces():
    image = scene("far-lawn")
    boxes = DeepFaceDetector().detect(image)
    assert len(boxes) == 2
    assert boxes == sorted(boxes, key=lambda box: box.x)
    smaller, larger = sorted(boxes, key=lambda box: box.width)
    assert DeepFaceDetector(min_size=smaller.width + 1).detect(image) == [larger]
    assert DeepFaceDetector(min_confidence=1.0).detect(image) == [box for box in boxes if box.confidence == 1]


@pytest.mark.parametrize("shape", [(1, 1), (24, 24), (24, 400), (301, 40), (200, 300)])
@pytest.mark.parametrize("value", [0, 128])
def test_an_image_without_a_face_gives_no_box(shape, value):
    assert DeepFaceDetector(min_confidence=0).detect(np.full((*shape, 3), value, np.uint8)) == []


def test_opencv_keeps_boxes_with_confidence_one_inside_the_image():
    image = scene("portrait-pad")
    boxes = DeepFaceDetector("opencv").detect(image)
    assert "collins" in DemoFaces().images()[13].identities(boxes)
    for box in boxes:
        assert box.confidence == 1
        assert crop(image, box).shape == (box.height, box.width, 3)


def test_boxes_are_clipped_to_the_image(monkeypatch):
    detector = DeepFaceDetector(min_size=1)
    area = {"x": -5, "y": 3, "w": 400, "h": 500}
    monkeypatch.setattr(detector, "_faces", lambda image: [{"facial_area": area, "confidence": np.float32(1)}])
    (box,) = detector.detect(np.zeros((50, 80, 3), np.uint8))
    assert box == Box(0, 3, 80, 47, 1.0)
    assert all(type(value) is int for value in (box.x, box.y, box.width, box.height))


def test_the_image_is_left_as_it_was():
    image = scene("far-lawn")
    before = image.copy()
    DeepFaceDetector("opencv").detect(image)
    assert np.array_equal(image, before)


def test_preflight_and_version_import_no_framework():
    code = (
        "import sys; from icm.faces.detection import DeepFaceDetector\n"
        "d = DeepFaceDetector(); assert d.preflight() == []; assert 'mtcnn 1' in d.version\n"
        "assert not {'tensorflow', 'torch', 'deepface', 'mtcnn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_quiet_hides_chatter_unless_something_fails(capfd):
    with quiet():
        os.write(2, b"chatter")
    assert capfd.readouterr().err == ""

    def fail():
        with quiet():
            os.write(2, b"the cause")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    os.write(2, b", and on")
    assert capfd.readouterr().err == "the cause, and on"


@pytest.mark.slow
def test_tensorflow_is_silent():
    code = (
        "import numpy as np; from icm.faces.detection import DeepFaceDetector\n"
        "DeepFaceDetector().detect(np.zeros((40, 40, 3), np.uint8))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == ""


@pytest.mark.parametrize("backend", ["retinaface", "yunet"])
def test_a_damaged_weight_is_one_line_that_names_the_file(backend, deepface_home):
    path = weights.path_of(backend)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK cut short")
    weights.record(path)
    with pytest.raises(weights.WeightsError) as caught:
        DeepFaceDetector(backend).detect(np.zeros((64, 64, 3), np.uint8))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", ["retinaface", "yolov8n", "yunet"])
def test_a_missing_weight_is_one_line_with_the_command(backend, deepface_home):
    problems = DeepFaceDetector(backend).preflight()
    assert f"python -m icm download weights {backend}" in problems[-1].remedy
    with pytest.raises(DetectionError):
        DeepFaceDetector(backend).detect(np.zeros((64, 64, 3), np.uint8))


def test_a_missing_package_is_one_line_with_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for backend in BACKENDS:
        problem = DeepFaceDetector(backend).preflight()[0]
        assert "not installed" in problem.what
        assert "python -m pip install" in problem.remedy


@pytest.mark.parametrize(
    ("options", "field"),
    [({"backend": "dlibb"}, "dlibb"), ({"min_confidence": 2}, "min_confidence=2"), ({"min_size": 0}, "min_size=0")],
)
def test_bad_options_name_the_field(options, field):
    with pytest.raises(DetectionError, match=field):
        DeepFaceDetector(**options)


def test_labelled_boxes_are_clipped_and_taken_as_they_are(has_all_of):
    detector = LabelledBoxes()
    assert has_all_of(detector, Detector)
    assert detector.uses_known
    image = np.zeros((50, 80, 3), np.uint8)
    assert detector.detect(image) == []
    known = (KnownFace("ann", 60, 10, 30, 9), KnownFace(None, -5, 3, 20, 20))
    assert detector.detect(image, known) == [Box(0, 3, 15, 20, 1.0), Box(60, 10, 20, 9, 1.0)]
    with pytest.raises(ImageError, match="box 80,0,5,5 lies outside this picture of 80x50"):
        detector.detect(image, (KnownFace("ann", 80, 0, 5, 5),))


def test_a_whole_picture_is_one_face(has_all_of):
    detector = WholePicture()
    assert has_all_of(detector, Detector)
    assert detector.detect(np.zeros((7, 9, 3), np.uint8)) == [Box(0, 0, 9, 7, 1.0)]


def test_a_network_can_code_in_a_process_that_has_detected_with_tensorflow():
    code = (
        "from icm.faces.detection import DeepFaceDetector\nfrom icm.faces.sources import DemoFaces\n"
        "assert DeepFaceDetector('mtcnn').detect(DemoFaces().images()[0].load())\n"
        "import torch\nfrom models.hyperprior import Hyperprior\n"
        "network = Hyperprior(8, 12).eval()\nnetwork.update(force=True)\n"
        "assert network.compress(torch.rand(1, 3, 64, 64))['strings']\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_mtcnn_run_as_graphs_finds_what_its_package_finds(make_picture, rng):
    """Every box, landmark and confidence, of sure and unsure faces, and where there is none."""
    face = DemoFaces().images()[0].load()
    DeepFaceDetector().detect(face)
    from deepface.modules import modeling
    from mtcnn import MTCNN

    ours, plain = modeling.cached_models["face_detector"]["mtcnn"].model, MTCNN()
    assert not isinstance(ours.stages[0]._model, type(plain.stages[0]._model))
    noise = rng.integers(0, 256, (333, 257, 3), dtype=np.uint8)
    for picture in (face, face[::2, ::2], noise, make_picture(200, 300), np.zeros((24, 24, 3), np.uint8)):
        unsure = {"threshold_pnet": 0.3, "threshold_rnet": 0.3, "threshold_onet": 0.3}
        assert ours.detect_faces(picture) == plain.detect_faces(picture)
        assert ours.detect_faces(picture, **unsure) == plain.detect_faces(picture, **unsure)
