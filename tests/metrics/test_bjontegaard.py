"""Bjontegaard differences, held against published examples."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from icm.metrics.bjontegaard import Curve, bd_measure, bd_measure_at_equal, bd_rate, monotone_fit, pchip_area
from icm.metrics.resampling import image_weights, percentile_interval, resampled_means

# Name -> rates and PSNR of the anchor, those of the test, BD-rate in % and BD-PSNR in dB of the package bjontegaard
# 1.3.0 (method pchip, which equals the test conditions' spreadsheet). The first two BD-rates are also those that VMAF's
# tests quote for the curves of JCTVC-E137.
PUBLISHED = {
    "JCTVC-E137, 1": (
        ([108048.8736, 61279.976, 33905.6656, 18883.6928], [43.6471, 40.3953, 37.247, 34.2911]),
        ([108061.2784, 61299.9936, 33928.7472, 18910.912], [43.6768, 40.4232, 37.2761, 34.3147]),
        (-0.4652154207524628, 0.02505021125935584),
    ),
    "JCTVC-E137, 2": (
        ([40433.8848, 7622.7456, 2394.488, 1017.6184], [37.5761, 35.3756, 33.8977, 32.0603]),
        ([40370.12, 7587.0024, 2390.0944, 1017.0984], [37.5982, 35.4025, 33.9194, 32.0822]),
        (-1.8779823450564614, 0.028471891040305675),
    ),
    "VCEG-M33": (
        ([90.33, 181.03, 332.99, 547.79], [27.95, 31.17, 34.44, 38.11]),
        ([127.1719, 186.14, 307.2924, 481.5588], [29.9286, 32.4165, 34.7013, 37.4561]),
        (-13.29252411102112, 0.8091320352726121),
    ),
    "x265 presets": (
        ([9487.76, 4593.60, 2486.44, 1358.24], [40.037, 38.615, 36.845, 34.851]),
        ([9787.80, 4469.00, 2451.52, 1356.24], [40.121, 38.651, 36.970, 34.987]),
        (-4.417485350589045, 0.11969278542479489),
    ),
}
VCEG_M33 = (-13.2618, 0.800713)  # the spreadsheet of the proposal itself, which fits one cubic


def curve(points) -> Curve:
    return Curve(*(np.array(column) for column in points))


@pytest.mark.parametrize("example", PUBLISHED)
def test_published_examples(example):
    anchor, test, (rate, psnr) = PUBLISHED[example]
    assert 100 * bd_rate(curve(anchor), curve(test)).value == pytest.approx(rate, abs=1e-9)
    assert bd_measure(curve(anchor), curve(test)).value == pytest.approx(psnr, abs=1e-9)


@given(
    steps=st.lists(st.floats(0.01, 5), min_size=1, max_size=8),
    values=st.lists(st.integers(-50, 50), min_size=9, max_size=9),
    limits=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_the_area_is_that_of_scipys_interpolant(steps, values, limits):
    x = np.cumsum([0.0, *steps])
    y = np.array(values[: len(x)], float)
    low, high = np.sort(limits) * x[-1]
    expected = PchipInterpolator(x, y).integrate(low, high)
    assert pchip_area(x, y, low, high) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_package_bjontegaard_says_the_same(rng):
    package = pytest.importorskip("bjontegaard")
    for _ in range(20):
        points = [(np.sort(rng.uniform(0.1, 2, 6)), np.sort(rng.uniform(25 + k, 40, 6))) for k in range(2)]
        theirs = package.bd_rate(*points[0], *points[1], method="pchip", min_overlap=0)
        assert 100 * bd_rate(*map(curve, points)).value == pytest.approx(theirs, rel=1e-9)


def test_the_proposals_own_numbers_are_near():
    anchor, test, _ = PUBLISHED["VCEG-M33"]
    assert 100 * bd_rate(curve(anchor), curve(test)).value == pytest.approx(VCEG_M33[0], abs=0.05)
    assert bd_measure(curve(anchor), curve(test)).value == pytest.approx(VCEG_M33[1], abs=0.01)


def test_known_shifts_in_either_direction(rng):
    rates, values = np.array([0.1, 0.2, 0.4, 0.8, 1.6]), np.array([30, 33, 35.5, 37.5, 39])
    anchor = Curve(rates, values)
    found = bd_rate(anchor, Curve(0.8 * rates[::-1], values[::-1]))
    assert found.value == pytest.approx(-0.2)
    assert (found.span, found.overlap, found.fitted, found.reason) == ((30, 39), 1, False, None)
    above = bd_measure(anchor, Curve(rates, values + 1.5))
    assert above.value == pytest.approx(1.5)
    assert above.span == pytest.approx((0.1, 1.6))
    # A distance: the same curves upside down.
    distance = bd_rate(Curve(rates, 1 - values / 50), Curve(0.8 * rates, 1 - values / 50), rises=False)
    assert distance.value == pytest.approx(-0.2)
    assert distance.span == pytest.approx((1 - 39 / 50, 1 - 30 / 50))
    assert not distance.fitted
    assert bd_rate(Curve(0.8 * rates, values), anchor).value == pytest.approx(0.25)


def test_equal_rates_are_averaged():
    twice = Curve(np.array([1, 1, 2, 4, 8]), np.array([9, 11, 20, 30, 40]))
    once = Curve(np.array([1, 2, 4, 8]), np.array([10, 20, 30, 40]))
    assert bd_measure(once, twice).value == pytest.approx(0)


def test_what_cannot_be_compared_is_a_reason():
    rates = np.array([1, 2, 4, 8])
    anchor = Curve(rates, np.array([10, 20, 30, 40]))
    for found, reason in [
        (bd_rate(anchor, Curve(rates, np.array([50, 60, 70, 80]))), "do not overlap"),
        (bd_rate(anchor, Curve(rates, np.array([40, 60, 70, 80]))), "do not overlap"),
        (bd_measure(anchor, Curve(rates * 100, anchor.values)), "do not overlap"),
        (bd_rate(anchor, Curve(rates[:3], anchor.values[:3])), "the test curve has 3 points of different rate, 4 are"),
        (bd_rate(Curve(np.ones(4), anchor.values), anchor), "the anchor has 1 points"),
        (bd_rate(anchor, Curve(rates, anchor.values[::-1])), "the test curve does not rise with the rate"),
        (bd_rate(Curve(rates, np.full(4, 20)), anchor), "the anchor does not rise with the rate"),
    ]:
        assert (found.value, found.ci95) == (None, None)
        assert reason in found.reason
    assert bd_rate(anchor, Curve(rates[:3], anchor.values[:3]), least=3).value == pytest.approx(0)
    with pytest.raises(ValueError, match="positive rates"):
        bd_rate(anchor, Curve(rates - 1, anchor.values))
    with pytest.raises(ValueError, match="do not fit"):
        bd_rate(anchor, Curve(rates, anchor.values[:3]))


@pytest.mark.parametrize(
    ("rates", "values", "fitted"),
    [
        # What the script of MPEG's tests in CompressAI-Vision makes of these points.
        ([120, 250, 480, 900, 1700, 3200], [20.1, 31.5, 30.2, 38.9, 41.7, 41.2],
         [20.867789, 28.446385, 33.94429, 37.977746, 40.641021, 41.723123]),
        ([0.05, 0.1, 0.2, 0.35, 0.5, 0.8], [12, 25, 33, 32.5, 36, 35],
         [12.006593, 25.176998, 32.004769, 34.333143, 34.889371, 35.089254]),
        ([1, 2, 4, 8], [10, 30, 20, 40], [11.956386, 22.173815, 29.782594, 36.08705]),
    ],
)  # fmt: skip
def test_the_monotone_fit_is_that_of_mpeg(rates, values, fitted):
    ours = monotone_fit(np.array(rates, float), np.array(values, float))
    np.testing.assert_allclose(ours, fitted, atol=0.02)
    # Both minimise the same squared error, theirs by steps.
    assert ((ours - values) ** 2).sum() <= ((np.array(fitted) - values) ** 2).sum() + 1e-3
    assert (np.diff(ours) >= 0).all()
    x = np.log(rates)
    assert (np.diff(np.diff(ours) / np.diff(x)) <= 1e-9).all()


def test_a_curve_that_falls_somewhere_is_fitted_and_says_so():
    rates = np.array([1, 2, 4, 8, 16, 32])
    smooth = np.array([20, 28, 33, 36.5, 39, 41])
    found = bd_rate(Curve(rates, smooth), Curve(rates, np.array([20, 28, 33, 32.9, 39, 41])))
    assert found.fitted
    assert 0 < found.value < 0.2
    # The measure itself needs no inverse at equal rate, and is taken as it is.
    assert not bd_measure(Curve(rates, smooth), Curve(rates, smooth[[0, 1, 3, 2, 4, 5]])).fitted


def test_similarity_at_equal_accuracy():
    rates, accuracy = np.array([1, 2, 4, 8]), np.array([20, 30, 36, 40])
    anchor = (Curve(rates, accuracy), Curve(rates, accuracy / 50))
    # Half the rate for the same accuracy plays no part: similarity is compared where accuracy is the same.
    test = (Curve(rates / 2, accuracy), Curve(rates / 2, accuracy / 50 - 0.1))
    found = bd_measure_at_equal(*anchor, *test)
    assert found.value == pytest.approx(-0.1)
    assert found.span == (20, 40)
    with pytest.raises(ValueError, match="same points"):
        bd_measure_at_equal(anchor[0], test[1], *test)


def test_intervals_resample_images_together(rng):
    images, points = 60, 5
    rates = np.geomspace(0.1, 1.6, points)[:, None] * rng.gamma(8, 1 / 8, images)
    hardness = rng.normal(0, 3, images)
    values = np.linspace(28, 40, points)[:, None] + hardness
    better = values + 0.5 + rng.normal(0, 0.1, (points, images))
    weights = image_weights(images, resamples=300)

    def means(rates, values):
        sampled = resampled_means(rates, weights), resampled_means(values, weights)
        return Curve(rates.mean(axis=1), values.mean(axis=1), *sampled)

    start = time.process_time()
    found = bd_measure(means(rates, values), means(rates, better))
    rate = bd_rate(means(rates, values), means(rates, better))
    assert time.process_time() - start < 5
    # The spread between easy and hard images, 3 dB, cancels.
    assert 0.45 < found.ci95[0] < found.value < found.ci95[1] < 0.55
    assert rate.ci95[0] < rate.value < rate.ci95[1] < 0
    assert bd_measure(means(rates, values), Curve(rates.mean(axis=1), better.mean(axis=1))).ci95 is None


def test_resamples_without_a_comparison_leave_no_interval():
    rates, values = np.array([1.0, 2, 4, 8]), np.array([10.0, 20, 30, 40])
    far = np.tile(values[:, None], 10)
    far[:, :2] += 100
    sampled = Curve(rates, values, np.tile(rates[:, None], 10), far)
    anchor = Curve(rates, values, np.tile(rates[:, None], 10), np.tile(values[:, None], 10))
    found = bd_rate(anchor, sampled)
    assert (found.value, found.ci95) == (pytest.approx(0), None)


def test_resampling_helpers():
    weights = image_weights(5, resamples=50, seed=1)
    assert weights.shape == (50, 5)
    assert (weights.sum(axis=1) == 5).all()
    np.testing.assert_array_equal(weights, image_weights(5, resamples=50, seed=1))
    np.testing.assert_allclose(resampled_means([1, 2, 3, 4, 6], np.ones((1, 5))), [3.2])
    # Two faces in image 0, one in image 2, none in image 1: drawn with their image.
    drawn = np.array([[2, 0, 1], [0, 3, 0]])
    means = resampled_means([1.0, 3.0, 5.0], drawn, image=[0, 0, 2])
    assert means[0] == pytest.approx((2 * 1 + 2 * 3 + 5) / 5)
    assert np.isnan(means[1])
    assert percentile_interval(np.array([1.0, np.nan])) is None
    low, high = percentile_interval(np.linspace(0, 1, 101))
    assert (low, high) == pytest.approx((0.025, 0.975))
