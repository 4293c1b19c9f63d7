"""What an attack is: what it does to a coded crop, what it has on file, and what it learns from other people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from icm.errors import UserError
from icm.preflight import Problem

Map = Callable[[np.ndarray], np.ndarray]


class AttackError(UserError):
    """An attack that cannot be set up as it is configured."""


class TooFewPeople(UserError):
    """An attack has too few people to learn from that it is not tested on; the message says how many there are."""


@dataclass(frozen=True)
class Maps:
    """What an attack has learnt: what it does to embeddings, (n, dim) to (n, any), before it takes their cosine."""

    probe: Map
    gallery: Map


class Attack:
    """One attack, an `icm.parts.Part`; every default is that of an attacker who does nothing.

    Attributes:
        name, parameters, version: See `icm.parts.Part`.
        title: For tables and figures.
        gallery: Which pictures of the people the attacker has on file: ``original``, or ``coded`` by the codec the
            probes were coded with. (Only with other pictures than the probe's: coding the very same picture gives the
            very same probe, see `icm.metrics.scores`.)
        learns: Whether `fit` is to be called. The attack is then fitted on other people than it is tested on
            (`icm.attacks.cross_fit`).
    """

    name: str
    version: str
    title: str
    gallery: str = "original"
    learns: bool = False

    @property
    def parameters(self) -> dict:
        return {}

    def preflight(self) -> list[Problem]:
        """What is missing before it can work; imports no framework."""
        return []

    def restore(self, crop: np.ndarray) -> np.ndarray:
        """What the attacker shows the recogniser instead of a coded crop; both HWC uint8 RGB, of any size."""
        return crop

    def fit(self, probes: np.ndarray, originals: np.ndarray, people: Sequence[str]) -> Maps:
        """Learn from faces of people who are not tested.

        Args:
            probes: (n, dim) float64 embeddings of restored coded crops, rows of length 1.
            originals: (n, dim) embeddings of the same faces before coding, rows of length 1.
            people: (n,) who each face is.

        Raises:
            TooFewPeople: they do not suffice.
        """
        raise NotImplementedError(f"attack {self.name} learns nothing")
