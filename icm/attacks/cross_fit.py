"""Test an attack on people it has not learnt from.

People are dealt into ``FOLDS`` groups. A comparison of a face of group a with one of group b is scored by an attacker
who was fitted on the other groups, so **every comparison is made by an attacker who knows neither of the two people**.
Comparisons within group a are scored by an attacker who does not know the next group either: all attackers learn from
equally many groups, and a gallery in which nothing can be told apart gives chance. The whole gallery takes part in
every search, as it does for an attack that learns nothing, so ranks of different attacks compare.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icm.attacks.base import Attack, TooFewPeople
from icm.metrics.scores import directions, identities, similarity_matrix

FOLDS = 5
MIN_PEOPLE = 4
"""Other people that every fit must have to learn from."""


@dataclass(frozen=True)
class Attacked:
    """Scores under an attack.

    Attributes:
        scores: (n, n) cosine similarities, probe by gallery entry; NaN where a face has no embedding with a direction
            or, for an attack that learns, nobody knows who it is.
        folds: The people of each group; empty for an attack that learns nothing.
    """

    scores: np.ndarray
    folds: tuple[tuple[str, ...], ...] = ()


def deal(people: Sequence[str | None], seed: int = 0, folds: int = FOLDS) -> tuple[tuple[str, ...], ...]:
    """The known people in ``folds`` groups of equal size (or one more), at random."""
    names = sorted({person for person in people if person is not None})
    mixed = np.random.default_rng(seed).permutation(len(names))
    return tuple(tuple(sorted(names[i] for i in mixed[fold::folds])) for fold in range(folds))


def attack_scores(
    attack: Attack, probes: np.ndarray, originals: np.ndarray, people: Sequence[str | None], seed: int = 0
) -> Attacked:
    """Compare every probe with every gallery entry, as an attack does.

    Args:
        probes: (n, dim) embeddings of what the attack makes of the coded crops (`Attack.restore`).
        originals: (n, dim) embeddings of the same faces before coding.
        people: (n,) who each face is; None: not known. When nobody is known each face is a person of their own.
        seed: Deals the people into groups.

    Raises:
        TooFewPeople: the attack learns, and there are too few people to learn from.
    """
    gallery = probes if attack.gallery == "coded" else originals
    if not attack.learns:
        return Attacked(similarity_matrix(probes, gallery))
    people = identities(people)
    folds = deal(people, seed)
    known = len({person for person in people if person is not None})
    least = known - sum(sorted(map(len, folds))[-2:])
    if least < MIN_PEOPLE:
        raise TooFewPeople(
            f"attack {attack.name} learns from people it is not tested on: with {known} people that leaves {least},"
            f" it needs {MIN_PEOPLE}"
        )
    fold_of = {person: number for number, fold in enumerate(folds) for person in fold}
    group = np.array([fold_of.get(person or "", -1) for person in people])
    probes, originals, gallery = directions(probes), directions(originals), directions(gallery)
    whole = np.isfinite(probes).all(axis=1) & np.isfinite(originals).all(axis=1)
    scores = np.full((len(people), len(people)), np.nan)
    for first in range(FOLDS):
        for second in range(first + 1, FOLDS):
            taught = np.flatnonzero((group >= 0) & (group != first) & (group != second) & whole)
            maps = attack.fit(probes[taught], originals[taught], [people[i] for i in taught])
            a, b = np.flatnonzero(group == first), np.flatnonzero(group == second)
            blocks = [(a, b), (b, a)]
            blocks += [(a, a)] if second == (first + 1) % FOLDS else []
            blocks += [(b, b)] if first == (second + 1) % FOLDS else []
            for rows, columns in blocks:
                scores[np.ix_(rows, columns)] = similarity_matrix(
                    maps.probe(probes[rows]), maps.gallery(gallery[columns])
                )
    return Attacked(scores, folds)
