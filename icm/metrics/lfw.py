"""Accuracy by the protocol of Labeled Faces in the Wild, view 2 (Huang, Ramesh, Berg, Learned-Miller 2007)."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FoldAccuracy:
    """Share of pairs told apart rightly.

    Attributes:
        mean: Over folds.
        standard_error: Of that mean: the folds' standard deviation over the root of their number, as LFW reports it.
        folds: (k,) the accuracy of each fold.
        thresholds: (k,) the similarity from which on each fold said "the same person".
    """

    mean: float
    standard_error: float
    folds: np.ndarray
    thresholds: np.ndarray


def fold_accuracy(scores: np.ndarray, same: np.ndarray, fold: np.ndarray) -> FoldAccuracy:
    """Accuracy in every fold at the threshold that is best on all the others.

    Args:
        scores: (n,) similarity of each pair, finite.
        same: (n,) bool, whether it shows one person.
        fold: (n,) int, the fold of each pair; at least two folds.
    """
    accuracies, thresholds = [], []
    for number in np.unique(fold):
        tested = fold == number
        threshold = best_threshold(scores[~tested], same[~tested])
        thresholds.append(threshold)
        accuracies.append(np.mean((scores[tested] >= threshold) == same[tested]))
    folds = np.array(accuracies)
    error = float(folds.std(ddof=1) / np.sqrt(len(folds)))
    return FoldAccuracy(float(folds.mean()), error, folds, np.array(thresholds))


def best_threshold(scores: np.ndarray, same: np.ndarray) -> float:
    """The similarity that tells most pairs apart: half way between two scores, or beyond all of them."""
    order = np.argsort(scores)
    ranked, genuine = scores[order], same[order]
    # With the threshold below place i, the pairs from i on are said to be the same.
    right = np.append(0, np.cumsum(~genuine)) + np.append(np.cumsum(genuine[::-1])[::-1], 0)
    possible = np.append(True, np.append(np.diff(ranked) > 0, True))
    place = int(np.argmax(np.where(possible, right, -1)))
    edges = np.concatenate([[-np.inf], (ranked[:-1] + ranked[1:]) / 2, [np.inf]])
    return float(edges[place])
