"""The embedded scenes."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from icm.faces import demo_scenes
from icm.faces.detection import DeepFaceDetector
from icm.faces.sources import DemoFaces

ROOT = Path(__file__).resolve().parents[2]


def digest(image: np.ndarray) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def test_there_are_at_least_fifteen_scenes_of_two_people():
    images = DemoFaces().images()
    people = [{face.identity for face in image.known_faces} for image in images]
    assert len(images) >= 15
    assert len({image.name for image in images}) == len(images)
    assert set.union(*people) == {"collins", "hopper"}
    assert sum(len(both) == 2 for both in people) >= 3


def test_scenes_vary_in_size_scale_place_and_light():
    assert len({spec.size for spec in demo_scenes.SCENES}) >= 3
    assert len({spec.background for spec in demo_scenes.SCENES}) >= 6
    heights = [person.face_height for spec in demo_scenes.SCENES for person in spec.people]
    assert max(heights) > 3 * min(heights)
    brightness = [demo_scenes.compose(spec).mean() for spec in demo_scenes.SCENES]
    assert max(brightness) > 2.5 * min(brightness)


def test_scenes_are_rgb_pictures_of_their_size_with_faces_inside():
    for spec in demo_scenes.SCENES:
        image = demo_scenes.compose(spec)
        assert image.dtype == np.uint8
        assert image.shape == (spec.size[1], spec.size[0], 3)
        for person in spec.people:
            x, y, width, height = demo_scenes.face_box(person, spec.size)
            assert x >= 0
            assert y >= 0
            assert x + width <= spec.size[0]
            assert y + height <= spec.size[1]
            skin = image[y + height // 3 : y + height, x + width // 4 : x + 3 * width // 4].mean(axis=(0, 1))
            assert skin[0] > skin[2], "faces are redder than blue: the colour order is RGB"


def test_no_one_is_cut_off_above_the_frame():
    """Each outline's lowest visible row is real photograph: below the frame lies the portrait's own cut."""
    for spec in demo_scenes.SCENES:
        for person in spec.people:
            matrix = demo_scenes.placement(person, spec.size)
            outline = np.array(demo_scenes.PORTRAITS[person.who].outline, float)
            moved = outline @ matrix[:, :2].T + matrix[:, 2]
            cut = outline[:, 1] >= outline[:, 1].max() - 1
            assert (moved[cut, 1] >= spec.size[1] - 1).all(), spec.name


def test_scenes_are_the_same_bytes_in_another_process():
    code = "from icm.faces import demo_scenes; import hashlib; print(*(hashlib.sha256(demo_scenes.compose(s).tobytes()).hexdigest() for s in demo_scenes.SCENES))"  # fmt: skip  # noqa: E501
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert other.stdout.split() == [digest(demo_scenes.compose(spec)) for spec in demo_scenes.SCENES]


def test_a_package_without_its_picture_is_named(monkeypatch):
    monkeypatch.setitem(demo_scenes.BACKGROUNDS, "coffee", ("skimage", "data/tea.png"))
    (problem,) = DemoFaces().preflight()
    assert "skimage/data/tea.png" in problem.what
    with pytest.raises(demo_scenes.DemoError, match=r"skimage/data/tea\.png"):
        demo_scenes.compose(next(spec for spec in demo_scenes.SCENES if spec.background == "coffee"))


def test_mtcnn_finds_every_face_and_each_gets_its_identity():
    detector = DeepFaceDetector()
    for image in DemoFaces().images():
        boxes = detector.detect(image.load())
        found = sorted(image.identities(boxes))
        assert found == sorted(face.identity for face in image.known_faces), image.name
