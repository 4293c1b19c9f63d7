"""``restorer``: a small network, trained on pairs of coded and original pictures, redraws the crop before recognition.

It is the attacker of McPherson, Shokri, Shmatikov, "Defeating Image Obfuscation with Deep Learning" (2016), who knows
the codec and can code any pictures. The shipped network has seen the shipped codecs, VVC, pixelation and blur on
photographs of no particular people (docs/privacy.md). ``python -m icm restorer FOLDER --codec NAME -o FILE`` trains
another; its pictures must not show the people it is tested on, and the file's card says what it has seen.
"""

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from icm.attacks.base import Attack
from icm.files import file_sha256
from icm.preflight import Problem

SIDE = 128
"""Pixels of the shorter side that crops are brought to, in training and attack; a face coded hard has no more."""


SHIPPED = Path(__file__).resolve().parents[2] / "checkpoints" / "restorer.safetensors"


class Restorer(Attack):
    """The attack.

    Args:
        weights: A file that ``python -m icm restorer`` wrote; None: the shipped one.
    """

    name = "restorer"
    title = "learned restoration"

    def __init__(self, weights: str | Path | None = None):
        self.weights = Path(weights or SHIPPED)
        self.version = f"1, weights {file_sha256(self.weights)[:16] if self.weights.is_file() else '(missing)'}"
        self._network: Any = None
        self._loading = threading.Lock()

    @property
    def parameters(self) -> dict:
        return {"side": SIDE}

    def preflight(self) -> list[Problem]:
        if self.weights.is_file():
            return []
        return [
            Problem(
                f"attack.restorer.weights={self.weights}: no such file",
                "Train it with: python -m icm restorer FOLDER --codec NAME -o FILE",
            )
        ]

    def restore(self, crop: np.ndarray) -> np.ndarray:
        """The redrawn crop, its shorter side `SIDE` pixels.

        Raises:
            AttackError: the file holds no such weights.
        """
        from icm.attacks import restorer_network

        with self._loading:
            if self._network is None:
                self._network, _ = restorer_network.load(self.weights)
        factor = SIDE / min(crop.shape[:2])
        height, width = (max(SIDE, round(factor * length)) for length in crop.shape[:2])
        return restorer_network.restore(self._network, resized(crop, height, width)[None])[0]


def resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture at another size: area averages where it shrinks, cubic interpolation where it grows."""
    shrinks = height * width < picture.shape[0] * picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
