"""Who is this? Ranks of a probe's person in a search through the gallery (ISO/IEC 19795-1, closed set).

A person's score is that of their best gallery entry. A probe takes part when its person has an entry it may be compared
with; people seen in one picture only stay in the gallery, where they compete. Equal scores are put in random order: a
rank is then a probability, reported as its expectation, so a gallery that cannot be told apart gives chance and
neither 0 nor 1. Intervals resample the probes' people; the gallery stays as it is, for a smaller one would be easier.
"""

from dataclasses import dataclass

import numpy as np

from icm.metrics.scores import Pairs
from icm.metrics.statistics import Estimate, mean_share


@dataclass(frozen=True)
class Ranks:
    """The search results of p probes.

    Attributes:
        probes: (p,) int, their rows in the scores.
        ahead: (p,) int, other people who score higher than the probe's person.
        tied: (p,) int, other people who score the same.
        candidates: (p,) int, people in the gallery, the probe's own included.
        units: (p,) int, what an interval resamples.
    """

    probes: np.ndarray
    ahead: np.ndarray
    tied: np.ndarray
    candidates: np.ndarray
    units: np.ndarray


def rank(scores: np.ndarray, pairs: Pairs) -> Ranks:
    """Search the gallery for every probe.

    Args:
        scores: (n, n) similarities, probe by gallery entry; NaN: the comparison could not be made.
    """
    made = np.isfinite(scores)
    own = np.where(pairs.genuine & made, scores, -np.inf).max(axis=1, initial=-np.inf)
    others = np.where(pairs.impostor & made, scores, -np.inf)
    order = np.argsort(pairs.people, kind="stable")
    starts = np.flatnonzero(np.diff(pairs.people[order], prepend=-2))
    best = np.maximum.reduceat(others[:, order], starts, axis=1) if len(order) else others
    probes = np.flatnonzero(np.isfinite(own))
    own, best = own[probes, None], best[probes]
    return Ranks(
        probes,
        (best > own).sum(axis=1),
        (best == own).sum(axis=1),
        np.isfinite(best).sum(axis=1) + 1,
        pairs.units[probes],
    )


def found(ranks: Ranks, k: int) -> np.ndarray:
    """(p,) probability that each probe's person is among the first k."""
    return np.clip((k - ranks.ahead) / (ranks.tied + 1), 0.0, 1.0)


def rank_rate(ranks: Ranks, k: int, seed: int = 0, resamples: int = 2000) -> Estimate:
    """Share of the probes whose person is among the first k, with its interval."""
    if len(ranks.probes) == 0:
        return Estimate(None, note="no probe's person is in the gallery")
    return mean_share(found(ranks, k), ranks.units, seed, resamples)


def chance(ranks: Ranks, k: int) -> float:
    """What `rank_rate` is for scores that say nothing."""
    return float(np.minimum(1.0, k / ranks.candidates).mean())


def cmc(ranks: Ranks, last: int) -> np.ndarray:
    """(last,) the cumulative match characteristic: `rank_rate` for k = 1 to ``last``."""
    return np.array([found(ranks, k).mean() for k in range(1, last + 1)])
