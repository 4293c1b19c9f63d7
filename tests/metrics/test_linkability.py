import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.metrics.linkability import linkability, linkability_statistic, local_linkability
from icm.metrics.scores import select_pairs
from icm.metrics.verification import estimates, measure, trials


def test_hand_computed_bins():
    # Two bins: 3 of 4 genuine and 1 of 2 impostor scores in the upper one. LR = 1.5 there, D = 2*1.5/2.5 - 1 = 0.2.
    edges, local = local_linkability([0.0, 0.9, 0.8, 1.0], [0.1, 0.7], bins=2)
    np.testing.assert_allclose(edges, [0, 0.5, 1])
    np.testing.assert_allclose(local, [0, 0.2])
    assert linkability([0.0, 0.9, 0.8, 1.0], [0.1, 0.7], bins=2) == pytest.approx(0.75 * 0.2)
    # With prior odds of 2 to 1, omega LR = 3 and 1.
    assert linkability([0.0, 0.9, 0.8, 1.0], [0.1, 0.7], 2.0, bins=2) == pytest.approx(0.75 * 0.5)


def test_separated_scores_are_fully_linkable_in_either_order():
    low, high = np.linspace(0, 0.3, 50), np.linspace(0.7, 1, 50)
    assert linkability(high, low) == linkability(low, high) == 1
    assert linkability(np.ones(20), np.ones(30)) == 0


def test_scores_that_say_nothing_are_hardly_linkable(rng):
    assert linkability(rng.normal(size=20000), rng.normal(size=20000)) < 0.03


def test_two_normal_distributions_approach_the_integral(rng):
    score = np.linspace(-6, 8, 20001)
    genuine, impostor = (np.exp(-((score - mean) ** 2) / 2) / np.sqrt(2 * np.pi) for mean in (1, 0))
    expected = np.trapz(np.maximum((genuine - impostor) / (genuine + impostor), 0) * genuine, score)
    assert linkability(rng.normal(1, 1, 100000), rng.normal(0, 1, 100000)) == pytest.approx(expected, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(10, 60), st.integers(10, 60))
def test_the_statistic_counts_as_the_histogram_does(seed, genuine, impostor):
    rng = np.random.default_rng(seed)
    sides = rng.normal(0.3, 1, genuine).round(1), rng.normal(0, 1, impostor).round(1)
    assert measure(linkability_statistic(bins=7), *sides) == pytest.approx(linkability(*sides, bins=7))
    assert 0 <= linkability(*sides) <= 1


def test_it_has_an_interval(rng):
    labels = [str(person) for person in range(12) for _ in range(4)]
    pairs = select_pairs(labels, range(48))
    scores = rng.normal(size=(48, 48)) + pairs.genuine
    found = estimates(trials(scores, pairs), {"d_sys": linkability_statistic()}, resamples=100)["d_sys"]
    assert found.low < found.value < found.high
