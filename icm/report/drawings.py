"""The plots of a page as static SVG, for readers without its script and for print."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from icm.evaluation.measures import Measure, Subject
from icm.report import figures
from icm.report.equal_rate import is_privacy, pareto_front, privacy_measures
from icm.report.kept import kept
from icm.report.points import Point, measures_of, subject_title


def drawings(points: Sequence[Point]) -> dict[str, dict[str, Any]]:
    """The plots that stand there at first: ``privacy`` and ``utility`` against rate, and one against the other.

    Each with ``svg``, ``caption`` for readers who do not see it, and the keys of what is missing left out.
    """
    measures = measures_of(points)
    privacy = next(((measure, measures[measure][0]) for measure in privacy_measures(points)), None)
    utility = next(((measure, subjects[0]) for measure, subjects in measures.items() if not is_privacy(measure)), None)
    drawn: dict[str, dict[str, Any]] = {}
    for name, shown in (("privacy", privacy), ("utility", utility)):
        if shown:
            draw = partial(figures.measure_figure, points, *shown)
            drawn[name] = _drawing(name, points, draw, f"{_title(points, *shown)} against rate")
    if privacy and utility:

        def trade_off():
            return figures.trade_off_figure(points, privacy, utility, pareto_front(points, privacy, utility))

        caption = f"{_title(points, *privacy)} against {_title(points, *utility)}, with the Pareto front"
        drawn["both"] = _drawing("both", points, trade_off, caption)
    return drawn


def _title(points: Sequence[Point], measure: Measure, subject: Subject) -> str:
    return " ".join(filter(None, [measure.title, f"({who})" if (who := subject_title(points, subject)) else ""]))


def _drawing(name: str, points: Sequence[Point], draw: Callable[[], Any], caption: str) -> dict[str, Any]:
    from markupsafe import Markup

    svg = kept(f"{name}: {caption}", points, lambda: figures.svg_text(draw(), salt=name).encode()).decode()
    svg = svg[svg.index("<svg ") :]
    # Every drawing shares the page's name space: its ids become its own, and its ink follows the page's.
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(figures.INK, "currentColor")
    svg = svg.replace(figures.MUTED, "var(--muted)").replace(figures.GRID, "var(--line)")
    # Matplotlib escapes the text it draws, and the rest is its own markup.
    return {"svg": Markup(svg), "caption": caption}
