"""Bootstrap over images, with the resamples in hand: one set of them serves every measure, codec and rate.

Differences between codecs, and Bjontegaard differences made of many measures, are paired only if all of them saw the
same resamples; `image_weights` makes them once. The interval is the percentile one of Efron and Tibshirani, "An
Introduction to the Bootstrap" (1993), chapter 13.
"""

from collections.abc import Sequence

import numpy as np

from icm.metrics.statistics import CONFIDENCE


def image_weights(images: int, resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """How often each image is drawn in each resample.

    Args:
        images: Number of images, at least 1.
        resamples: Number of bootstrap samples.
        seed: Seeds the drawing; the same numbers give the same weights.

    Returns:
        (resamples, images) int64; every row sums to ``images``.
    """
    rng = np.random.default_rng(seed)
    return np.stack([np.bincount(rng.integers(0, images, images), minlength=images) for _ in range(resamples)])


def resampled_means(values: np.ndarray, weights: np.ndarray, image: Sequence[int] | None = None) -> np.ndarray:
    """The mean of ``values`` in each resample.

    Args:
        values: (..., n) finite numbers, one for each image or, with ``image``, for each face or other thing in one.
        weights: (resamples, images) of `image_weights`.
        image: (n,) index of the image each value belongs to; None: value i belongs to image i.

    Returns:
        (..., resamples) float64; NaN where a resample drew no value.
    """
    drawn = weights if image is None else weights[:, np.asarray(image, dtype=np.intp)]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(values, dtype=np.float64) @ drawn.T / drawn.sum(axis=1)


def percentile_interval(samples: np.ndarray) -> tuple[float, float] | None:
    """95 % interval of bootstrap samples (n,); NaN samples are left out.

    None when fewer than two are left, or when more than a twentieth are NaN: what is left is then a chosen lot.
    """
    finite = samples[np.isfinite(samples)]
    if finite.size < 2 or finite.size < CONFIDENCE * samples.size:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)
