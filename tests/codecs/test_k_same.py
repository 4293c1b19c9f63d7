"""K-same: faces become averages of other people's."""

import numpy as np
import pytest

from icm import codecs
from icm.codecs.base import CodecError


@pytest.fixture
def people(make_picture) -> list[np.ndarray]:
    return [make_picture(40 + n, 30, seed=n) // 2 + 20 * n for n in range(6)]


def test_a_face_becomes_the_mean_of_the_nearest_people(people):
    flat = [np.full((50, 50, 3), level, np.uint8) for level in (0, 40, 100, 104, 250)]
    picture = np.full((80, 90, 3), 110, np.uint8)
    codec = codecs.create("k_same", k=3).among(flat)
    coded = codec.decode(codec.encode(picture, [(10, 20, 30, 40)]))
    np.testing.assert_array_equal(coded[20:60, 10:40], round((104 + 100 + 40) / 3))
    coded[20:60, 10:40] = 110
    np.testing.assert_array_equal(coded, picture)


def test_a_face_at_the_border_stays_inside(people, picture):
    codec = codecs.create("k_same", k=2).among(people)
    width = picture.shape[1]
    coded = codec.decode(codec.encode(picture, [(width - 20, -10, 60, 50), (-50, -50, 20, 20)]))
    changed = (coded != picture).any(axis=2)
    assert changed[:40, width - 20 :].mean() > 0.9
    assert not changed[40:].any()
    assert not changed[:, : width - 20].any()


def test_whoever_searches_the_population_finds_k_people_alike(people):
    """The whole point: with k of all people, every person becomes the same average."""
    codec = codecs.create("k_same", k=len(people)).among(people)
    averages = [codec.decode(codec.encode(face, [(0, 0, face.shape[1], face.shape[0])])) for face in people[:2]]
    small = [face[: averages[0].shape[0]] for face in averages]
    assert np.abs(small[0].astype(int) - small[1]).mean() < 2


def test_the_population_is_part_of_what_names_its_bytes(people):
    codec = codecs.create("k_same", k=2)
    same, other = codec.among(people), codec.among(people[1:])
    assert codec.among(people).parameters == same.parameters != other.parameters
    assert codec.parameters == {"k": 2}


def test_too_few_people_and_none_at_all_are_named(people, picture):
    codec = codecs.create("k_same", k=7)
    with pytest.raises(CodecError, match=r"codec\.k=7: the pictures show 6 people"):
        codec.among(people)
    with pytest.raises(CodecError, match="averages the people of a job"):
        codec.encode(picture, [(0, 0, 20, 20)])
    with pytest.raises(CodecError, match=r"codec\.k=1: k_same takes a whole number from 2"):
        codecs.create("k_same", k=1)
