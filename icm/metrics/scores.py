"""Who is compared with whom: similarities of all faces, and which of them are genuine and impostor comparisons.

A *probe* is what the attacker wants to name, a coded face; the *gallery* is what the attacker has on file. Probe i and
gallery entry i are the same face of the same picture. Two scenarios say which comparisons count:

``other_picture``: the attacker has other pictures of the people, which is verification and identification as face
    recognition tests them (ISO/IEC 19795-1). Nothing is compared with the picture it comes from: a comparison is
    genuine when two different pictures show one person, impostor when they show two. The headline, wherever somebody
    is seen in two pictures.
``same_picture``: the attacker has the very original of the coded picture, so a probe's only genuine comparison is with
    its own original. It measures how much coding changes a picture more than what it does to an identity, as the mean
    cosine of original and coded does, and is what remains when nobody is seen twice.

A face whose person is not known is left out of both, since it could be anybody. When no person is known at all, every
face counts as a person of their own, which holds for data sets such as COCO up to rare repeats.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

SCENARIOS = ("other_picture", "same_picture")


def similarity_matrix(probes: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Cosine similarity of every probe with every gallery entry.

    Args:
        probes: (n, dim) embeddings, any float type.
        gallery: (m, dim) embeddings.

    Returns:
        (n, m) float64 in [-1, 1]; NaN where either row is zero or not finite and so has no direction.
    """
    return np.clip(directions(probes) @ directions(gallery).T, -1.0, 1.0)


def directions(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float64; a row that is zero or not finite has no direction and becomes NaN."""
    rows = np.asarray(rows, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.full_like(rows, np.nan), where=np.isfinite(norms) & (norms > 0))


@dataclass(frozen=True)
class Pairs:
    """Which of n x n comparisons count, and what an interval resamples.

    Attributes:
        scenario: ``other_picture`` or ``same_picture``.
        genuine: (n, n) bool, probe by gallery entry.
        impostor: (n, n) bool.
        people: (n,) int, the person of each face; -1: not known.
        units: (n,) int, 0 and up: the face's person, or its picture where no person is known.
        resampled: What a unit is, ``person`` or ``picture``.
    """

    scenario: str
    genuine: np.ndarray
    impostor: np.ndarray
    people: np.ndarray
    units: np.ndarray
    resampled: str


def identities(people: Sequence[str | None]) -> list[str | None]:
    """The people as they are, or each face as a person of their own (``face 0``, ...) when none is known."""
    if any(person is not None for person in people):
        return list(people)
    return [f"face {index}" for index in range(len(people))]


def scenario_of(people: Sequence[str | None], pictures: Sequence[Hashable]) -> str:
    """``other_picture`` when at least one person is seen in two pictures, else ``same_picture``."""
    seen: dict[str, Hashable] = {}
    for person, picture in zip(people, pictures, strict=True):
        if person is not None and seen.setdefault(person, picture) != picture:
            return "other_picture"
    return "same_picture"


def select_pairs(people: Sequence[str | None], pictures: Sequence[Hashable], scenario: str | None = None) -> Pairs:
    """The comparisons of a scenario.

    Args:
        people: (n,) the person of each face; None: not known.
        pictures: (n,) the picture each face was found in.
        scenario: ``other_picture``, ``same_picture``, or None for what `scenario_of` says.

    Raises:
        ValueError: another scenario, or lengths that differ.
    """
    scenario = scenario_of(people, pictures) if scenario is None else scenario
    if scenario not in SCENARIOS:
        raise ValueError(f"scenario={scenario}: choose from {', '.join(SCENARIOS)}")
    picture, person = _numbered(pictures), _numbered(identities(people))
    named = any(label is not None for label in people)
    known = person >= 0
    comparable = known[:, None] & known[None, :]
    same_person = person[:, None] == person[None, :]
    if scenario == "other_picture":
        comparable &= picture[:, None] != picture[None, :]
        genuine = comparable & same_person
    else:
        genuine = comparable & np.eye(len(person), dtype=bool)
    units = person if named else picture
    return Pairs(
        scenario, genuine, comparable & ~same_person, person, units, resampled="person" if named else "picture"
    )


def _numbered(labels: Sequence[Hashable]) -> np.ndarray:
    """(n,) int: labels in order of first appearance, from 0; None is -1."""
    numbers: dict[Hashable, int] = {}
    return np.array([-1 if label is None else numbers.setdefault(label, len(numbers)) for label in labels], dtype=int)
