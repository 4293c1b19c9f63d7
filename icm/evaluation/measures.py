"""What is measured: one entry of `MEASURES` and one function for each number that results, tables and figures show.

Everything downstream (summary.json, table.csv and .md, report.html, figures, Weights & Biases) loops over the measures
that a run has, so a new one needs nothing but its entry and its function here.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from icm.metrics import privacy
from icm.metrics.quality import psnr
from icm.metrics.statistics import bootstrap_mean_ci

Direction = Literal["lower is private", "higher is private", "lower is useful", "higher is useful"]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        value: None where the measure has none; ``note`` then says why.
        low, high: Limits of the interval; None where no spread can be estimated.
        n: What was measured: faces, images or pairs.
        note: What a reader must know of this very number, such as the threshold it was taken at.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    note: str = ""

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)


class Subject(NamedTuple):
    """Whose number it is: a recogniser (under an attack), a task's model, or, all empty, the codec's alone."""

    embedder: str = ""
    attack: str = ""
    model: str = ""


@dataclass(frozen=True)
class FaceEvidence:
    """What one recogniser makes of every face under one attack; rows belong together.

    Attributes:
        original: (n, dim) float32 embeddings of the original faces.
        coded: (n, dim') float32 embeddings of the coded faces, as the attacker uses them.
        gallery: (n, dim') float32 embeddings of the faces that the attacker has enrolled.
        identities: Who each face is; None where that is not known.
        images: The picture each face is in.
        strangers: (n, n) bool, the pairs that are trusted to show different people.
        threshold: The recogniser's own verification threshold (cosine similarity), None where it has none.
        seed: Of the resampling.
    """

    original: np.ndarray
    coded: np.ndarray
    gallery: np.ndarray
    identities: Sequence[str | None]
    images: Sequence[str]
    strangers: np.ndarray
    threshold: float | None = None
    seed: int = 0

    @cached_property
    def impostor_mean(self) -> float | None:
        """Mean cosine similarity of two originals of different people; None where no pair can be trusted to be that."""
        return privacy.impostor_mean(self.original, self.strangers)


@dataclass(frozen=True)
class Measure:
    """One kind of number.

    Attributes:
        key: Its name in files: a column of table.csv, and of faces.csv or images.csv where it has a value for each.
        title: Its name for people.
        axis: The label of an axis, with the unit.
        direction: Which way is good, and what for.
        digits: Decimals that people are shown.
        caption: One sentence that says what it is; it stands above its table.
        task: The task that measures it (`icm.evaluation.task.Task.name`), or ``coding`` for every coded picture.
        of: ``faces``: ``compute`` gives a value for every face, the estimate is their mean, its interval a bootstrap
            over images. ``images``: a value for every picture. ``pairs``: the estimate itself.
        compute: Takes what its task has found: `FaceEvidence` for faces, (original, coded) for coding.
        limits: Columns of the interval in table.csv; by default KEY_low and KEY_high.
    """

    key: str
    title: str
    axis: str
    direction: Direction
    digits: int
    caption: str
    task: str
    of: Literal["faces", "images", "pairs"]
    compute: Callable[..., Any] = field(repr=False)
    limits: tuple[str, str] = ("", "")

    @property
    def columns(self) -> tuple[str, str, str]:
        """The columns of value, low and high in table.csv."""
        low, high = self.limits
        return self.key, low or f"{self.key}_low", high or f"{self.key}_high"


def mean_estimate(values: Sequence[float] | np.ndarray, clusters: Sequence[Hashable] | None, seed: int) -> Estimate:
    """The mean of the finite values with its interval, resampled by cluster (None: each value on its own)."""
    array = np.asarray(values, dtype=np.float64)
    usable = np.isfinite(array)
    if not usable.any():
        return Estimate(None)
    kept = None if clusters is None else [label for label, keep in zip(clusters, usable, strict=True) if keep]
    low, high = bootstrap_mean_ci(array[usable], kept, seed=seed)
    return Estimate(float(array[usable].mean()), low, high, int(usable.sum()))


def _similarity(evidence: FaceEvidence) -> np.ndarray:
    return privacy.cosine_similarity(evidence.original, evidence.coded)


def _calibrated(evidence: FaceEvidence) -> np.ndarray:
    return privacy.calibrate(_similarity(evidence), evidence.impostor_mean)


MEASURES: tuple[Measure, ...] = (
    Measure(
        "psnr", "PSNR", "PSNR (dB)", "higher is useful", 2,
        "Peak signal-to-noise ratio of the coded picture, mean over images that were not coded losslessly.",
        task="coding", of="images", compute=psnr,
    ),
    Measure(
        "cosine_similarity", "cosine similarity", "cosine similarity", "lower is private", 3,
        "Mean cosine similarity of a face before and after coding, with its 95 % interval (bootstrap over images).",
        task="faces", of="faces", compute=_similarity, limits=("ci95_low", "ci95_high"),
    ),
    Measure(
        "calibrated_similarity", "calibrated similarity", "calibrated similarity", "lower is private", 3,
        "The same, calibrated: 0 is the mean of two different people, 1 the unchanged face.",
        task="faces", of="faces", compute=_calibrated, limits=("calibrated_ci95_low", "calibrated_ci95_high"),
    ),
)  # fmt: skip


def of_task(task: str) -> list[Measure]:
    """The measures of one task, in table order."""
    return [measure for measure in MEASURES if measure.task == task]
