from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.metrics.scores import select_pairs
from icm.metrics.statistics import unit_counts
from icm.metrics.verification import (
    AUC,
    EER,
    _resampled,
    estimates,
    fnmr_at_fmr,
    impostors_needed,
    match_rate,
    measure,
    rate_above,
    rate_at_fmr,
    roc,
    threshold_at_fmr,
    trials,
)


# Few distinct values, so that ties are common.
def tied_scores(least, most):
    return st.lists(st.integers(0, 8), min_size=least, max_size=most).map(lambda values: np.array(values) / 8)


tied = tied_scores(1, 20)


def drawn(rng):
    """The scores that the golden numbers below were computed for, with ties."""
    return np.round(rng.normal(0.6, 0.2, 40), 2), np.round(rng.normal(0.4, 0.2, 300), 2)


def people_and_scores(rng, people=12, faces=4, gain=1.0):
    """Labels and a symmetric-free score matrix in which genuine comparisons are ``gain`` higher on average."""
    labels = [str(person) for person in range(people) for _ in range(faces)]
    pairs = select_pairs(labels, range(len(labels)))
    return pairs, rng.normal(size=pairs.genuine.shape) + gain * pairs.genuine


def test_agrees_with_scikit_learn():
    # scikit-learn 1.5.2: roc_auc_score; the root of 1 - fpr - tpr on the straight lines of roc_curve; its tpr.
    genuine, impostor = drawn(np.random.default_rng(11))
    assert measure(AUC, genuine, impostor) == pytest.approx(0.7517916666666666, abs=1e-12)
    assert measure(EER, genuine, impostor) == pytest.approx(0.3071428571428571, abs=1e-12)
    assert measure(rate_at_fmr(0.1), genuine, impostor) == 0.375
    assert measure(rate_at_fmr(0.05), genuine, impostor) == 0.25


@settings(max_examples=30, deadline=None)
@given(tied, tied)
def test_auc_is_the_share_of_pairs_in_order(genuine, impostor):
    expected = np.mean((genuine[:, None] > impostor) + 0.5 * (genuine[:, None] == impostor))
    assert measure(AUC, genuine, impostor) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(tied, tied)
def test_eer_is_where_the_straight_lines_of_the_roc_curve_meet_the_diagonal(genuine, impostor):
    from scipy.optimize import brentq

    _, false_match, match = roc(genuine, impostor)
    # Along the curve, by the length walked, so that upright pieces are functions too.
    walked = np.arange(len(match))
    at = brentq(lambda x: np.interp(x, walked, false_match) - (1 - np.interp(x, walked, match)), 0, walked[-1])
    assert measure(EER, genuine, impostor) == pytest.approx(np.interp(at, walked, false_match), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(tied, tied)
def test_only_the_order_of_scores_matters(genuine, impostor):
    bent = [np.exp(3 * scores) - 1 for scores in (genuine, impostor)]
    for statistic in (AUC, EER, rate_at_fmr(0.2)):
        assert measure(statistic, *bent) == measure(statistic, genuine, impostor)
    assert measure(AUC, -genuine, -impostor) == pytest.approx(1 - measure(AUC, genuine, impostor))


@settings(max_examples=30, deadline=None)
@given(tied, tied)
def test_bounds(genuine, impostor):
    auc, eer = measure(AUC, genuine, impostor), measure(EER, genuine, impostor)
    assert 0 <= eer <= 1
    # The curve passes through (EER, 1 - EER) and is monotone: it leaves these two boxes out.
    assert (1 - eer) ** 2 - 1e-12 <= auc <= 1 - eer**2 + 1e-12
    if (np.sort(genuine)[:, None] >= np.sort(impostor)).all():
        assert eer <= 0.5
    for fmr in (0.05, 0.2, 0.5):
        assert measure(rate_at_fmr(fmr), genuine, impostor) + measure(fnmr_at_fmr(fmr), genuine, impostor) == 1


def test_separated_and_reversed_scores():
    assert (measure(AUC, [3, 4], [1, 2]), measure(EER, [3, 4], [1, 2])) == (1, 0)
    assert (measure(AUC, [1, 2], [3, 4]), measure(EER, [1, 2], [3, 4])) == (0, 1)
    assert (measure(AUC, [1, 1], [1]), measure(EER, [1, 1], [1])) == (0.5, 0.5)


def test_a_threshold_admits_no_more_impostors_than_it_says():
    impostor = np.arange(1000.0)
    found = threshold_at_fmr(impostor, 0.01)
    assert match_rate(impostor, found.value) == 0.01
    assert found.comparisons == 1000
    assert "1000 impostor comparisons" in found.source
    # Ties at the limit are all rejected.
    impostor[980:995] = 980.0
    tie = threshold_at_fmr(impostor, 0.01)
    assert tie.value == np.nextafter(980.0, np.inf)
    assert match_rate(impostor, tie.value) == 0.005
    assert match_rate([979, 980, 981, 2000], tie.value) == 0.5
    assert measure(rate_at_fmr(0.01), [979, 980, 981, 2000], impostor) == 0.5


@settings(max_examples=20, deadline=None)
@given(tied, st.lists(st.integers(0, 3), min_size=9, max_size=12))
def test_the_two_ways_to_set_a_threshold_agree(genuine, counts):
    impostor = np.repeat(np.arange(len(counts)) / 8, np.array(counts) + 12)
    threshold = threshold_at_fmr(impostor, 0.1).value
    assert match_rate(impostor, threshold) <= 0.1
    assert measure(rate_at_fmr(0.1), genuine, impostor) == pytest.approx(match_rate(genuine, threshold))
    assert measure(rate_above(threshold), genuine, impostor) == pytest.approx(match_rate(genuine, threshold))


def test_an_fmr_without_enough_impostors_is_refused_with_the_count():
    assert [impostors_needed(fmr) for fmr in (0.1, 0.01, 0.001)] == [100, 1000, 10000]
    found = threshold_at_fmr(np.arange(999.0), 0.01)
    assert found.value is None
    assert found.reason == "FMR 0.01 needs 1000 impostor comparisons, there are 999"
    pairs, scores = people_and_scores(np.random.default_rng(0))
    some = trials(scores, pairs)
    assert len(some.impostor) == 12 * 4 * 44
    made = estimates(some, {"1e-2": rate_at_fmr(1e-2), "1e-3": fnmr_at_fmr(1e-3)}, resamples=50)
    assert made["1e-2"].value is not None
    assert made["1e-3"].value is None
    assert "needs 10000 impostor comparisons, there are 2112" in made["1e-3"].note
    with pytest.raises(ValueError, match="between 0 and 1"):
        rate_at_fmr(0)


def test_comparisons_without_a_score_are_left_out():
    pairs, scores = people_and_scores(np.random.default_rng(0), 3, 2)
    scores[0] = np.nan
    assert len(trials(scores, pairs).genuine) == 5
    assert len(trials(scores, pairs).impostor) == 20


def test_nothing_to_compare_is_a_reason():
    found = estimates(trials(np.zeros((2, 2)), select_pairs(["a", "b"], "pq", "other_picture")), {"auc": AUC})["auc"]
    assert (found.value, found.note) == (None, "there is no genuine comparison")
    alone = estimates(trials(np.zeros((2, 2)), select_pairs(["a", "a"], "pq")), {"auc": AUC, "own": rate_above(0.5)})
    assert "there are 0" in alone["auc"].note
    assert (alone["own"].value, alone["own"].low) == (0.0, None)  # one person shows no spread


def test_resampling_counts_comparisons_as_often_as_both_people_were_drawn():
    """The weighted statistics against the plain ones of comparisons repeated by hand."""
    pairs, scores = people_and_scores(np.random.default_rng(2), 4, 3)
    scores = scores.round(1)
    some = trials(scores, pairs)
    chosen = {"auc": AUC, "eer": EER, "rate": rate_at_fmr(0.1), "own": rate_above(0.4)}
    found = _resampled(some, chosen, seed=5, resamples=20)
    for number, counts in enumerate(unit_counts(4, 20, seed=5)):
        genuine, impostor = [], []
        for probe, entry in np.argwhere(pairs.genuine | pairs.impostor):
            first, second = pairs.people[probe], pairs.people[entry]
            if first == second:
                genuine += [scores[probe, entry]] * counts[first]
            else:
                impostor += [scores[probe, entry]] * (counts[first] * counts[second])
        for name, statistic in chosen.items():
            if impostor or name == "own":
                assert found[name][number] == pytest.approx(measure(statistic, genuine, impostor), nan_ok=True), name


@pytest.mark.parametrize("seed", range(3))
def test_random_labels_give_half_within_the_interval(seed):
    pairs, scores = people_and_scores(np.random.default_rng(seed), gain=0.0)
    found = estimates(trials(scores, pairs), {"auc": AUC, "eer": EER}, resamples=300)
    for estimate in found.values():
        assert estimate.low < 0.5 < estimate.high


def test_intervals_of_people_are_wider_than_those_of_comparisons(rng):
    """A face that is easy is easy in all its comparisons: 30 people with 5 faces hold less than 600 comparisons."""
    labels = [str(person) for person in range(30) for _ in range(5)]
    pairs = select_pairs(labels, range(150))
    ease = rng.normal(size=30)[pairs.people]
    scores = rng.normal(size=(150, 150)) + 2 * pairs.genuine + 2 * ease[:, None] * pairs.genuine
    some = trials(scores, pairs)
    by_people = estimates(some, {"auc": AUC}, resamples=300)["auc"]
    genuine = np.random.default_rng(0).choice(some.genuine, (300, len(some.genuine)))
    low, high = np.quantile([measure(AUC, row, some.impostor) for row in genuine[:100]], [0.025, 0.975])
    assert by_people.high - by_people.low > 1.5 * (high - low)
    assert (by_people.n, by_people.units) == (600, 30)
    assert by_people.low < by_people.value < by_people.high


def test_coverage():
    """The interval holds the truth about as often as it says: two normal distributions 1 apart, AUC = Phi(1/sqrt 2)."""
    truth = NormalDist().cdf(1 / np.sqrt(2))
    hits = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        pairs, scores = people_and_scores(rng, 20, 3)
        found = estimates(trials(scores, pairs), {"auc": AUC}, seed=seed, resamples=150)["auc"]
        hits += found.low <= truth <= found.high
    assert hits >= 0.85 * 40


def test_the_same_seed_gives_the_same_interval(rng):
    pairs, scores = people_and_scores(rng)
    some = trials(scores, pairs)
    assert estimates(some, {"auc": AUC}, 1, 100) == estimates(some, {"auc": AUC}, 1, 100)
    assert estimates(some, {"auc": AUC}, 1, 100) != estimates(some, {"auc": AUC}, 2, 100)


def test_thinned_impostors_leave_the_value_exact_and_the_interval_alike(rng, monkeypatch):
    pairs, scores = people_and_scores(rng, 20, 4)
    some = trials(scores, pairs)
    whole = estimates(some, {"auc": AUC}, resamples=300)["auc"]
    monkeypatch.setattr("icm.metrics.verification._THINNED", 2000)
    thin = estimates(some, {"auc": AUC}, resamples=300)["auc"]
    assert thin.value == whole.value
    assert thin.high - thin.low == pytest.approx(whole.high - whole.low, rel=0.25)


def test_all_alike_is_not_certainty():
    """Nine people who are all matched: the exact binomial limit, and for none of them its mirror."""
    labels = [str(person) for person in range(9) for _ in range(2)]
    pairs = select_pairs(labels, range(18))
    scores = np.where(pairs.genuine, 0.9, 0.1)
    found = estimates(trials(scores, pairs), {"yes": rate_above(0.5), "no": rate_above(0.95)}, resamples=50)
    assert (found["yes"].low, found["yes"].high) == (pytest.approx(0.025 ** (1 / 9)), 1.0)
    assert (found["no"].low, found["no"].high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 9)))
