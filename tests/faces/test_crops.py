"""Cutting faces out, as they are and turned until the eyes are level."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm.faces.boxes import Box
from icm.faces.crops import aligned_crop, crop
from icm.faces.demo_scenes import SCENES, compose, face_box


def eyes_at(centre: float, angle: float, between: float):
    """Two eyes around (centre, centre), turned by an angle in degrees."""
    across, down = between / 2 * np.cos(np.radians(angle)), between / 2 * np.sin(np.radians(angle))
    return (round(centre - across), round(centre - down)), (round(centre + across), round(centre + down))


def test_a_crop_outside_the_image_is_refused():
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert np.array_equal(crop(image, Box(1, 2, 3, 2, 1.0)), image[2:4, 1:4])
    for cut in (crop, aligned_crop):
        with pytest.raises(ValueError, match="does not lie inside"):
            cut(image, Box(3, 0, 3, 2, 1.0))


def test_alignment_is_deepfaces_own():
    """DeepFace's own code, given the same box and eyes, cuts the same pixels."""
    from icm.faces.deepface_setup import import_deepface

    import_deepface()
    from deepface.models.Detector import FacialAreaRegion
    from deepface.modules.detection import extract_face

    for spec in SCENES[:4]:
        image = compose(spec)
        for person in spec.people:
            x, y, width, height = face_box(person, spec.size)
            for angle in (-20, 7, 35):
                right, left = ((x + dx, y + dy) for dx, dy in eyes_at(width / 2, angle, width / 2))
                box = Box(x, y, width, height, 1.0, (right, left))
                area = FacialAreaRegion(x=x, y=y, w=width, h=height, left_eye=left, right_eye=right, confidence=1)
                theirs = extract_face(area, image, True, 0, 0, 0, "mtcnn").img
                ours = aligned_crop(image, box)
                height, width = (min(sides) for sides in zip(theirs.shape[:2], ours.shape[:2], strict=True))
                assert max(ours.shape[0] - height, ours.shape[1] - width) <= 1, "theirs is rounded down"
                difference = ours[:height, :width].astype(int) - theirs[:height, :width]
                assert np.abs(difference).mean() < 1, (spec.name, angle)


def test_eyes_are_level_afterwards():
    image = np.zeros((200, 200, 3), np.uint8)
    (right_x, right_y), (left_x, left_y) = eyes = eyes_at(100, 25, 60)
    for x, y, value in ((right_x, right_y, 255), (left_x, left_y, 128)):
        image[y - 3 : y + 4, x - 3 : x + 4] = value
    face = aligned_crop(image, Box(40, 40, 120, 120, 1.0, eyes))[:, :, 0].astype(float)
    rows, columns = np.mgrid[:120, :120]
    right, left = face[:, :60], face[:, 60:]
    at = [((rows[:, part] * half).sum() / half.sum(), (columns[:, part] * half).sum() / half.sum())
          for part, half in ((slice(0, 60), right), (slice(60, 120), left))]  # fmt: skip
    assert at[0][0] == pytest.approx(at[1][0], abs=0.7)
    assert at[1][1] - at[0][1] == pytest.approx(60, abs=1)
    assert right.max() > left.max(), "the person's right eye stays on the left"


def test_without_eyes_nothing_is_turned(picture):
    box = Box(8, 9, 30, 40, 1.0)
    assert np.array_equal(aligned_crop(picture, box), crop(picture, box))
    level = Box(8, 9, 30, 40, 1.0, ((15, 20), (30, 20)))
    assert np.array_equal(aligned_crop(picture, level), crop(picture, box))


def test_a_face_at_the_edge_of_a_very_wide_picture_is_black_beyond_it():
    image = np.full((40, 40_000, 3), 200, np.uint8)
    face = aligned_crop(image, Box(39_960, 0, 40, 40, 1.0, ((39_970, 8), (39_990, 22))))
    assert face.shape == (40, 40, 3)
    assert face.min() == 0
    assert (face[15:25, 5:15] == 200).all()


@given(st.integers(0, 60), st.integers(0, 40), st.integers(1, 60), st.integers(1, 50), st.integers(0, 10_000))
def test_what_is_done_depends_on_the_box_alone(x, y, width, height, seed):
    """The same turn for two pictures: turning their mean is, within rounding, the mean of both turned."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(60, 190, (2, 90, 120, 3), dtype=np.uint8) // 2 * 2
    eyes = tuple((int(a), int(b)) for a, b in zip(rng.integers(0, 120, 2), rng.integers(0, 90, 2), strict=True))
    box = Box(x, y, width, height, 1.0, eyes)
    together = aligned_crop(first // 2 + second // 2, box)
    apart = aligned_crop(first, box) / 2 + aligned_crop(second, box) / 2
    inside = (together > 40) & (together < 210)
    assert together.shape == (height, width, 3)
    assert np.abs(together - apart)[inside].max(initial=0) <= 2.5


def test_eyes_survive_json():
    box = Box(1, 2, 3, 4, 0.5, ((1, 2), (3, 2)))
    assert Box(**json.loads(json.dumps(vars(box)))) == box
    assert hash(box)
