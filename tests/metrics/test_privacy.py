import numpy as np
import pytest

from icm.metrics.privacy import calibrate, cosine_similarity, impostor_mean


def strangers(*people):
    """Pairs of different names; None is nobody's name."""
    return np.array([[a != b and None not in (a, b) for b in people] for a in people])


EVERY = ~np.eye(4, dtype=bool)


def test_a_face_without_direction_is_left_out_of_the_impostors():
    embeddings = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    assert impostor_mean(embeddings, EVERY) == pytest.approx(1 / 3)
    assert impostor_mean(embeddings, strangers("a", "b", "b", None)) == pytest.approx(0.0)
    assert impostor_mean(np.zeros((4, 2)), EVERY) is None


def test_a_vector_against_itself_is_one_and_scale_does_not_matter(rng):
    rows = rng.normal(size=(5, 16)).astype(np.float32)
    np.testing.assert_allclose(cosine_similarity(rows, 3 * rows), 1.0, atol=1e-12)
    np.testing.assert_allclose(cosine_similarity(rows, -rows), -1.0, atol=1e-12)


def test_cosine_of_known_angles():
    first = np.array([[1, 0], [1, 0], [3, 4]])
    second = np.array([[0, 2], [1, 1], [4, 3]])
    np.testing.assert_allclose(cosine_similarity(first, second), [0, np.sqrt(0.5), 24 / 25])


def test_a_zero_embedding_is_not_a_number():
    assert np.isnan(cosine_similarity(np.zeros((1, 3)), np.ones((1, 3))))[0]


def test_impostor_mean_counts_pairs_of_different_people_only():
    embeddings = np.array([[1.0, 0], [1, 0], [0, 1], [1, 1]])
    assert impostor_mean(embeddings[:3], strangers("a", "a", "b")) == pytest.approx(0.0)
    assert impostor_mean(embeddings[:3], EVERY[:3, :3]) == pytest.approx(1 / 3)
    assert impostor_mean(embeddings, strangers("a", None, "b", None)) == pytest.approx(0.0)


@pytest.mark.parametrize("people", [["a"], ["a", "a"], ["a", None], [None]])
def test_no_impostor_pair_gives_none(people):
    assert impostor_mean(np.ones((len(people), 2)), strangers(*people)) is None


def test_calibration_puts_impostors_at_zero_and_identity_at_one():
    np.testing.assert_allclose(calibrate(np.array([0.88, 0.94, 1.0]), 0.88), [0, 0.5, 1])
    assert np.isnan(calibrate(np.array([0.5]), None)).all()
