"""What is measured: one entry of `MEASURES` and one function for each number that results, tables and figures show.

Everything downstream (summary.json, table.csv and .md, report.html, figures, Weights & Biases) loops over the measures
that a run has, so a new one needs nothing but its entry and its function here.
"""

import functools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from icm.detectors.weights import path_of
from icm.metrics import privacy
from icm.metrics.boundaries import boundary_counts
from icm.metrics.identification import Ranks, rank, rank_rate
from icm.metrics.lfw import fold_accuracy
from icm.metrics.linkability import linkability_statistic
from icm.metrics.quality import load_lpips, lpips, ms_ssim, psnr
from icm.metrics.scores import Pairs, select_pairs
from icm.metrics.statistics import Estimate, bootstrap_mean_ci
from icm.metrics.verification import AUC, EER, Statistic, Trials, fnmr_at_fmr, rate_above, rate_at_fmr, trials

__all__ = ["MEASURES", "Estimate", "FaceEvidence", "Measure", "Subject", "mean_estimate", "of_task"]

Direction = Literal["lower is private", "higher is private", "lower is useful", "higher is useful"]


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
        coded: (n, dim) float32 embeddings of the coded faces, as the attacker shows them to the recogniser.
        scores: (n, n) float64 similarities under the attack, coded probe by gallery entry; NaN: not compared.
        gallery: What the attacker has on file, ``original`` or ``coded`` pictures.
        identities: Who each face is; None where that is not known.
        images: The picture each face is in.
        strangers: (n, n) bool, the pairs that are trusted to show different people.
        threshold: The recogniser's own verification threshold (cosine similarity), None where it has none.
        seed: Of the resampling.
        learnt: Whether the attacker has learnt a map of embeddings, which changes the scale of similarities.
        protocol: (m, 4) int: the pairs of the source's verification protocol as probe row, gallery row, 1 for one
            person, fold; empty where it has none.
    """

    original: np.ndarray
    coded: np.ndarray
    scores: np.ndarray
    gallery: str
    identities: Sequence[str | None]
    images: Sequence[str]
    strangers: np.ndarray
    threshold: float | None = None
    seed: int = 0
    learnt: bool = False
    protocol: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), dtype=int))

    @cached_property
    def impostor_mean(self) -> float | None:
        """Mean cosine similarity of two originals of different people; None where no pair can be trusted to be that."""
        return privacy.impostor_mean(self.original, self.strangers)

    @cached_property
    def pairs(self) -> Pairs:
        """Which comparisons are genuine and which impostor (`icm.metrics.scores`)."""
        pairs = select_pairs(self.identities, self.images)
        return replace(pairs, impostor=pairs.impostor & self.strangers)

    @cached_property
    def trials(self) -> Trials:
        return trials(self.scores, self.pairs)

    @cached_property
    def ranks(self) -> Ranks:
        return rank(self.scores, self.pairs)


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
            over images. ``images``: a value for every picture. ``pairs``: the estimate itself, or the
            `icm.metrics.verification.Statistic` to take it by. ``boxes``: the estimate, from boxes found again.
        compute: Takes what its task has found: `FaceEvidence` for faces and pairs, (original, coded) for coding,
            `icm.metrics.detectability.Detectability` for boxes, (original, coded, mask or None) for other tasks.
            For detection tasks the name of the number in `icm.metrics.detection.summarize`, for the task ``rate`` that
            of its column.
        limits: Columns of the interval in table.csv; by default KEY_low and KEY_high.
        headline: Whether it is shown where there is room for few: on the terminal.
    """

    key: str
    title: str
    axis: str
    direction: Direction
    digits: int
    caption: str
    task: str
    of: Literal["faces", "images", "pairs", "boxes"]
    compute: Any = field(repr=False)
    limits: tuple[str, str] = ("", "")
    headline: bool = False

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
    units = len(array[usable]) if kept is None else len(set(kept))
    return Estimate(float(array[usable].mean()), low, high, int(usable.sum()), units)


def _similarity(evidence: FaceEvidence) -> np.ndarray:
    # A picture on file that was coded as the probe was is the very same picture: nothing to compare.
    same = np.diag(evidence.scores)
    return same if evidence.gallery == "original" else np.full_like(same, np.nan)


def _calibrated(evidence: FaceEvidence) -> np.ndarray:
    # The impostor mean is on the recogniser's own scale.
    return privacy.calibrate(_similarity(evidence), None if evidence.learnt else evidence.impostor_mean)


def _at_own_threshold(evidence: FaceEvidence) -> Statistic | Estimate:
    if evidence.threshold is None:
        return Estimate(None, note="no threshold of the recogniser's own for such similarities")
    return rate_above(evidence.threshold)


def _rank(k: int, evidence: FaceEvidence) -> Estimate:
    return rank_rate(evidence.ranks, k, evidence.seed)


def _fold_accuracy(evidence: FaceEvidence) -> Estimate:
    probe, entry, same, fold = evidence.protocol.T
    scores = evidence.scores[probe, entry]
    made = np.isfinite(scores)
    if len(np.unique(fold[made])) < 2:
        return Estimate(None, note="the source has no pairs in two folds or more")
    found = fold_accuracy(scores[made], same[made].astype(bool), fold[made])
    spread = 1.96 * found.standard_error
    note = f"{int(made.sum())} of {len(made)} pairs, {len(found.folds)} folds; interval from the error over folds"
    return Estimate(found.mean, found.mean - spread, found.mean + spread, int(made.sum()), len(found.folds), note)


def _statistic(statistic: Statistic, evidence: FaceEvidence) -> Statistic:
    return statistic


def _pairs(
    key: str, title: str, direction: Direction, caption: str, compute: Callable[..., Any], headline: bool = False
) -> Measure:
    return Measure(
        key, title, title, direction, 3, caption, task="faces", of="pairs", compute=compute, headline=headline
    )


def _boundary_f(region: str, original: np.ndarray, coded: np.ndarray, mask: np.ndarray | None) -> float | None:
    found = boundary_counts(original, coded, mask).get(region)
    return None if found is None else found.f_measure


def _psnr(inside: bool, original: np.ndarray, coded: np.ndarray, mask: np.ndarray | None) -> float | None:
    return None if mask is None else psnr(original, coded, (mask != 0) == inside)


def _ms_ssim(original: np.ndarray, coded: np.ndarray, mask: np.ndarray | None) -> float | None:
    return ms_ssim(original, coded)


def _lpips(where: str, original: np.ndarray, coded: np.ndarray, mask: np.ndarray | None) -> float | None:
    network = _lpips_network(path_of("alexnet"))
    if where == "all":
        return lpips(original, coded, network)
    return None if mask is None else lpips(original, coded, network, (mask != 0) == (where == "inside"))


@functools.cache
def _lpips_network(weights: Path) -> Any:
    return load_lpips(weights)


MEASURES: tuple[Measure, ...] = (
    Measure(
        "psnr", "PSNR", "PSNR (dB)", "higher is useful", 2,
        "Peak signal-to-noise ratio of the coded picture, mean over images that were not coded losslessly.",
        task="coding", of="images", compute=psnr,
    ),
    Measure(
        "cosine_similarity", "cosine similarity", "cosine similarity", "lower is private", 3,
        "Mean cosine similarity of a face before and after coding, with its 95 % interval (bootstrap over images).",
        task="faces", of="faces", compute=_similarity, limits=("ci95_low", "ci95_high"), headline=True,
    ),
    Measure(
        "calibrated_similarity", "calibrated similarity", "calibrated similarity", "lower is private", 3,
        "The same, calibrated: 0 is the mean of two different people, 1 the unchanged face.",
        task="faces", of="faces", compute=_calibrated, limits=("calibrated_ci95_low", "calibrated_ci95_high"),
        headline=True,
    ),
    _pairs(
        "rank1", "rank-1 rate", "lower is private",
        "Share of coded faces whose person comes first in a search through the originals of everyone.",
        partial(_rank, 1), headline=True,
    ),
    _pairs(
        "rank5", "rank-5 rate", "lower is private",
        "Share of coded faces whose person is among the first five of such a search.",
        partial(_rank, 5),
    ),
    _pairs(
        "auc", "ROC AUC", "lower is private",
        "Probability that a pair of one person scores above a pair of two; 0.5 is guessing.",
        partial(_statistic, AUC),
    ),
    _pairs(
        "eer", "EER", "higher is private",
        "Equal error rate: the threshold at which as many pairs of one person are missed as of two are accepted.",
        partial(_statistic, EER),
    ),
    *(
        _pairs(
            f"fmr1e-{digits}_rate", f"match rate at FMR 1e-{digits}", "lower is private",
            f"Share of pairs of one person accepted at the threshold that accepts 1e-{digits} of pairs of two.",
            partial(_statistic, rate_at_fmr(10.0**-digits)), headline=digits == 2,
        )
        for digits in (1, 2, 3)
    ),
    _pairs(
        "fnmr_fmr1e-2", "FNMR at FMR 1e-2", "higher is private",
        "Share of pairs of one person missed at the threshold that accepts 1e-2 of pairs of two.",
        partial(_statistic, fnmr_at_fmr(1e-2)),
    ),
    _pairs(
        "threshold_rate", "match rate at the recogniser's threshold", "lower is private",
        "Share of pairs of one person accepted at the recogniser's own threshold (DeepFace's).",
        _at_own_threshold,
    ),
    _pairs(
        "fold_accuracy", "accuracy over folds", "lower is private",
        "Share of the protocol's pairs told apart at the threshold that is best on the other folds (LFW, view 2).",
        _fold_accuracy,
    ),
    _pairs(
        "d_sys", "linkability D_sys", "lower is private",
        "Linkability of Gomez-Barrero et al. (2018): 0 when scores say nothing about who it is, 1 when they say all.",
        partial(_statistic, linkability_statistic()),
    ),
    Measure(
        "detection_recall", "faces still detected", "recall at IoU 0.5", "lower is private", 3,
        "Share of the faces of the original that the detector finds again in the coded picture.",
        task="faces", of="boxes", compute=attrgetter("recall"),
    ),
    Measure(
        "detection_ap", "face detection AP", "AP at IoU 0.5", "lower is private", 3,
        "Average precision of the boxes found in the coded picture against those of the original.",
        task="faces", of="boxes", compute=attrgetter("average_precision"),
    ),
    Measure(
        "boundary_f", "boundary F", "boundary F", "higher is useful", 3,
        "Boundary F-measure of the coded picture's edges against the original's, mean over images (BSDS tolerance).",
        task="edges", of="images", compute=partial(_boundary_f, "all"), headline=True,
    ),
    *(
        Measure(
            f"boundary_f_{where}", f"boundary F {where} outlines", "boundary F", "higher is useful", 3,
            f"The same for edges {where} the outlines of annotated objects.",
            task="edges", of="images", compute=partial(_boundary_f, where), headline=where == "inside",
        )
        for where in ("inside", "outside")
    ),
    Measure(
        "ms_ssim", "MS-SSIM", "MS-SSIM", "higher is useful", 4,
        "Multi-scale structural similarity, mean over images of at least 161 pixels a side.",
        task="quality", of="images", compute=_ms_ssim,
    ),
    *(
        Measure(
            f"{prefix}{key}", f"{kind} {title}", f"{kind} AP", "higher is useful", 3,
            f"COCO {kind} {title} of the detector on the coded pictures; interval by bootstrap over images.",
            task=task, of="pairs", compute=source, headline=key == "ap",
        )
        for task, prefix, kind in (
            ("detection", "", "box"), ("segmentation", "mask_", "mask"), ("keypoints", "keypoint_", "keypoint")
        )
        for key, title, source in (
            ("ap", "AP", "ap"), ("ap50", "AP50", "ap50"), ("ap75", "AP75", "ap75"),
            ("ap_small", "AP small", "ap_small"), ("ap_medium", "AP medium", "ap_medium"),
            ("ap_large", "AP large", "ap_large"), ("ap_person", "person AP", "ap/person"),
        )
    ),
    Measure(
        "estimated_bpp", "estimated rate", "estimated bpp", "lower is useful", 4,
        "Rate by the network's own probabilities, in bits for each pixel of the original, mean over images.",
        task="rate", of="images", compute="estimated_bpp", headline=True,
    ),
    *(
        Measure(
            key, f"PSNR {where} the mask", "PSNR (dB)", "higher is useful", 2,
            f"PSNR of the pixels {where} the training's mask, mean over the images that have such pixels.",
            task="rate", of="images", compute=key,
        )
        for key, where in (("masked_psnr", "inside"), ("unmasked_psnr", "outside"))
    ),
    *(
        Measure(
            f"people_{key}", f"people {title} (smoke test)", f"people {title}", "higher is useful", 3,
            f"COCO {title} of people found by OpenCV's HOG detector, which finds few of them: it shows that "
            "everything works, and says nothing of how useful the pictures are.",
            task="people", of="pairs", compute=key, headline=key == "ap50",
        )
        for key, title in (("ap", "AP"), ("ap50", "AP50"))
    ),
    *(
        Measure(
            f"psnr_{where}", f"PSNR {where} outlines", "PSNR (dB)", "higher is useful", 2,
            f"PSNR of the pixels {where} the outlines of annotated objects, mean over images.",
            task="quality", of="images", compute=partial(_psnr, where == "inside"),
        )
        for where in ("inside", "outside")
    ),
    Measure(
        "lpips", "LPIPS", "LPIPS", "lower is useful", 3,
        "Learned perceptual image patch similarity (version 0.1, AlexNet), a distance; mean over images.",
        task="quality", of="images", compute=partial(_lpips, "all"),
    ),
    *(
        Measure(
            f"lpips_{where}", f"LPIPS {where} outlines", "LPIPS", "lower is useful", 3,
            f"Mean over the pixels {where} the outlines of annotated objects of LPIPS's map, mean over images.",
            task="quality", of="images", compute=partial(_lpips, where),
        )
        for where in ("inside", "outside")
    ),
)  # fmt: skip


def of_task(task: str) -> list[Measure]:
    """The measures of one task, in table order."""
    return [measure for measure in MEASURES if measure.task == task]
