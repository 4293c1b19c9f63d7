import numpy as np
import pytest

from icm.metrics.scores import directions, identities, scenario_of, select_pairs, similarity_matrix


def test_similarities_of_known_angles_and_of_faces_without_direction():
    probes = np.array([[1, 0], [3, 4], [0, 0], [np.nan, 1]], dtype=np.float32)
    gallery = np.array([[2, 0], [0, 1], [-3, -4]])
    found = similarity_matrix(probes, gallery)
    np.testing.assert_allclose(found[:2], [[1, 0, -0.6], [0.6, 0.8, -1]], atol=1e-7)
    assert np.isnan(found[2:]).all()
    np.testing.assert_allclose(np.linalg.norm(directions(probes[:2]), axis=1), 1)


def test_other_pictures_leave_out_the_probe_its_picture_and_strangers():
    # Faces 0 and 1 are in one picture, 4 is somebody nobody knows.
    pairs = select_pairs(["ann", "bob", "ann", "bob", None], ["p", "p", "q", "r", "s"])
    assert pairs.scenario == "other_picture"
    assert np.argwhere(pairs.genuine).tolist() == [[0, 2], [1, 3], [2, 0], [3, 1]]
    assert np.argwhere(pairs.impostor).tolist() == [[0, 3], [1, 2], [2, 1], [2, 3], [3, 0], [3, 2]]
    assert pairs.units.tolist() == [0, 1, 0, 1, -1]
    assert pairs.resampled == "person"


def test_the_same_picture_compares_a_face_with_its_own_original():
    pairs = select_pairs(["ann", "ann", "bob", None], "pqrs", "same_picture")
    assert np.argwhere(pairs.genuine).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert np.argwhere(pairs.impostor).tolist() == [[0, 2], [1, 2], [2, 0], [2, 1]]


def test_without_names_every_face_is_a_person_and_pictures_are_resampled():
    pairs = select_pairs([None, None, None], ["p", "p", "q"])
    assert pairs.scenario == "same_picture"
    assert (pairs.genuine == np.eye(3, dtype=bool)).all()
    assert (pairs.impostor == ~np.eye(3, dtype=bool)).all()
    assert (pairs.units.tolist(), pairs.resampled) == ([0, 0, 1], "picture")
    assert identities([None, None]) == ["face 0", "face 1"]
    assert identities([None, "ann"]) == [None, "ann"]


@pytest.mark.parametrize(
    ("people", "pictures", "scenario"),
    [
        (["ann", "ann"], ["p", "q"], "other_picture"),
        (["ann", "ann"], ["p", "p"], "same_picture"),
        (["ann", "bob", None, None], ["p", "q", "r", "s"], "same_picture"),
    ],
)
def test_two_pictures_of_a_person_make_the_scenario(people, pictures, scenario):
    assert scenario_of(people, pictures) == scenario


def test_an_unknown_scenario_and_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="other_picture, same_picture"):
        select_pairs(["ann"], ["p"], "video")
    with pytest.raises(ValueError, match="zip"):
        select_pairs(["ann"], ["p", "q"])
