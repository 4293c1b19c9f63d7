"""Can two pieces be told to come from one person? The linkability of Gomez-Barrero et al.

M. Gomez-Barrero, J. Galbally, C. Rathgeb, C. Busch, "General Framework to Evaluate Unlinkability in Biometric Template
Protection Systems", IEEE Transactions on Information Forensics and Security 13 (2018). With the likelihood ratio LR(s)
of a score under genuine (mated) and impostor (non-mated) comparisons and omega the prior odds of a genuine one,
D(s) = 2 omega LR / (1 + omega LR) - 1 where omega LR > 1, else 0: how much more likely than not a score says "the same
person". D_sys is the mean of D over genuine scores: 0 for scores that say nothing, 1 for fully separated ones.

Unlike an error rate it does not suppose that high scores mean "the same". Scores are counted in equal bins as the
authors' code does, a tenth as many as genuine scores and at most 100. An estimate from few scores is too high, never
below 0: compare it with what the same number of comparisons gives for shuffled people.
"""

import numpy as np

from icm.metrics.verification import Counts, Statistic


def local_linkability(
    genuine: np.ndarray, impostor: np.ndarray, omega: float = 1.0, bins: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """D(s) over the range of all scores.

    Returns:
        (bins + 1,) edges of the bins and (bins,) D in each; D is 1 where no impostor scores and 0 in empty bins.
    """
    edges = bin_edges(genuine, impostor, bins)
    genuine_share, impostor_share = (np.histogram(side, edges)[0] / len(side) for side in (genuine, impostor))
    return edges, _local(genuine_share, impostor_share, omega)


def linkability(genuine: np.ndarray, impostor: np.ndarray, omega: float = 1.0, bins: int | None = None) -> float:
    """D_sys of plain scores, without an interval."""
    edges, local = local_linkability(genuine, impostor, omega, bins)
    return float(np.histogram(genuine, edges)[0] @ local / len(genuine))


def linkability_statistic(omega: float = 1.0, bins: int | None = None) -> Statistic:
    """D_sys for `icm.metrics.verification.estimates`; the bins stay where all scores put them."""

    def compute(counts: Counts) -> np.ndarray:
        trials = counts.trials
        edges = bin_edges(trials.genuine, trials.impostor, bins)
        edges[-1] = np.inf  # as in a histogram, the last bin holds its upper edge
        genuine, impostor = (
            np.diff(cumulated[:, np.searchsorted(scores, edges)]) / cumulated[:, -1:]
            for scores, cumulated in ((trials.genuine, counts.genuine), (trials.impostor, counts.impostor))
        )
        return (genuine * _local(genuine, impostor, omega)).sum(axis=1)

    return Statistic(compute)


def bin_edges(genuine: np.ndarray, impostor: np.ndarray, bins: int | None = None) -> np.ndarray:
    """(bins + 1,) equally spaced from the lowest to the highest score."""
    count = min(max(len(genuine) // 10, 1), 100) if bins is None else bins
    low = min(np.min(genuine), np.min(impostor))
    high = max(np.max(genuine), np.max(impostor))
    return np.linspace(low, high if high > low else low + 1.0, count + 1)


def _local(genuine: np.ndarray, impostor: np.ndarray, omega: float) -> np.ndarray:
    """D of bins that hold these shares of the genuine and of the impostor scores.

    2 omega LR / (1 + omega LR) - 1 is (omega g - i) / (omega g + i), which is 1 where i is 0.
    """
    total = omega * genuine + impostor
    return np.maximum(np.divide(omega * genuine - impostor, total, out=np.zeros_like(total), where=total > 0), 0.0)
