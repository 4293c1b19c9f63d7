"""How much of a face's identity survives coding: similarities between face embeddings."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Embeddings = NDArray[np.floating[Any]]


def cosine_similarity(first: Embeddings, second: Embeddings) -> NDArray[np.float64]:
    """Cosine similarity of matching rows.

    Args:
        first: (n, dim) embeddings, any float type.
        second: (n, dim) embeddings, any float type.

    Returns:
        (n,) float64 in [-1, 1]; a row of zeros has no direction and gives NaN.
    """
    first, second = first.astype(np.float64), second.astype(np.float64)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines: NDArray[np.float64] = np.einsum("nd,nd->n", first, second) / norms
    return np.clip(cosines, -1.0, 1.0)


def impostor_mean(embeddings: Embeddings, strangers: NDArray[np.bool_]) -> float | None:
    """Mean cosine similarity over the pairs of faces of different people.

    Args:
        embeddings: (n, dim) embeddings of original faces; rows of zeros have no direction and are left out.
        strangers: (n, n) bool, symmetric: the pairs that show different people.

    Returns:
        The mean, or None when there is no such pair.
    """
    units = np.asarray(embeddings, dtype=np.float64)
    lengths = np.linalg.norm(units, axis=1)
    directed = lengths > 0
    units = units[directed] / lengths[directed, None]
    upper = np.triu(strangers[np.ix_(directed, directed)], k=1)
    return float((units @ units.T)[upper].mean()) if upper.any() else None


def calibrate(similarity: ArrayLike, impostor: float | None) -> NDArray[np.float64]:
    """Put similarities on a scale where 0 is the mean impostor pair and 1 an identical face.

    Recognisers differ in how far apart they place strangers (Dlib's raw cosine between two people averages about
    0.88), so raw cosines of two recognisers do not compare; these do.

    Args:
        similarity: Cosine similarities, any shape.
        impostor: The mean cosine similarity of two different people, or None where it is not known.

    Returns:
        float64, of the same shape; NaN throughout when there is no impostor mean.
    """
    if impostor is None or impostor >= 1.0:
        return np.full(np.shape(similarity), np.nan)
    return (np.asarray(similarity, dtype=np.float64) - impostor) / (1.0 - impostor)
