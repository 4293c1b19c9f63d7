"""What every exchangeable part of an evaluation says of itself: codec, source, detector, attack, embedder, task.

Cache keys, the id of a job's cell, provenance and preflight are made from this alone (`identity`, `preflight`).
"""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from icm.preflight import Problem, check

Value = int | float | str | bool | None


@runtime_checkable
class Part(Protocol):
    """One exchangeable part.

    Attributes:
        name: Its option in conf/, such as ``vvc``, ``mtcnn`` or ``dlib``.
        parameters: Every setting that shapes its results; JSON values.
        version: The tools, weights and code revision that shape its results, as text.
    """

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> dict: ...

    @property
    def version(self) -> str: ...

    def preflight(self) -> list[Problem]:
        """What is missing before it can work; quick, imports no framework."""
        ...


def identity(part: Part) -> dict:
    """What tells a part's results from those of any other: name, parameters and version, as JSON values."""
    return {"name": part.name, "parameters": part.parameters, "version": part.version}


def preflight(parts: Iterable[Part]) -> None:
    """Raise `icm.preflight.PreflightError` that lists what any of the parts is missing."""
    check(problem for part in parts for problem in part.preflight())
