"""What a benchmark is made of: cases, each something of this project beside a named peer that does the same."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What ``python -m benchmarks`` was asked for.

    Attributes:
        reference: A checkout of the published SA-ICM or LIC-TCM code, imported at run time only; None: none is at hand.
    """

    reference: Path | None = None


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        title: What is done, to what.
        peer_title: What it is compared with.
        ours: Does it here. A number that it returns is the figure (``unit``); None: its wall-clock seconds are.
        peer: Does the same by the peer, likewise; None: there is no peer and ``goal`` is an absolute figure.
        goal: How many times better than the peer this must be, or without a peer the highest figure allowed.
        unit: Of the figures; less is better.
        note: What the reader needs to judge the figures, such as the rate of the pictures.
    """

    title: str
    peer_title: str
    ours: Callable[[], float | None]
    peer: Callable[[], float | None] | None = None
    goal: float | None = None
    unit: str = "s"
    note: str = ""


def lazily(make: Callable, *arguments) -> tuple[Callable[[], None], Callable[[], None]]:
    """``ours`` and ``peer`` of a case, which ``make`` prepares together when one of them is first called."""
    pair = functools.cache(functools.partial(make, *arguments))
    return lambda: pair()[0](), lambda: pair()[1]()


class Unavailable(Exception):
    """Raised by a benchmark's ``cases``: what it compares with is not at hand; the message says how to get it."""
