"""Is there still a face? Boxes found in the coded picture against those of the original.

A box of the coded picture finds a face of the original when they overlap with an intersection over union of at least
``iou``; boxes are taken by falling confidence, each finds the free face it overlaps most, as in COCO's evaluation (Lin
et al. 2014). Recall is the share of faces found by all boxes; average precision (AP) also counts the boxes that find
nothing, at COCO's 101 recall levels. A face that is not found is a failure to acquire: an attacker who searches the
coded picture alone never gets to compare it, and it has no similarity.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icm.metrics.statistics import CONFIDENCE, Estimate, bootstrap_mean_ci, unit_counts, widened

RECALL_LEVELS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Detectability:
    """Faces found again.

    Attributes:
        recall: Share of the original's faces found in the coded pictures; ``n`` faces, ``units`` pictures.
        average_precision: AP of the boxes found in the coded pictures.
        lost_faces: Faces of the original that are not found (failures to acquire).
        lost_pictures: Pictures in which none of the faces is found.
    """

    recall: Estimate
    average_precision: Estimate
    lost_faces: int
    lost_pictures: int


def detectability(
    original: Sequence[np.ndarray],
    coded: Sequence[np.ndarray],
    iou: float = 0.5,
    seed: int = 0,
    resamples: int = 1000,
) -> Detectability:
    """Recall and AP of the boxes in coded pictures, with 95 % intervals resampled by picture.

    Args:
        original: For each picture (k, 4) boxes: x, y, width, height.
        coded: For the same pictures (m, 5) boxes: x, y, width, height, confidence.
    """
    faces = np.array([len(boxes) for boxes in original])
    hits = [match(truth, boxes, iou) for truth, boxes in zip(original, coded, strict=True)]
    if faces.sum() == 0:
        nothing = Estimate(None, note="no face in the originals")
        return Detectability(nothing, nothing, 0, 0)
    picture = np.repeat(np.arange(len(hits)), [len(hit) for hit in hits])
    confidence = np.concatenate([np.reshape(boxes, (-1, 5))[:, 4] for boxes in coded])
    order = np.argsort(-confidence, kind="stable")
    hit, picture = np.concatenate(hits)[order], picture[order]
    found = np.array([hit.sum() for hit in hits])
    recalled = np.repeat((found / np.maximum(faces, 1)), faces)  # a picture's share, once for each of its faces
    owner = np.repeat(np.arange(len(faces)), faces)
    units = int((faces > 0).sum())
    low, high = bootstrap_mean_ci(recalled.tolist(), owner.tolist(), seed, resamples)
    if low is not None and high is not None:
        low, high = widened(low, high, units)
    recall = Estimate(float(found.sum() / faces.sum()), low, high, int(faces.sum()), units)
    value = average_precision(hit, np.ones(len(hit)), int(faces.sum()))
    low = high = None
    if units > 1:
        drawn = unit_counts(len(faces), resamples, seed)
        samples = [average_precision(hit, row[picture], int(row @ faces)) for row in drawn]
        tail = (1 - CONFIDENCE) / 2
        low, high = (float(end) for end in np.nanquantile(samples, [tail, 1 - tail]))
        low, high = widened(low, high, units)
    precision = Estimate(value, low, high, int(faces.sum()), units)
    lost = (faces > 0) & (found == 0)
    return Detectability(recall, precision, int(faces.sum() - found.sum()), int(lost.sum()))


def match(truth: np.ndarray, boxes: np.ndarray, iou: float = 0.5) -> np.ndarray:
    """(m,) bool: which boxes of one picture find a face.

    Args:
        truth: (k, 4) x, y, width, height.
        boxes: (m, 5) x, y, width, height, confidence.
    """
    truth, boxes = np.reshape(truth, (-1, 4)).astype(float), np.reshape(boxes, (-1, 5)).astype(float)
    overlaps = overlap(boxes[:, :4], truth)
    hits = np.zeros(len(boxes), dtype=bool)
    free = np.ones(len(truth), dtype=bool)
    for index in np.argsort(-boxes[:, 4], kind="stable"):
        candidates = np.where(free, overlaps[index], 0.0)
        if len(truth) and candidates.max() >= iou:
            hits[index] = True
            free[candidates.argmax()] = False
    return hits


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(m, k) intersection over union of (m, 4) and (k, 4) boxes: x, y, width, height."""
    a, b = first[:, None], second[None]
    sides = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(sides, 0, None).prod(axis=-1)
    return shared / (a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - shared)


def average_precision(hit: np.ndarray, weights: np.ndarray, faces: int) -> float:
    """AP of boxes in order of falling confidence, at 101 recall levels; NaN without a face.

    Args:
        hit: (m,) bool, whether each box finds a face.
        weights: (m,) how often each box counts.
        faces: How many faces there are to find.
    """
    if faces == 0:
        return float("nan")
    true, false = np.cumsum(weights * hit), np.cumsum(weights * ~hit)
    with np.errstate(invalid="ignore"):
        precision = np.nan_to_num(true / (true + false))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(true / faces, RECALL_LEVELS)
    return float(np.append(precision, 0.0)[place].mean())
