"""``projection``: undo in the embedding what coding did to it, with a linear map learnt from other people's faces.

Coding moves the embeddings of all faces in much the same way. From faces of other people before and after coding the
attacker learns a ridge regression from coded to original embeddings. It is shrunk towards the identity and not towards
zero, so an attacker with little to learn from falls back to comparing faces as they are. Both sides lose the mean of
what was learnt from, which takes away what all faces share.
"""

from collections.abc import Sequence

import numpy as np

from icm.attacks.base import Attack, Map, Maps

STRENGTHS = 10.0 ** np.arange(-3, 5)
"""Strengths tried, in units of the mean squared singular value of the coded embeddings."""


class Projection(Attack):
    """The attack. Its strength is chosen by leaving out one person at a time (`ridge`)."""

    name = "projection"
    title = "linear projection"
    learns = True
    version = "1"

    def fit(self, probes: np.ndarray, originals: np.ndarray, people: Sequence[str]) -> Maps:
        coded_mean, original_mean = probes.mean(axis=0), originals.mean(axis=0)
        correct = ridge(probes - coded_mean, originals - original_mean, people)
        return Maps(lambda rows: correct(rows - coded_mean), lambda rows: rows - original_mean)


def ridge(source: np.ndarray, target: np.ndarray, people: Sequence[str]) -> Map:
    """The map x -> x + x B that minimises ||source + source B - target||^2 + strength ||B||^2.

    The strength is the one of `STRENGTHS` with the least squared error on people left out, each in turn, computed from
    one decomposition: the error of rows g that were left out is (I - H_gg)^-1 times their error when they were not,
    with H the hat matrix (Golub, Heath, Wahba 1979, here for groups).

    Args:
        source: (n, dim), columns of mean 0.
        target: (n, dim), columns of mean 0.
        people: (n,) who each row is.
    """
    left, values, right = np.linalg.svd(source, full_matrices=False)
    gap = target - source
    seen = left.T @ gap
    groups = [np.flatnonzero(np.asarray(people) == person) for person in sorted(set(people))]

    def error(strength: float) -> float:
        kept = values**2 / (values**2 + strength)
        missed = gap - left @ (kept[:, None] * seen)
        hats = ((left[rows] * kept) @ left[rows].T for rows in groups)
        return sum(
            float((np.linalg.solve(np.eye(len(rows)) - hat, missed[rows]) ** 2).sum())
            for rows, hat in zip(groups, hats, strict=True)
        )

    strength = min(STRENGTHS * max(float(np.mean(values**2)), 1e-12), key=error)
    change = (values / (values**2 + strength))[:, None] * seen
    return lambda rows: rows + rows @ right.T @ change
