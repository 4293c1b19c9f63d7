"""Is this the same person? Error rates of a recogniser that says yes when a similarity reaches a threshold.

The terms are those of ISO/IEC 19795-1: the false match rate (FMR) is the share of impostor comparisons, and the match
rate the share of genuine comparisons, with a similarity of at least the threshold; the false non-match rate (FNMR) is
one less the match rate. Here a high match rate is the attacker's success.

Intervals resample people (pictures, where no person is known), not comparisons: all comparisons of one person move
together. A comparison of two people weighs the product of how often each was drawn, one within a person as often as
that person was (the two-sided version of the subsets bootstrap of Bolle, Ratha and Pankanti, "Error analysis of
pattern recognition systems: the subsets bootstrap", 2004). Thresholds that are set on impostors are set again in every
resample, so their uncertainty is in the interval.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from icm.metrics.scores import Pairs
from icm.metrics.statistics import Estimate, percentile_interval, unit_counts, widened

FALSE_MATCHES = 10
"""False matches that must be expected at an FMR before a threshold is set there.

Doddington's rule of 30 (Doddington et al., "The NIST speaker recognition evaluation", 2000): 30 errors leave the true
rate within 30 % with 90 % confidence if trials are independent. The rule of 3 says that fewer than 3/FMR trials cannot
even tell the FMR from zero. Ten errors leave it within 52 %; below that the number is not worth its digits.
"""

_THINNED = 1 << 16  # impostor comparisons that a resample looks at
_BLOCK = 1 << 18  # comparisons times resamples held at once


@dataclass(frozen=True)
class Trials:
    """The scores of the comparisons that count, each kind in ascending order.

    Attributes:
        genuine: (g,) float64.
        impostor: (m,) float64.
        genuine_units: (2, g) int, the two sides' units; the second is ``units`` when both sides are of one unit.
        impostor_units: (2, m) int.
        units: How many units there are.
    """

    genuine: np.ndarray
    impostor: np.ndarray
    genuine_units: np.ndarray
    impostor_units: np.ndarray
    units: int

    @cached_property
    def below(self) -> tuple[np.ndarray, np.ndarray]:
        """(g,) each: impostors with a lower, and with a lower or the same score, for every genuine score."""
        return np.searchsorted(self.impostor, self.genuine), np.searchsorted(self.impostor, self.genuine, "right")

    @cached_property
    def not_above(self) -> np.ndarray:
        """(m,) genuine scores that do not exceed each impostor score."""
        return np.searchsorted(self.genuine, self.impostor, "right")

    @cached_property
    def levels(self) -> tuple[np.ndarray, np.ndarray]:
        """(v + 1,) each: genuine and impostor scores below each distinct score, and below infinity."""
        values = np.append(np.unique(np.concatenate([self.genuine, self.impostor])), np.inf)
        return np.searchsorted(self.genuine, values), np.searchsorted(self.impostor, values)


def trials(scores: np.ndarray, pairs: Pairs) -> Trials:
    """The comparisons of ``pairs`` by score; those without a score are left out.

    Args:
        scores: (n, n) similarities, probe by gallery entry; NaN: the comparison could not be made.
    """
    count = int(pairs.units.max(initial=-1)) + 1
    sides = []
    for mask in (pairs.genuine, pairs.impostor):
        probe, entry = np.nonzero(mask & np.isfinite(scores))
        found = scores[probe, entry]
        order = np.argsort(found, kind="stable")
        first, second = pairs.units[probe[order]], pairs.units[entry[order]]
        sides += [found[order], np.stack([first, np.where(first == second, count, second)])]
    return Trials(sides[0], sides[2], sides[1], sides[3], count)


@dataclass(frozen=True)
class Counts:
    """How many scores come before each place of a ranking, in each of r resamples.

    Attributes:
        genuine: (r, g + 1) int32, starting from 0.
        impostor: (r, m + 1) int32.
    """

    trials: Trials
    genuine: np.ndarray
    impostor: np.ndarray

    @property
    def genuine_total(self) -> np.ndarray:
        """(r,)"""
        return self.genuine[:, -1]

    @property
    def impostor_total(self) -> np.ndarray:
        """(r,)"""
        return self.impostor[:, -1]


@dataclass(frozen=True)
class Statistic:
    """A number taken from genuine and impostor scores.

    Attributes:
        compute: From the counts of r resamples, (r,) numbers in [0, 1].
        impostors: Impostor comparisons without which the number is refused.
        purpose: What needs that many, for the refusal.
        share: Whether it is a share of comparisons, whose interval `icm.metrics.statistics.widened` treats.
    """

    compute: Callable[[Counts], np.ndarray]
    impostors: int = 1
    purpose: str = "this"
    share: bool = False


# Statistics ----------------------------------------------------------------------------------------------------------


def _auc(counts: Counts) -> np.ndarray:
    lower, not_higher = counts.trials.below
    beaten = (counts.impostor[:, lower] + counts.impostor[:, not_higher]) / 2
    return (np.diff(counts.genuine) * beaten).sum(axis=1) / (counts.genuine_total * counts.impostor_total)


def _eer(counts: Counts) -> np.ndarray:
    genuine_below, impostor_below = counts.trials.levels
    rows = np.arange(len(counts.genuine))

    def rates(level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        false_match = 1 - counts.impostor[rows, impostor_below[level]] / counts.impostor_total
        return false_match, counts.genuine[rows, genuine_below[level]] / counts.genuine_total

    def crossed(level: np.ndarray) -> np.ndarray:
        false_match, false_non_match = rates(level)
        return false_match <= false_non_match

    after = np.maximum(_first(crossed, len(rows), len(genuine_below)), 1)
    (match_before, miss_before), (match_after, miss_after) = rates(after - 1), rates(after)
    gap_before, gap_after = match_before - miss_before, match_after - miss_after
    return match_before + gap_before / (gap_before - gap_after) * (match_after - match_before)


AUC = Statistic(_auc)
"""Area under the ROC curve: the probability that a genuine comparison scores above an impostor one, ties half."""

EER = Statistic(_eer)
"""Equal error rate: where the ROC curve, its points joined by straight lines, has FMR = FNMR."""


def rate_above(threshold: float) -> Statistic:
    """Match rate at a given threshold, such as the recogniser's own."""

    def compute(counts: Counts) -> np.ndarray:
        return 1 - counts.genuine[:, np.searchsorted(counts.trials.genuine, threshold)] / counts.genuine_total

    return Statistic(compute, impostors=0, share=True)


def rate_at_fmr(fmr: float) -> Statistic:
    """Match rate at the threshold that `threshold_at_fmr` sets, in each resample anew."""

    def compute(counts: Counts) -> np.ndarray:
        rows = np.arange(len(counts.impostor))
        allowed = fmr * counts.impostor_total + 1e-6  # whole numbers: the margin is for rounding alone

        def admissible(place: np.ndarray) -> np.ndarray:
            return counts.impostor_total - counts.impostor[rows, place + 1] <= allowed

        rejected = _first(admissible, len(rows), len(counts.trials.impostor))
        return 1 - counts.genuine[rows, counts.trials.not_above[rejected]] / counts.genuine_total

    return Statistic(compute, impostors_needed(fmr), f"FMR {fmr:g}", share=True)


def fnmr_at_fmr(fmr: float) -> Statistic:
    """False non-match rate at the threshold that `threshold_at_fmr` sets, in each resample anew."""
    rate = rate_at_fmr(fmr)
    return replace(rate, compute=lambda counts: 1 - rate.compute(counts))


def _first(holds: Callable[[np.ndarray], np.ndarray], rows: int, size: int) -> np.ndarray:
    """(rows,) the first place, 0 to size - 1, from which ``holds`` is true; size - 1 where it never is."""
    low, high = np.zeros(rows, dtype=int), np.full(rows, size - 1)
    while (low < high).any():
        middle = (low + high) // 2
        found = holds(middle)
        low, high = np.where(found, low, middle + 1), np.where(found, middle, high)
        low = np.minimum(low, high)
    return low


# Values and intervals ------------------------------------------------------------------------------------------------


def measure(statistic: Statistic, genuine: np.ndarray, impostor: np.ndarray) -> float:
    """A statistic of plain scores, without an interval; NaN when either kind is missing."""
    nobody = np.zeros((2, 0), dtype=int)
    return _value(statistic, Trials(np.sort(genuine), np.sort(impostor), nobody, nobody, 0))


def estimates(
    trials: Trials, statistics: Mapping[str, Statistic], seed: int = 0, resamples: int = 1000
) -> dict[str, Estimate]:
    """Statistics with their 95 % percentile intervals, all from the same resamples.

    Values are exact over all comparisons. Where there are more than 65,536 impostor comparisons, intervals look at
    that many of them, drawn at random, which widens intervals slightly. A statistic without enough comparisons is
    refused with a reason that says how many there are. The interval leaves out resamples that have no genuine or no
    impostor comparison.

    Args:
        statistics: By name, such as ``{"auc": AUC, "fmr1e-2_rate": rate_at_fmr(1e-2)}``.
    """
    refused = {name: _refusal(trials, statistic) for name, statistic in statistics.items()}
    usable = {name: statistic for name, statistic in statistics.items() if not refused[name]}
    drawn = _resampled(trials, usable, seed, resamples) if usable and trials.units > 1 else {}
    taking_part = len(np.unique(trials.genuine_units[0]))
    found = {}
    for name, reason in refused.items():
        if reason:
            found[name] = Estimate(None, n=len(trials.genuine), units=taking_part, note=reason)
            continue
        low = high = replicates = None
        if taking_part > 1 and np.isfinite(drawn[name]).any():
            replicates = drawn[name]
            low, high = percentile_interval(replicates)
            if statistics[name].share:
                low, high = widened(low, high, taking_part)
        value = _value(statistics[name], trials)
        found[name] = Estimate(value, low, high, len(trials.genuine), taking_part, replicates=replicates)
    return found


def _value(statistic: Statistic, trials: Trials) -> float:
    every = (np.arange(len(scores) + 1)[None] for scores in (trials.genuine, trials.impostor))
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(statistic.compute(Counts(trials, *every))[0])


def _refusal(trials: Trials, statistic: Statistic) -> str:
    if not len(trials.genuine):
        return "there is no genuine comparison"
    if len(trials.impostor) < statistic.impostors:
        return f"{statistic.purpose} needs {statistic.impostors} impostor comparisons, there are {len(trials.impostor)}"
    return ""


def _resampled(trials: Trials, statistics: dict[str, Statistic], seed: int, resamples: int) -> dict[str, np.ndarray]:
    """(resamples,) of each statistic; NaN where a resample has no genuine or no impostor comparison."""
    limit = max(_THINNED, *(statistic.impostors for statistic in statistics.values()))
    if len(trials.impostor) > limit:
        kept = np.sort(np.random.default_rng(seed).choice(len(trials.impostor), limit, replace=False))
        trials = Trials(
            trials.genuine, trials.impostor[kept], trials.genuine_units, trials.impostor_units[:, kept], trials.units
        )
    weights = np.ones((resamples, trials.units + 1), dtype=np.int32)
    weights[:, :-1] = unit_counts(trials.units, resamples, seed)
    rows = max(1, _BLOCK // (len(trials.impostor) + len(trials.genuine)))
    blocks = []
    for start in range(0, resamples, rows):
        part = weights[start : start + rows]
        counts = Counts(trials, _cumulated(part, trials.genuine_units), _cumulated(part, trials.impostor_units))
        with np.errstate(invalid="ignore", divide="ignore"):
            blocks.append([statistic.compute(counts) for statistic in statistics.values()])
    return {name: np.concatenate(column) for name, column in zip(statistics, zip(*blocks, strict=True), strict=True)}


def _cumulated(weights: np.ndarray, units: np.ndarray) -> np.ndarray:
    counts = np.zeros((len(weights), units.shape[1] + 1), dtype=np.int32)
    # take with mode "clip" skips the bounds check: five times as fast as indexing.
    first, second = (np.take(weights, side, axis=1, mode="clip") for side in units)
    np.cumsum(first * second, axis=1, dtype=np.int32, out=counts[:, 1:])
    return counts


# Thresholds and curves -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Threshold:
    """A similarity from which on a recogniser says "the same person".

    Attributes:
        value: None: refused, and ``reason`` says why.
        source: Where it comes from, in words.
        comparisons: Impostor comparisons it was set on; 0 for a published one.
        reason: Empty unless refused.
    """

    value: float | None
    source: str
    comparisons: int = 0
    reason: str = ""


def impostors_needed(fmr: float) -> int:
    """Impostor comparisons without which a false match rate is refused: ``FALSE_MATCHES`` / FMR.

    Raises:
        ValueError: the FMR is not between 0 and 1.
    """
    if not 0 < fmr < 1:
        raise ValueError(f"FMR {fmr}: must be between 0 and 1")
    return int(np.ceil(FALSE_MATCHES / fmr - 1e-6))


def threshold_at_fmr(impostor: np.ndarray, fmr: float) -> Threshold:
    """The lowest threshold that no more than the share ``fmr`` of impostor scores reaches.

    It is the next number above an impostor score, so nothing is interpolated between scores.

    Args:
        impostor: (m,) scores; refused when there are fewer than `impostors_needed`.
    """
    source, needed = f"FMR {fmr:g} on {len(impostor)} impostor comparisons", impostors_needed(fmr)
    if len(impostor) < needed:
        reason = f"FMR {fmr:g} needs {needed} impostor comparisons, there are {len(impostor)}"
        return Threshold(None, source, len(impostor), reason)
    allowed = int(np.floor(fmr * len(impostor) + 1e-6))
    rejected = np.sort(impostor)[len(impostor) - allowed - 1]
    return Threshold(float(np.nextafter(rejected, np.inf)), source, len(impostor))


def match_rate(scores: np.ndarray, threshold: float) -> float:
    """The share of scores that reach a threshold: of genuine ones the match rate, of impostor ones the FMR."""
    return float(np.mean(np.asarray(scores) >= threshold))


def roc(genuine: np.ndarray, impostor: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ROC curve: a point for every distinct score taken as the threshold, and (0, 0) at infinity.

    Returns:
        Thresholds ascending, with their FMR and match rate, each (v + 1,). FNMR = 1 - match rate gives the DET curve.
    """
    genuine, impostor = np.sort(genuine), np.sort(impostor)
    thresholds = np.append(np.unique(np.concatenate([genuine, impostor])), np.inf)
    false_match, match = (1 - np.searchsorted(side, thresholds) / len(side) for side in (impostor, genuine))
    return thresholds, false_match, match
