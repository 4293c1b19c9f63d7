"""``classifier``: a linear recogniser trained on coded faces ("parrot recognition", Newton, Sweeney, Malin 2005).

The attacker codes labelled pictures of other people and learns which differences between coded faces lie within one
person. Whitening by the within-person covariance (within-class covariance normalisation: Hatch, Kajarekar, Stolcke
2006; the first step of linear discriminant analysis) takes those differences out of every comparison. The covariance
is shrunk towards a multiple of the identity by the amount Ledoit and Wolf (2004) derive, so with little to learn from
the attack falls back to comparing faces as they are. Probe and gallery are both coded.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from icm.attacks.base import Attack, Map, Maps, TooFewPeople

MIN_PEOPLE = 4
"""People with two faces each, without whom nothing is learnt."""


class Classifier(Attack):
    """The attack."""

    name = "classifier"
    title = "classifier trained on coded faces"
    gallery = "coded"
    learns = True
    version = "1"

    def fit(self, probes: np.ndarray, originals: np.ndarray, people: Sequence[str]) -> Maps:
        repeated = sum(count > 1 for count in Counter(people).values())
        if repeated < MIN_PEOPLE:
            raise TooFewPeople(
                f"attack classifier learns from {repeated} other people with two faces, it needs {MIN_PEOPLE}"
            )
        _, person = np.unique(people, return_inverse=True)
        means = np.stack([probes[person == number].mean(axis=0) for number in range(person.max() + 1)])
        whitened = whitening(probes - means[person])
        centre = means.mean(axis=0)
        both = lambda rows: whitened(rows - centre)  # noqa: E731
        return Maps(both, both)


def whitening(deviations: np.ndarray) -> Map:
    """The map x -> x C^-1/2, with C the shrunk covariance of ``deviations`` and scaled to leave its least direction.

    Args:
        deviations: (n, dim) rows about their own mean.
    """
    _, values, right = np.linalg.svd(deviations, full_matrices=False)
    count, dim = deviations.shape
    variances = values**2 / count
    mean = variances.sum() / dim
    if mean == 0:
        return lambda rows: rows
    floor = max(shrinkage(deviations), 1e-6) * mean
    kept = variances * (1 - floor / mean) + floor
    # Directions without deviations keep their length; the others are shortened.
    change = np.sqrt(floor / kept) - 1
    return lambda rows: rows + ((rows @ right.T) * change) @ right


def shrinkage(deviations: np.ndarray) -> float:
    """Ledoit and Wolf's share of the identity in the covariance of centred rows, 0 to 1 ("A well-conditioned estimator
    for large-dimensional covariance matrices", 2004)."""
    count, dim = deviations.shape
    gram = deviations @ deviations.T
    lengths = np.diag(gram)
    squared = float((gram**2).sum()) / count**2  # squared norm of the covariance
    distance = squared - (lengths.sum() / count) ** 2 / dim
    noise = (float((lengths**2).sum()) / count - squared) / count
    return float(np.clip(noise / distance, 0.0, 1.0)) if distance > 0 else 1.0
