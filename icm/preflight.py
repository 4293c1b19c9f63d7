"""What a job needs before it starts, checked in seconds and reported all at once."""

from collections.abc import Iterable
from dataclasses import dataclass

from icm.errors import UserError


@dataclass(frozen=True)
class Problem:
    """One missing thing (``what``) and the command or step that supplies it (``remedy``)."""

    what: str
    remedy: str


class PreflightError(UserError):
    """Something a job needs is missing; the message lists every such thing with its remedy."""


def check(problems: Iterable[Problem]) -> None:
    """Raise `PreflightError` listing all the problems; return when there are none."""
    problems = list(dict.fromkeys(problems))
    if problems:
        lines = [f"  - {problem.what}. {problem.remedy}" for problem in problems]
        raise PreflightError("\n".join([f"{len(problems)} thing(s) missing before this job can start:", *lines]))
