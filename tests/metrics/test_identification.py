import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.metrics.identification import chance, cmc, found, rank, rank_rate
from icm.metrics.scores import select_pairs


def test_a_search_by_hand():
    # ann: pictures 0 and 1, bob: 2 and 3, cat: 4 alone, so never a probe but always in the gallery.
    pairs = select_pairs(["ann", "ann", "bob", "bob", "cat"], range(5))
    scores = np.array(
        [
            [9.0, 0.8, 0.1, 0.2, 0.3],  # ann first: her own entry (9.0) does not count
            [0.4, 9.0, 0.1, 0.5, 0.6],  # cat, bob, ann: bob's best entry counts once
            [0.7, 0.7, 9.0, 0.7, 0.1],  # bob ties with ann
            [0.1, 0.2, 0.9, 9.0, 0.9],  # bob ties with cat
            [0.9, 0.9, 0.9, 0.9, 9.0],
        ]
    )
    ranks = rank(scores, pairs)
    assert ranks.probes.tolist() == [0, 1, 2, 3]
    assert ranks.ahead.tolist() == [0, 2, 0, 0]
    assert ranks.tied.tolist() == [0, 0, 1, 1]
    assert ranks.candidates.tolist() == [3, 3, 3, 3]
    assert found(ranks, 1).tolist() == [1, 0, 0.5, 0.5]
    assert cmc(ranks, 3).tolist() == [0.5, 0.75, 1.0]
    assert chance(ranks, 1) == pytest.approx(1 / 3)
    estimate = rank_rate(ranks, 1)
    assert (estimate.value, estimate.n, estimate.units) == (0.5, 4, 2)
    assert (estimate.low, estimate.high) == (0.5, 0.5)  # ann and bob have the same mean


def test_a_gallery_that_cannot_be_told_apart_gives_chance():
    pairs = select_pairs([str(face // 2) for face in range(20)], range(20))
    ranks = rank(np.ones((20, 20)), pairs)
    assert cmc(ranks, 10) == pytest.approx(np.arange(1, 11) / 10)
    assert chance(ranks, 3) == pytest.approx(0.3)


def test_missing_scores_take_no_part():
    pairs = select_pairs(["ann", "ann", "bob", "bob"], range(4))
    scores = np.array([[1, 0.5, np.nan, 0.9], [0.5, 1, 0, 0], [np.nan] * 4, [0.9, 0, np.nan, 1]])
    ranks = rank(scores, pairs)
    assert ranks.probes.tolist() == [0, 1]  # probe 2 has no score, probe 3 none with bob's other picture
    assert ranks.ahead.tolist() == [1, 0]
    nobody = rank_rate(rank(np.full((4, 4), np.nan), pairs), 1)
    assert (nobody.value, nobody.note) == (None, "no probe's person is in the gallery")


def test_the_same_picture_is_searched_among_all_people():
    ranks = rank(np.eye(3) * 0.5 + 0.1, select_pairs([None] * 3, "pqr"))
    assert ranks.ahead.tolist() == [0, 0, 0]
    assert ranks.candidates.tolist() == [3, 3, 3]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_agrees_with_sorting_and_is_monotone(seed):
    rng = np.random.default_rng(seed)
    people = [str(person) for person in rng.integers(0, 5, 16)]
    pairs = select_pairs(people, range(16), "other_picture")
    scores = rng.normal(size=(16, 16))
    ranks = rank(scores, pairs)
    for probe, ahead in zip(ranks.probes, ranks.ahead, strict=True):
        best = {}
        for entry in range(16):
            if entry != probe:
                best[people[entry]] = max(best.get(people[entry], -np.inf), scores[probe, entry])
        assert sorted(best, key=best.get, reverse=True).index(people[probe]) == ahead
    if len(ranks.probes):
        curve = cmc(ranks, 5)
        assert (np.diff(curve) >= 0).all()
        assert curve[-1] == 1
