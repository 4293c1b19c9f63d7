"""What the numbers say, in sentences: the first lines of a report."""

from collections.abc import Sequence

from icm.report.equal_rate import HEADLINES, Place, Ranking, lower_is_better, privacy_measures
from icm.report.points import Point, measures_of, series_of, subject_title
from icm.report.tables import interval, number


def rate_text(bpp: float) -> str:
    """``0.15``, ``0.198``: a rate with as many digits as it needs, at most three decimals."""
    return f"{bpp:.3f}".rstrip("0").rstrip(".")


def answer(ranking: Ranking, points: Sequence[Point], several_attacks: bool) -> str:
    """One sentence: who protects best, by how much, and who cannot be told apart. report.js says the same."""
    who = subject_title(points, ranking.subject)
    head = f"At {rate_text(ranking.bpp)} bpp"
    if not ranking.places:
        return f"{head}, no codec was measured."
    if several_attacks:
        head += " and against the strongest attack"
    first, *others = ranking.places
    shown = f"{ranking.measure.title} {_with_interval(first, ranking.measure.digits)}{f' under {who}' if who else ''}"
    if not others:
        return f"{head}, only {first.series} was measured: {shown}."
    gap = f"{_gap(others[0], ranking)} than {others[0].series}, the next"
    if _same(ranking):
        return f"{head}, no codec can be told from another: {shown}, for every one."
    best = f"{head}, {first.series} protects best: {shown}, {gap}."
    tied = [place.series for place in others if place.tied]
    return f"{best} {_listed(tied)} cannot be told apart from it." if tied else best


def _gap(place: Place, ranking: Ranking) -> str:
    """``0.121 [0.090, 0.150] lower``: how far the first is from another place."""
    assert place.behind is not None
    found, digits = place.behind, ranking.measure.digits
    sign, word = (1, "lower") if lower_is_better(ranking.measure) else (-1, "higher")
    if found.difference is None:
        return f"{word} ({found.reason})"
    limits = "(no interval)"
    if found.ci95 is not None:
        low, high = sorted(sign * limit for limit in found.ci95)
        limits = interval((low, high), digits)
    return f"{number(sign * found.difference + 0.0, digits)} {limits} {word}"


def _with_interval(place: Place, digits: int) -> str:
    return f"{number(place.estimate.value, digits)} {interval(place.estimate.interval, digits)}".rstrip()


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def agreement(rankings: Sequence[Ranking]) -> str:
    """Whether the other recognisers agree on who is first; empty with a single one. report.js says the same."""
    ranked = [ranking for ranking in rankings if ranking.places]
    if len(ranked) < 2:
        return ""
    first = ranked[0].places[0].series
    count = sum(ranking.places[0].series == first for ranking in ranked)
    return f"{first} is first under {count} of {len(ranked)} recognisers."


def silent(rankings: Sequence[Ranking]) -> str:
    """The headline measures among ``rankings`` that tell no codec apart; report.js says the same."""
    return " ".join(
        f"{_capital(ranking.measure.title)} is {number(ranking.places[0].estimate.value, ranking.measure.digits)} for "
        "every codec here."
        for ranking in rankings
        if ranking.measure.key in HEADLINES and _same(ranking)
    )


def _same(ranking: Ranking) -> bool:
    """Whether all of several codecs show the same number."""
    shown = [number(place.estimate.value, ranking.measure.digits) for place in ranking.places]
    return len(shown) > 1 and len(set(shown)) == 1


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def curve_findings(points: Sequence[Point]) -> list[str]:
    """One sentence on what each codec does over its range of rates: what there is to say without a common rate."""
    # What nothing coded leaves of a face is no finding, unless nothing else was measured.
    coded = [point for point in points if not point.is_ceiling] or list(points)
    return [_curve_finding(members) for members in series_of(coded).values()]


def _curve_finding(members: list[Point]) -> str:
    first, last = members[0], members[-1]
    head = f"{first.title} codes at {number(first.bpp, 3)} bpp"
    measures = privacy_measures(members)
    if not measures:
        return f"{head}."
    measure, digits = measures[0], measures[0].digits
    subject = measures_of(members)[measure][0]
    start, end = (point.estimate(measure.key, subject) for point in (first, last))
    if start is None or start.value is None:
        return f"{head}."
    kept = f"{head}: {measure.title} {number(start.value, digits)} ({subject_title(members, subject)})"
    if len(members) == 1 or end is None or end.value is None:
        return f"{kept}."
    return f"{kept}; {last.short} at {number(last.bpp, 3)} bpp: {number(end.value, digits)}."
