"""One job: one codec at one operating point, the pictures of one source, any number of tasks. Writes the summary."""

import contextlib
import functools
import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from icm import provenance
from icm.codecs.base import Codec, DrawsOnPeople
from icm.errors import UserError
from icm.evaluation.cache import Cache, content_key, image_hash
from icm.evaluation.coding import code, rate
from icm.evaluation.measures import Estimate, Subject, mean_estimate, of_task
from icm.evaluation.results import Run, Summary, estimate_entries, write_run
from icm.evaluation.task import Context, Outcome, Task
from icm.faces.boxes import Box
from icm.faces.sources import Source, SourceImage
from icm.files import printable
from icm.images import ImageError
from icm.metrics.rate import bits_per_pixel
from icm.parts import Part, identity
from icm.threads import in_threads

log = logging.getLogger(__name__)


class NothingToMeasureError(UserError):
    """No picture of the source concerns any task, or none could be coded."""


@dataclass(frozen=True)
class Picture:
    """A picture of the source that some task is concerned with, and its content hash. Its pixels are read again."""

    source: SourceImage
    digest: str
    tasks: tuple[Task, ...]

    def faces(self) -> list[Box]:
        """Where its tasks found faces."""
        return [box for task in self.tasks for box in task.faces(self.source)]


@dataclass(frozen=True)
class Coded:
    """A picture before and after coding (HWC uint8 RGB) and its row of images.csv."""

    picture: Picture
    original: np.ndarray
    coded: np.ndarray
    row: dict[str, Any]


class Job:
    """The parts of one measurement.

    Args:
        codec: What codes the pictures.
        source: Where they come from.
        tasks: What is done with them; all tasks share every coded picture.
        seed: Of every random choice.
        workers: Pictures in work at a time; None: the codec's own limit, else as many as cores.
    """

    def __init__(self, codec: Codec, source: Source, tasks: Sequence[Task], seed: int = 0, workers: int | None = None):
        self.codec, self.source, self.tasks = codec, source, tasks
        self.seed, self.workers = seed, workers

    @property
    def parts(self) -> list[Part]:
        """Every part, for preflight and the record."""
        return [self.codec, self.source, *(part for task in self.tasks for part in (task, *task.parts))]

    @property
    def cell(self) -> str:
        """What names this very measurement: the same parts and seed always have the same cell."""
        return content_key(parts=[identity(part) for part in self.parts], seed=self.seed)

    def run(self, cache: Cache, directory: Path) -> Run:
        """Measure, and write the result files into ``directory``.

        Raises:
            NothingToMeasureError: No picture is left, with the reason of the first skipped one.
            UserError: The folder cannot be written to.
        """
        context = Context(cache, directory, self.codec.title, self.seed, self.source.pairs)
        seconds: dict[str, float] = {}
        with _timed(seconds, "coding"):
            for task in self.tasks:
                task.begin(context)
            images = self.source.images()
            skipped = list(self.source.ignored())
            pictures, rows = self._coded(images, cache, skipped, seconds)
        if not rows:
            first = f"; first: {skipped[0]['image']}: {skipped[0]['reason']}" if skipped else "; there is no image"
            raise NothingToMeasureError(f"no image left to measure of {len(images)}{first}")
        with _timed(seconds, "measuring"):
            outcomes = {task.name: task.finish() for task in self.tasks}
        tables = {"images": rows} | {name: table for found in outcomes.values() for name, table in found.tables.items()}
        run = Run(directory, self._summary(pictures, rows, outcomes, skipped), tables)
        files = {name: content for found in outcomes.values() for name, content in found.files.items()}
        exports = {name: found_rows for found in outcomes.values() for name, found_rows in found.exports.items()}
        timings = {stage: round(elapsed, 3) for stage, elapsed in seconds.items()}
        write_run(run, {**files, "replicates": _replicates(outcomes.values()), "timings": timings}, exports)
        return run

    def _coded(
        self, images: Sequence[SourceImage], cache: Cache, skipped: list[dict[str, str]], seconds: dict[str, float]
    ) -> tuple[list[Picture], list[dict[str, Any]]]:
        """Choose pictures and code them, both at the same time, and show what was coded to the tasks.

        Returns:
            The pictures that concern any task, and the rows of images.csv. Those without a row are in ``skipped``.
        """
        pictures, rows, failed = [], [], []
        title = f"{self.codec.title} | {', '.join(task.name for task in self.tasks)}"
        with tqdm(total=len(images), desc=title, unit="image", dynamic_ncols=True, mininterval=0.5) as bar:
            chosen: Iterable[Picture] = _timed_each(self._chosen(images, skipped, bar), seconds, "choosing")
            codec = self.codec
            if isinstance(codec, DrawsOnPeople):
                chosen = list(chosen)
                codec = codec.among(_people(chosen))
            coding = functools.partial(_code, codec=codec, cache=cache)
            for picture, future in in_threads(coding, chosen, self.workers or codec.max_workers):
                bar.update()
                pictures.append(picture)
                try:
                    done = future.result()
                except UserError as error:
                    failed.append({"image": picture.source.name, "reason": printable(error)})
                    continue
                for task in picture.tasks:
                    done.row.update(task.observe(picture.source, done.original, done.coded))
                rows.append(done.row)
        skipped += failed
        return pictures, rows

    def _chosen(self, images: Sequence[SourceImage], skipped: list[dict[str, str]], bar: tqdm) -> Iterator[Picture]:
        """The pictures that concern any task; the others are added to ``skipped`` with the reason."""
        for source, future in in_threads(_read, images, self.workers):
            try:
                image, digest = future.result()
                reasons = {task: task.concerns(source, image, digest) for task in self.tasks}
            except ImageError as error:
                skipped.append({"image": source.name, "reason": printable(error)})
                bar.update()
                continue
            if wanted := tuple(task for task, reason in reasons.items() if not reason):
                yield Picture(source, digest, wanted)
            else:
                skipped.append({"image": source.name, "reason": "; ".join(reasons.values())})
                bar.update()

    def _summary(
        self,
        pictures: Sequence[Picture],
        rows: Sequence[dict[str, Any]],
        outcomes: dict[str, Outcome],
        skipped: list[dict[str, str]],
    ) -> Summary:
        codec = self.codec
        estimates: dict[tuple[str, Subject], Estimate] = {
            (measure.key, Subject()): mean_estimate([row[measure.key] for row in rows], None, self.seed)
            for measure in of_task("coding")
        }
        for outcome in outcomes.values():
            estimates |= outcome.estimates
        seen = [[picture.source.name, picture.digest] for picture in pictures]
        pixels = sum(row["width"] * row["height"] for row in rows)
        summary: Summary = {
            "codec": codec.name,
            "title": codec.title,
            "series": codec.series,
            "short": codec.short,
            "variant": codec.variant,
            "baseline_of": codec.baseline_of,
            "ceiling": codec.ceiling,
            "label": label_of(codec),
            "point": codec.point,
            "qp": codec.point.get("qp"),
            "parameters": codec.parameters,
            "codec_version": codec.version,
            "source": self.source.name,
            "images": len(rows),
            "bpp": float(np.mean([row["bpp"] for row in rows])),
            "bpp_total": float(np.mean([row["bpp_total"] for row in rows])),
            "bpp_pooled": bits_per_pixel(sum(row["payload_bytes"] for row in rows), 1, pixels),
            "psnr": estimates["psnr", Subject()].value,
            "lossless_images": sum(row["psnr"] == float("inf") for row in rows),
            "skipped": skipped,
            "tasks": [task.name for task in self.tasks],
            "data": content_key(images=seen, found={task.name: task.data() for task in self.tasks})[:16],
            "cell": self.cell,
            "parts": [identity(part) for part in self.parts],
            "seed": self.seed,
            "estimates": estimate_entries(estimates),
            "versions": provenance.versions(),
            "git_commit": provenance.git_commit(),
        }
        notes = [note for outcome in outcomes.values() for note in outcome.summary.get("notes", [])]
        titles = {name: title for found in outcomes.values() for name, title in found.summary.get("titles", {}).items()}
        for outcome in outcomes.values():
            summary.update(outcome.summary)  # type: ignore[typeddict-item]
        summary["titles"] = titles
        if notes or "faces" in outcomes:
            summary["notes"] = notes
        return summary


def _read(source: SourceImage) -> tuple[np.ndarray, str]:
    """The pixels of a picture and their hash."""
    image = source.load()
    return image, image_hash(image)


def _code(picture: Picture, codec: Codec, cache: Cache) -> Coded:
    """Code a picture and measure what needs no task."""
    original = picture.source.load()
    boxes = [(box.x, box.y, box.width, box.height) for box in picture.faces()]
    bitstream, coded = code(original, picture.digest, codec, cache, boxes)
    row = {"image": picture.source.name, **rate(original, bitstream)}
    row |= {measure.key: measure.compute(original, coded) for measure in of_task("coding")}
    return Coded(picture, original, coded, row)


@contextlib.contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add up how long a stage takes, on the clock: pictures are worked on together, and what is cached takes none."""
    began = time.monotonic()
    yield
    seconds[stage] = seconds.get(stage, 0) + time.monotonic() - began


def _timed_each(pictures: Iterator[Picture], seconds: dict[str, float], stage: str) -> Iterator[Picture]:
    """The same pictures; waiting for each counts."""
    while True:
        with _timed(seconds, stage):
            picture = next(pictures, None)
        if picture is None:
            return
        yield picture


def _people(pictures: Iterable[Picture]) -> list[np.ndarray]:
    """One face of each person, HWC uint8 RGB: the first of everyone who is named, and each that has no name."""
    people: list[np.ndarray] = []
    seen: set[str] = set()
    for picture in pictures:
        boxes = picture.faces()
        new = []
        for box, person in zip(boxes, picture.source.identities(boxes), strict=True):
            if person not in seen:
                new.append(box)
            if person is not None:
                seen.add(person)
        if new:
            image = picture.source.load()
            people += [image[box.y : box.y + box.height, box.x : box.x + box.width] for box in new]
    return people


def _replicates(outcomes: Iterable[Outcome]) -> dict[str, list[float | None]]:
    """The resamples of every estimate that keeps them, by measure and subject joined with ``|``; None: no value."""
    return {
        "|".join([measure, *subject]): [
            round(value, 6) if math.isfinite(value) else None for value in estimate.replicates
        ]
        for outcome in outcomes
        for (measure, subject), estimate in outcome.estimates.items()
        if estimate.replicates is not None
    }


def label_of(codec: Codec) -> str:
    """A codec at its operating point as it is typed, such as ``vvc qp 37`` or ``sa_icm control rate mid``."""
    return " ".join(
        filter(None, [codec.name, codec.variant, *(f"{name} {value}" for name, value in codec.point.items())])
    )
