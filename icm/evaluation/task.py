"""What a task is: something done with original and coded pictures, such as recognising the faces in them.

A job shows every picture to each of its tasks. A task decides itself which pictures concern it, keeps no more of them
than it needs (crops, detections), and returns tables and estimates at the end. Adding one: docs/architecture.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from icm.evaluation.cache import Cache
from icm.evaluation.measures import Estimate, Subject
from icm.faces.boxes import Box
from icm.faces.sources import Pair, SourceImage
from icm.parts import Part


@dataclass(frozen=True)
class Context:
    """What a task may use while it works on one job.

    Attributes:
        cache: Finished work of earlier jobs.
        directory: The job's folder.
        label: The codec's title, for progress bars.
        pairs: Folds of (first picture, second picture, whether they show one person), where the source has a protocol.
        seed: Of every random choice.
    """

    cache: Cache
    directory: Path
    label: str
    seed: int = 0
    pairs: Sequence[Sequence[Pair]] = ()


@dataclass(frozen=True)
class Outcome:
    """What a task found.

    Attributes:
        estimates: By the key of the measure and the subject.
        tables: Rows by the name of the CSV file (without suffix) they go to; all rows of a table have its columns.
        summary: What else belongs into summary.json.
        files: Further JSON files by their name without suffix.
        exports: Rows of CSV files that are for others to read: no report loads them.
    """

    estimates: dict[tuple[str, Subject], Estimate] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)
    exports: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class Task(Part, Protocol):
    """One task of one job; an object serves a single job."""

    @property
    def parts(self) -> Sequence[Part]:
        """The parts it uses, such as detector and recognisers: they are checked and recorded with it."""
        ...

    def begin(self, context: Context) -> None:
        """Make ready for the pictures."""
        ...

    def concerns(self, source: SourceImage, image: np.ndarray, digest: str) -> str:
        """Look at an original, HWC uint8 RGB, whose content hash is ``digest``.

        Returns:
            Why the picture does not concern this task, such as "no face found by mtcnn"; empty when it does.
        """
        ...

    def faces(self, source: SourceImage) -> list[Box]:
        """The faces it found in an original that concerns it; for codecs that hide them.

        Tasks that look for no faces return none.
        """
        ...

    def observe(self, source: SourceImage, original: np.ndarray, coded: np.ndarray) -> dict[str, Any]:
        """See one picture that concerns it, before and after coding (HWC uint8 RGB).

        Returns:
            Columns for the picture's row of images.csv.
        """
        ...

    def data(self) -> list:
        """JSON values that say what was measured besides the pictures, such as the boxes of the faces."""
        ...

    def finish(self) -> Outcome:
        """All that was found, once every picture has been seen."""
        ...
