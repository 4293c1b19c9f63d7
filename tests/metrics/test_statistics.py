import numpy as np
import pytest

from icm.metrics.statistics import bootstrap_mean_ci, mean_share, paired_difference, unit_counts, widened


def test_interval_is_reproducible_and_holds_the_mean(rng):
    values = rng.normal(0.8, 0.05, 60)
    low, high = bootstrap_mean_ci(values, seed=3)
    assert (low, high) == bootstrap_mean_ci(values, seed=3)
    assert (low, high) != bootstrap_mean_ci(values, seed=4)
    assert low < values.mean() < high


def test_width_agrees_with_the_normal_interval(rng):
    values = rng.normal(0, 1, 400)
    low, high = bootstrap_mean_ci(values, resamples=4000)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.06)


def test_agrees_with_scipy_on_independent_values(rng):
    from scipy.stats import bootstrap

    values = rng.gamma(2, 1, 80)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=8000, rng=1).confidence_interval
    ours = bootstrap_mean_ci(values, resamples=8000)
    assert ours == pytest.approx(tuple(theirs), abs=0.02)


def test_duplicated_faces_of_an_image_add_no_certainty(rng):
    values = rng.normal(0.9, 0.1, 40)
    repeated, images = np.repeat(values, 5), np.repeat(np.arange(40), 5)
    once = bootstrap_mean_ci(values)
    assert bootstrap_mean_ci(repeated, images) == pytest.approx(once, abs=1e-12)
    low, high = bootstrap_mean_ci(repeated)
    assert high - low < 0.6 * (once[1] - once[0])


def test_exact_interval_of_two_clusters():
    # Means of resamples of two clusters are 0, (0+0+3)/3 = 1 or 3 with probability 1/4, 1/2, 1/4.
    assert bootstrap_mean_ci([0, 0, 3], ["a", "a", "b"]) == (0, 3)


@pytest.mark.parametrize("clustered", [False, True])
def test_coverage_of_clustered_data(clustered):
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        per_image = rng.normal(0, 1, 30)
        values = np.repeat(per_image, 4) + rng.normal(0, 0.2, 120)
        labels = np.repeat(np.arange(30), 4) if clustered else None
        low, high = bootstrap_mean_ci(values, labels, seed=trial, resamples=300)
        hits += low <= 0 <= high
    assert (hits / 200 > 0.88) == clustered


def test_one_cluster_has_no_interval():
    assert bootstrap_mean_ci([0.5]) == (None, None)
    assert bootstrap_mean_ci([0.5, 0.7], ["a", "a"]) == (None, None)


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [([], None, "at least one"), ([1, float("nan")], None, "1 of 2"), ([1, 2], ["a"], "2 values but 1")],
)
def test_unusable_input_is_refused(values, clusters, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_mean_ci(values, clusters)


def test_paired_difference_interpolates_in_log_rate():
    # B at 0.1 and 0.4 bpp; A at 0.2, half way in log rate: B reads 0.6 and 0.8 there.
    found = paired_difference([0.5, 0.75], 0.2, [[0.7, 0.9], [0.5, 0.7]], [0.4, 0.1], ["x", "y"])
    assert found.difference == pytest.approx(-0.075)
    assert found.ci95 == pytest.approx((-0.1, -0.05))
    assert (found.faces, found.bpp, found.reason) == (2, 0.2, None)


@pytest.mark.parametrize(("bpp", "expected"), [(0.1, 0.0), (0.2, -0.2), (0.4, -0.3)])
def test_paired_difference_at_the_points_themselves(bpp, expected):
    found = paired_difference([0.5], bpp, [[0.5], [0.7], [0.8]], [0.1, 0.2, 0.4])
    assert found.difference == pytest.approx(expected)
    assert found.ci95 is None


def test_equal_rates_are_averaged():
    assert paired_difference([0.5], 0.2, [[0.6], [0.8]], [0.2, 0.2]).difference == pytest.approx(-0.2)


@pytest.mark.parametrize("bpp", [0.09, 0.41])
def test_paired_difference_never_extrapolates(bpp):
    found = paired_difference([0.5], bpp, [[0.5], [0.7]], [0.1, 0.4])
    assert found.difference is None
    assert found.ci95 is None
    assert "outside the other's 0.100 to 0.400 bpp" in found.reason


def test_paired_difference_without_faces_or_points():
    assert paired_difference([], 0.2, [[], []], [0.1, 0.4]).reason == "no face in common"
    assert "no bpp" in paired_difference([0.5], 0.2, np.empty((0, 1)), []).reason
    with pytest.raises(ValueError, match="do not fit"):
        paired_difference([0.5], 0.2, [[0.5]], [0.1, 0.4])
    with pytest.raises(ValueError, match="positive"):
        paired_difference([0.5], 0.0, [[0.5], [0.6]], [0.1, 0.4])


def test_pairing_narrows_the_interval(rng):
    hardness = rng.normal(0.7, 0.15, 50)
    a, b = hardness - 0.02 + rng.normal(0, 0.01, 50), hardness
    found = paired_difference(a, 0.2, [b, b], [0.1, 0.4])
    low, high = bootstrap_mean_ci(a)
    assert found.ci95[1] < 0
    assert found.ci95[1] - found.ci95[0] < 0.3 * (high - low)


def test_a_share_that_all_units_agree_on_gets_the_exact_binomial_limit():
    everybody = mean_share(np.ones(12), np.repeat(np.arange(4), 3))
    assert (everybody.value, everybody.n, everybody.units) == (1.0, 12, 4)
    # Clopper and Pearson 1934: 4 of 4, 95 %, two-sided.
    assert (everybody.low, everybody.high) == (pytest.approx(0.3976354), 1.0)
    assert widened(0.0, 0.0, 4) == (0.0, pytest.approx(0.6023646))
    assert widened(0.2, 0.7, 4) == (0.2, 0.7)
    mixed = mean_share(np.array([0, 0, 1]), np.array([0, 0, 1]))
    assert (mixed.value, mixed.low, mixed.high) == (pytest.approx(1 / 3), 0, 1)
    assert mean_share(np.ones(3), np.zeros(3)).low is None
    assert mean_share(np.ones(0), np.zeros(0)).note == "nothing to measure"


def test_units_are_drawn_evenly_with_replacement():
    counts = unit_counts(5, 4000, seed=1)
    assert (counts.sum(axis=1) == 5).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(counts.var(axis=0), 0.8, atol=0.06)  # binomial: 5 draws of 1/5
