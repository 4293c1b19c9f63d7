"""COCO average precision (AP): matching by pycocotools, then any number of resamples without matching again.

The protocol is that of Lin et al., "Microsoft COCO: Common Objects in Context" (2014) as pycocotools computes it: crowd
regions, area ranges, ties and the 101 recall points are its own. Matching a detection to an annotation concerns one
image alone, so `evaluate` does it once; AP over any multiset of the images is then a matter of counting, which
`precision_table` does for all resamples of a bootstrap at once.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from icm.errors import UserError
from icm.metrics.resampling import image_weights, percentile_interval
from icm.metrics.segmentation import check_numbers, check_segmentation

# What is compared -> the field of a detection that holds it, and the fields of an annotation that are needed.
KINDS = {
    "bbox": ("bbox", ("bbox", "area")),
    "segm": ("segmentation", ("segmentation", "area")),
    "keypoints": ("keypoints", ("keypoints", "num_keypoints", "bbox", "area")),
}
_BLOCK = 128  # resamples counted at once: small enough for the cache


class TruthError(UserError):
    """Annotations that are no COCO annotations or lack what is asked of them, or detections that do not fit them."""


@dataclass(frozen=True)
class TruthImage:
    """One annotated image: its name in the file, and its size in pixels."""

    file_name: str
    width: int
    height: int


@dataclass(frozen=True)
class CocoTruth:
    """The annotations of a COCO-format file.

    Attributes:
        source: The file, for messages.
        images: Every image by its id.
        categories: Every category's name by its id.
        annotations: The annotations of each image id, as in the file.
    """

    source: str
    images: dict[int, TruthImage]
    categories: dict[int, str]
    annotations: dict[int, list[dict]]

    @classmethod
    def load(cls, path: Path | str) -> "CocoTruth":
        """Read a COCO-format file (instances or person keypoints); `TruthError` says what is wrong with it."""
        try:
            content = json.loads(Path(path).read_bytes())
        except OSError as error:
            raise TruthError(f"{path}: cannot be read ({error.strerror}); check the path") from error
        except (ValueError, RecursionError) as error:
            raise TruthError(f"{path}: is no JSON file ({error}); get it again") from error
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: dict, source: str = "annotations") -> "CocoTruth":
        """Check and index the content of a COCO-format file; ``source`` names it in messages."""
        try:
            images = [
                (int(image["id"]), TruthImage(str(image["file_name"]), int(image["width"]), int(image["height"])))
                for image in content["images"]
            ]
            categories = [(int(category["id"]), str(category["name"])) for category in content["categories"]]
            annotations: dict[int, list[dict]] = defaultdict(list)
            for annotation in content["annotations"]:
                annotations[annotation["image_id"]].append(annotation)
            used = {annotation["category_id"] for annotation in content["annotations"]}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = f"{type(error).__name__}: {error}"[:200]
            raise TruthError(f"{source}: is no COCO annotation file ({reason}); check data.annotations") from error
        _refuse_repeats(source, "image id", (number for number, _ in images))
        _refuse_repeats(source, "category id", (number for number, _ in categories))
        _refuse_repeats(source, "category name", (name for _, name in categories))
        if lost := set(annotations) - {number for number, _ in images}:
            raise TruthError(f"{source}: annotations of image {min(lost, key=str)}, which it does not list")
        if lost := used - {number for number, _ in categories}:
            raise TruthError(f"{source}: annotations of category {min(lost, key=str)}, which it does not list")
        return cls(source, dict(images), dict(categories), dict(annotations))

    @cached_property
    def _ids(self) -> dict[str, list[int]]:
        ids = defaultdict(list)
        for number, image in self.images.items():
            ids[image.file_name].append(number)
        return ids

    def image_id(self, file_name: str) -> int:
        """The id of the image whose file_name is exactly this, folders included; nothing is guessed from digits.

        Raises:
            TruthError: no image, or more than one, has this name.
        """
        found = self._ids.get(file_name, [])
        if len(found) == 1:
            return found[0]
        if found:
            raise TruthError(f"{self.source}: {len(found)} images are called {file_name}; give them names of their own")
        example = next(iter(self._ids), "nothing")
        raise TruthError(
            f"{self.source}: no image is called {file_name} (one is called {example});"
            " give the folder that its file names are relative to"
        )

    def check_size(self, image_id: int, height: int, width: int) -> None:
        """Raise `TruthError` unless the picture has the annotated size, without which no box fits it."""
        image = self.images[image_id]
        if (image.height, image.width) != (height, width):
            raise TruthError(
                f"{image.file_name} has {width}x{height} pixels, {self.source} says {image.width}x{image.height};"
                " use the pictures it was made for, without rotation by EXIF"
            )

    def category_ids(self, names: Mapping[int, str]) -> dict[int, int]:
        """A detector's category ids -> the ids of the categories of the same names here; others are left out.

        Detectors number COCO's classes 0 to 79, 1 to 80 or 1 to 90 with gaps: names alone are the same everywhere.

        Args:
            names: The detector's own ids and their names.

        Raises:
            TruthError: no name is the same.
        """
        own = {name: number for number, name in self.categories.items()}
        ids = {number: own[name] for number, name in names.items() if name in own}
        if not ids:
            raise TruthError(
                f"{self.source}: none of its categories ({_few(own)}) is one that the detector knows"
                f" ({_few(names.values())})"
            )
        return ids


@dataclass(frozen=True)
class CategoryMatches:
    """The detections of one category over all images, surest first, and how many annotations there are to find.

    Attributes:
        name: The category.
        image: (D,) index of each detection's image in ``Matches.image_ids``.
        hit: (areas, thresholds, D) bool, whether it found an annotation that counts.
        counted: (areas, thresholds, D) bool, whether it counts at all; what falls on a crowd, or outside the area
            range, counts neither for nor against.
        truths: (areas, images) annotations that count in each image.
    """

    name: str
    image: np.ndarray
    hit: np.ndarray
    counted: np.ndarray
    truths: np.ndarray


@dataclass(frozen=True)
class Matches:
    """What `evaluate` found.

    Attributes:
        kind: ``bbox``, ``segm`` or ``keypoints``.
        image_ids: The evaluated images.
        areas: Names of pycocotools' area ranges, ``all`` first.
        thresholds: IoU (OKS for keypoints) from which a detection matches, 0.5 to 0.95.
        recalls: The 101 recall points that precision is averaged over.
        categories: One entry per evaluated category.
    """

    kind: str
    image_ids: tuple[int, ...]
    areas: tuple[str, ...]
    thresholds: tuple[float, ...]
    recalls: np.ndarray
    categories: tuple[CategoryMatches, ...]


def evaluate(
    truth: CocoTruth,
    detections: Mapping[int, Sequence[dict]],
    kind: str = "bbox",
    image_ids: Iterable[int] | None = None,
    names: Mapping[int, str] | None = None,
) -> Matches:
    """Match detections to annotations, image by image, with pycocotools.

    Args:
        truth: The annotations.
        detections: For every evaluated image id its detections in COCO's result format (``category_id``, ``score``, and
            ``bbox`` as x, y, width, height, ``segmentation`` as RLE, or ``keypoints``), an empty list for none.
        kind: ``bbox``, ``segm`` or ``keypoints``.
        image_ids: The images to evaluate; None: those of ``detections``. Other images play no part.
        names: What the category ids of the detections mean; categories that only one side knows are left out.
            None: they are the ids of ``truth``.

    Raises:
        TruthError: an unknown kind, image or category id, an annotation or detection without what ``kind`` needs, or a
            mask of another size than its image.
    """
    from pycocotools.cocoeval import COCOeval

    if kind not in KINDS:
        raise TruthError(f"{kind}: no such comparison; choose from {', '.join(KINDS)}")
    chosen = sorted(set(detections if image_ids is None else image_ids))
    for number in chosen:
        if number not in truth.images:
            raise TruthError(f"{truth.source}: there is no image with the id {number}")
        if number not in detections:
            raise TruthError(f"image {number} has no list of detections; give an empty one where nothing was found")
    known = truth.category_ids(truth.categories if names is None else names)

    # The two dictionaries are what COCOeval._prepare makes; made here, nothing is printed, no detection at all is no
    # error, and annotations are numbered from 1: pycocotools takes a match with the number 0 for none.
    evaluator = COCOeval(iouType=kind)
    for position, number in enumerate(chosen):
        for annotation in truth.annotations.get(number, []):
            prepared = _annotation(truth, number, annotation, kind)
            evaluator._gts[position, annotation["category_id"]].append(prepared)
        for detection in detections[number]:
            if (category := detection["category_id"]) in known:
                evaluator._dts[position, known[category]].append(_detection(truth, number, detection, kind))
            elif names is None or category not in names:
                raise TruthError(f"image {number}: a detection of category {category}, which nothing gives a name")
    found = [
        _match(evaluator, category, truth.categories[category], len(chosen)) for category in sorted(set(known.values()))
    ]
    parameters = evaluator.params
    return Matches(
        kind,
        tuple(chosen),
        tuple(parameters.areaRngLbl),
        tuple(float(threshold) for threshold in parameters.iouThrs),
        np.asarray(parameters.recThrs),
        tuple(found),
    )


def precision_table(matches: Matches, weights: np.ndarray | None = None) -> np.ndarray:
    """Average precision in each resample, equal to that of ``COCOeval.accumulate`` where each image weighs 1.

    Args:
        matches: The result of `evaluate`.
        weights: (resamples, images) whole numbers, how often each image counts; None: one row of ones.

    Returns:
        (resamples, categories, areas, thresholds) in [0, 1]; NaN where there is no annotation to find.
    """
    from scipy.sparse import csr_matrix

    images = len(matches.image_ids)
    weights = np.ones((1, images)) if weights is None else np.asarray(weights, dtype=np.float64)
    blocks = [np.ascontiguousarray(weights[start : start + _BLOCK].T) for start in range(0, len(weights), _BLOCK)]
    shape = (len(matches.categories), len(matches.areas), len(matches.thresholds))
    table = np.full((len(weights), *shape), np.nan)
    for k, a, t in np.ndindex(shape):
        category = matches.categories[k]
        if not category.truths[a].any():
            continue
        hit, counted = category.hit[a, t], category.counted[a, t]
        # Precision only matters where recall grows, at the hits. Row i counts the detections, image by image, from
        # after hit i - 1 to hit i; a row of ones and zeros counts the hit alone.
        rank = np.cumsum(hit) - hit
        hits = int(hit.sum())
        upto = counted & (rank < hits)
        seen = csr_matrix((np.ones(upto.sum()), (rank[upto], category.image[upto])), shape=(hits, images))
        found = category.image[hit]
        for index, block in enumerate(blocks):
            rows = slice(index * _BLOCK, index * _BLOCK + block.shape[1])
            table[rows, k, a, t] = _average(seen, block, found, category.truths[a] @ block, matches.recalls)
    return table


def _average(seen: Any, block: np.ndarray, found: np.ndarray, truths: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """Mean over the recall points of the best precision at that recall or a higher one, for each column of ``block``.

    A hit that counts n times stands for n detections in a row; precision rises along them, so the last one, which is
    looked at, has the best of them.
    """
    hits = np.cumsum(block[found], axis=0)
    # np.spacing(1) as in pycocotools: a precision of 0 where nothing was drawn yet.
    precision = hits / (np.cumsum(seen @ block, axis=0) + np.spacing(1))
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(truths > 0, hits / truths, 0)
    # How many recall points each hit is the first to reach.
    points = np.searchsorted(recalls, recall, side="right")
    average = (best * np.diff(points, axis=0, prepend=0)).sum(axis=0) / len(recalls)
    return np.where(truths > 0, average, np.nan)


def summarize(matches: Matches, table: np.ndarray) -> dict[str, np.ndarray]:
    """COCO's summary of each resample of `precision_table`.

    Returns:
        (resamples,) for each of ``ap`` (mean over categories and IoU 0.5 to 0.95), ``ap50``, ``ap75``, ``ap_small``,
        ``ap_medium``, ``ap_large`` (keypoints have no small) and ``ap/NAME`` for every category; NaN where there is
        nothing to find.
    """
    whole = table[:, :, 0]
    summary = {"ap": _mean(whole)}
    for percent in (50, 75):
        summary[f"ap{percent}"] = _mean(whole[..., np.isclose(matches.thresholds, percent / 100)])
    for index, area in enumerate(matches.areas[1:], start=1):
        summary[f"ap_{area}"] = _mean(table[:, :, index])
    for index, category in enumerate(matches.categories):
        summary[f"ap/{category.name}"] = _mean(whole[:, [index]])
    return summary


def average_precision(matches: Matches) -> dict[str, float | None]:
    """The measures of `summarize` over the evaluated images; None where pycocotools says -1, nothing to find."""
    summary = summarize(matches, precision_table(matches))
    return {name: None if np.isnan(value[0]) else float(value[0]) for name, value in summary.items()}


def bootstrap_precision(matches: Matches, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The measures of `summarize` in each resample of ``weights`` (`icm.metrics.resampling.image_weights`)."""
    return summarize(matches, precision_table(matches, weights))


@dataclass(frozen=True)
class PrecisionDifference:
    """AP of one set of detections minus AP of another on the same images; None where there is nothing to find."""

    difference: float | None
    ci95: tuple[float, float] | None


def precision_difference(
    first: Matches, second: Matches, resamples: int = 1000, seed: int = 0
) -> dict[str, PrecisionDifference]:
    """First minus second for every measure of `summarize`, with 95 % intervals from the same resamples of the images.

    Raises ValueError when the two were not evaluated on the same images and categories.
    """
    alike = [(m.kind, m.image_ids, [category.name for category in m.categories]) for m in (first, second)]
    if alike[0] != alike[1]:
        raise ValueError("a paired difference needs the same kind, images and categories on both sides")
    weights = image_weights(len(first.image_ids), resamples, seed)
    one, other = average_precision(first), average_precision(second)
    samples, others = bootstrap_precision(first, weights), bootstrap_precision(second, weights)
    return {
        name: PrecisionDifference(None, None)
        if mine is None or (theirs := other[name]) is None
        else PrecisionDifference(mine - theirs, percentile_interval(samples[name] - others[name]))
        for name, mine in one.items()
    }


def _match(evaluator: Any, category: int, name: str, images: int) -> CategoryMatches:
    parameters = evaluator.params
    overlap = evaluator.computeOks if parameters.iouType == "keypoints" else evaluator.computeIoU
    areas, thresholds, most = parameters.areaRng, len(parameters.iouThrs), parameters.maxDets[-1]
    truths = np.zeros((len(areas), images), np.int64)
    image, scores = [np.zeros(0, np.int64)], [np.zeros(0)]
    matched, ignored = [np.zeros((len(areas), thresholds, 0), bool)], [np.zeros((len(areas), thresholds, 0), bool)]
    for position in range(images):
        if not evaluator._gts.get((position, category)) and not evaluator._dts.get((position, category)):
            continue
        evaluator.ious[position, category] = overlap(position, category)
        found = [evaluator.evaluateImg(position, category, area, most) for area in areas]
        truths[:, position] = [np.count_nonzero(result["gtIgnore"] == 0) for result in found]
        scores.append(np.asarray(found[0]["dtScores"], np.float64))
        image.append(np.full(len(scores[-1]), position))
        matched.append(np.stack([result["dtMatches"] > 0 for result in found]))
        ignored.append(np.stack([result["dtIgnore"] for result in found]))
    # Stable, as in pycocotools: equal scores keep the order of the images.
    order = np.argsort(-np.concatenate(scores), kind="stable")
    counted = ~np.concatenate(ignored, axis=2)[..., order]
    hit = np.concatenate(matched, axis=2)[..., order] & counted
    return CategoryMatches(name, np.concatenate(image)[order], hit, counted, truths)


def _annotation(truth: CocoTruth, image_id: int, annotation: dict, kind: str) -> dict:
    """An annotation as COCOeval compares it."""
    missing = [field for field in KINDS[kind][1] if annotation.get(field) in (None, [])]
    if missing:
        raise TruthError(
            f"{truth.source}: annotation {annotation.get('id')} has no {missing[0]}, which {kind} needs;"
            " use annotations of that kind"
        )
    try:
        for field in {"bbox", "keypoints"} & set(KINDS[kind][1]):
            check_numbers(annotation[field], field)
        if len(annotation.get("bbox", [0] * 4)) != 4:
            raise ValueError("bbox is not x, y, width, height")
        check_numbers([annotation["area"], annotation.get("num_keypoints", 0)], "its area")
        crowd = int(annotation.get("iscrowd", 0))
    except (ValueError, TypeError) as error:
        raise TruthError(f"{truth.source}: annotation {annotation.get('id')}: {error}; get the file again") from error
    prepared = {"id": 1, "area": annotation["area"], "iscrowd": crowd, "ignore": crowd}
    if kind == "keypoints":
        if len(annotation["keypoints"]) != 51:
            raise TruthError(f"{truth.source}: annotation {annotation.get('id')} has not COCO's 17 keypoints")
        prepared |= {field: annotation[field] for field in ("keypoints", "bbox")}
        prepared["ignore"] = crowd or annotation["num_keypoints"] == 0
    elif kind == "segm":
        prepared["segmentation"] = _rle(annotation["segmentation"], truth.images[image_id])
    else:
        prepared["bbox"] = annotation["bbox"]
    return prepared


def _detection(truth: CocoTruth, image_id: int, detection: dict, kind: str) -> dict:
    """A detection as COCOeval compares it. Its area is that of what is compared, as in COCO.loadRes."""
    field = KINDS[kind][0]
    if field not in detection:
        raise TruthError(f"image {image_id}: a detection without {field}; the detector gives no {kind}")
    value = detection[field]
    if kind == "segm":
        from pycocotools import mask

        value = _rle(value, truth.images[image_id])
        area = float(mask.area(value))
    elif kind == "keypoints":
        area = float(np.ptp(value[0::3]) * np.ptp(value[1::3]))
    else:
        area = value[2] * value[3]
    return {"id": 1, "score": detection["score"], field: value, "area": area}


def _rle(segmentation: list | dict, image: TruthImage) -> dict:
    """Polygons, or an RLE of numbers or of text, as the compressed RLE that pycocotools compares."""
    from pycocotools import mask

    try:
        check_segmentation(segmentation, image.height, image.width)
    except ValueError as error:
        raise TruthError(f"{image.file_name}: {error}; mend its annotation") from error
    if not isinstance(segmentation, dict):
        return mask.merge(mask.frPyObjects(segmentation, image.height, image.width))
    if isinstance(segmentation["counts"], list):
        return mask.frPyObjects(segmentation, image.height, image.width)
    return segmentation


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over all axes but the first of what is not NaN; NaN where there is nothing."""
    values = values.reshape(len(values), -1)
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0).sum(axis=1) / there.sum(axis=1)


def _refuse_repeats(source: str, what: str, values: Iterable) -> None:
    repeated = [value for value, times in Counter(values).items() if times > 1]
    if repeated:
        raise TruthError(f"{source}: the {what} {repeated[0]} is given more than once; get it again")


def _few(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
