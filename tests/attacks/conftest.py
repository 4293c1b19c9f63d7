"""Embeddings of made-up people."""

from dataclasses import dataclass

import numpy as np
import pytest


@dataclass
class Faces:
    """(n, dim) embeddings of coded and of original faces, and who they are; every face is a picture of its own."""

    coded: np.ndarray
    original: np.ndarray
    people: list[str]


@pytest.fixture
def make_faces():
    """The function ``make_faces(rng, people, faces, dim)``: people apart by 1, their faces by 0.7, all around 2."""

    def make(rng, people=30, faces=4, dim=24) -> Faces:
        centres = rng.normal(size=(people, dim)).repeat(faces, axis=0)
        original = 2 + centres + 0.7 * rng.normal(size=centres.shape)
        return Faces(original.copy(), original, [f"p{person:02}" for person in range(people) for _ in range(faces)])

    return make
