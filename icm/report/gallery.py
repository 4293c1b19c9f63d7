"""The faces of a report as small pictures: one strip a face, the original and every point of it side by side."""

import base64
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from icm.evaluation.results import ResultsError
from icm.report.equal_rate import lower_is_better, privacy_measures
from icm.report.points import FaceKey, Point
from icm.threads import in_threads

if TYPE_CHECKING:
    from PIL.Image import Image

# Side in pixels and WebP quality of a crop: the first pair with which all strips fit the room there is.
STEPS = ((128, 90), (96, 80), (80, 72), (64, 66), (48, 60))
FACES = 600
_SAMPLE = 12


@dataclass(frozen=True)
class Strip:
    """The crops of one face.

    Attributes:
        uri: The strip as a data URI, its cells square; None where no crop was kept.
        shown: For the original and each point whether its cell holds a picture.
    """

    key: FaceKey
    uri: str | None
    shown: tuple[bool, ...]


@dataclass(frozen=True)
class Gallery:
    """Faces in file order, and how their crops were made small: side in pixels and WebP quality."""

    strips: tuple[Strip, ...]
    side: int
    quality: int
    faces: int

    @property
    def note(self) -> str:
        """What a reader must know of the pictures."""
        shown = len(self.strips)
        which = "Every face" if shown == self.faces else f"{shown} of {self.faces} faces, the extremes among them"
        return (
            f"{which}, cropped at the same box before and after coding. Crops are scaled to at most {self.side} pixels "
            f"(WebP, quality {self.quality}) to keep this page small; the run folders hold them unscaled."
        )


def all_faces(points: Sequence[Point]) -> list[FaceKey]:
    """Every face of any point once, in file order."""
    return list(dict.fromkeys(key for point in points for key in point.face_keys()))


def make_gallery(points: Sequence[Point], room: int) -> Gallery:
    """Strips of all faces, or of as many as fit into ``room`` bytes: the least and best protected and some between."""
    keys = all_faces(points)
    ranked = by_exposure(points, keys)[:FACES]
    sample = ranked[:: max(1, len(ranked) // _SAMPLE)]
    strip_of = functools.cache(functools.partial(_strip, points))
    for side, quality in STEPS:
        sizes = [len(strip_of(key, side, quality).uri or "") for key in sample]
        if sum(sizes) * len(ranked) <= 0.9 * room * max(1, len(sample)):
            break
    strips: dict[FaceKey, Strip] = {}
    # Pillow decodes, scales and encodes outside Python's lock.
    for key, made in in_threads(lambda key: strip_of(key, side, quality), ranked):
        strip = made.result()
        room -= len(strip.uri or "")
        if room < 0:
            break
        strips[key] = strip
    return Gallery(tuple(strips[key] for key in keys if key in strips), side, quality, len(keys))


def by_exposure(points: Sequence[Point], keys: Sequence[FaceKey]) -> list[FaceKey]:
    """Faces in the order in which they are worth showing: the most exposed, the best protected, the next of each."""
    measure = next((measure for measure in privacy_measures(points) if measure.of == "faces"), None)
    if measure is None:
        return list(keys)
    coded = [point for point in points if not point.is_ceiling] or points
    subjects = dict.fromkeys(subject for point in coded for key, subject in point.estimates if key == measure.key)
    totals: dict[FaceKey, float] = dict.fromkeys(keys, 0.0)
    for point in coded:
        for subject in subjects:
            for key, value in point.scores(measure, subject).items():
                totals[key] += value if lower_is_better(measure) else -value
    order = sorted(keys, key=lambda key: -totals[key])
    half = (len(order) + 1) // 2
    extremes = [key for pair in zip(order[:half], reversed(order), strict=False) for key in pair]
    return list(dict.fromkeys(extremes))


def _strip(points: Sequence[Point], key: FaceKey, side: int, quality: int) -> Strip:
    from PIL import Image

    original = next((path for point in points if (path := point.crop("original", key))), None)
    pictures = [_picture(path, side) for path in (original, *(point.crop("coded", key) for point in points))]
    shown = tuple(picture is not None for picture in pictures)
    if not any(shown):
        return Strip(key, None, shown)
    # Crops are as large as they are: a strip is no larger than its largest crop needs.
    cell = max(max(picture.size) for picture in pictures if picture)
    strip = Image.new("RGB", (cell * len(pictures), cell), (128, 128, 128))
    for index, picture in enumerate(pictures):
        if picture:
            strip.paste(picture, (index * cell + (cell - picture.width) // 2, (cell - picture.height) // 2))
    data = io.BytesIO()
    strip.save(data, format="WEBP", quality=quality, method=2)
    return Strip(key, f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode('ascii')}", shown)


def _picture(path: Path | None, side: int) -> "Image | None":
    from PIL import Image

    if path is None:
        return None
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except OSError as error:
        raise ResultsError(f"{path}: not a picture ({error}); delete it or run the evaluation again") from None
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image
