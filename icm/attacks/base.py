"""What an attack is: a stage between the coded face and its recognition."""

from typing import Protocol

import numpy as np

from icm.parts import Part


class Attack(Part, Protocol):
    """One attack.

    Attributes:
        title: Its name for people.
    """

    title: str

    def restore(self, crop: np.ndarray) -> np.ndarray:
        """A coded face, HWC uint8 RGB, as the attacker feeds it to the recogniser."""
        ...
