"""Figures of a case and its peer, taken in turn in one run, so that whatever else the machine does meets both."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.case import Case


@dataclass(frozen=True)
class Result:
    """What was measured of one case; plain data, the content of ``benchmarks/results/NAME.json``.

    Attributes:
        title, peer_title, goal, unit, note: Of the `Case`.
        ours: The figure of every repeat.
        peer: That of the peer, in the same order; empty without one.
    """

    title: str
    peer_title: str
    goal: float | None
    unit: str
    note: str
    ours: list[float]
    peer: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times better than the peer each repeat was."""
        return [theirs / mine for mine, theirs in zip(self.ours, self.peer, strict=bool(self.peer))]

    @property
    def held(self) -> bool | None:
        """Whether the median reaches the goal; None without one."""
        if self.goal is None:
            return None
        return statistics.median(self.ratios) >= self.goal if self.peer else statistics.median(self.ours) <= self.goal


def measure(case: Case, repeats: int) -> Result:
    """One warm-up of both, then ``repeats`` pairs, in turn first the one and first the other."""
    functions = [case.ours, *([case.peer] if case.peer else [])]
    for function in functions:
        function()
    figures: dict[Callable, list[float]] = {function: [] for function in functions}
    for repeat in range(repeats):
        for function in functions if repeat % 2 == 0 else reversed(functions):
            figures[function].append(_figure(function))
    peer = figures[case.peer] if case.peer else []
    return Result(case.title, case.peer_title, case.goal, case.unit, case.note, figures[case.ours], peer)


def _figure(function: Callable[[], float | None]) -> float:
    start = time.perf_counter()
    figure = function()
    seconds = time.perf_counter() - start
    return seconds if figure is None else figure
