"""``attack=none``: the coded face is recognised as it is."""

import numpy as np

from icm.preflight import Problem


class NoAttack:
    """The recogniser sees the coded face itself."""

    name = "none"
    title = "no attack"
    version = "1"

    def __init__(self) -> None:
        self.parameters: dict = {}

    def preflight(self) -> list[Problem]:
        return []

    def restore(self, crop: np.ndarray) -> np.ndarray:
        return crop
