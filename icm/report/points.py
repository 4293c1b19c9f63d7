"""The operating points of a set of runs: what one row of the table, one dot of a curve and one crop column stand for.

Runs of one codec at one point that measured different recognisers are one point. Points of one codec that differ
only in the operating point are one series, that is one curve.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from icm.evaluation.results import Run, crop_name

CODEC_TITLES = {
    "vvc": "VVC", "hevc": "HEVC", "av1": "AV1", "jpeg": "JPEG", "webp": "WebP", "jpeg2000": "JPEG 2000",
    "avif": "AVIF", "jxl": "JPEG XL", "sa_icm": "SA-ICM", "none": "No codec", "yuv420": "4:2:0 only",
    "blur": "Blur", "pixelate": "Pixelate", "mask": "Mask",
}  # fmt: skip
EMBEDDER_TITLES = {
    "vggface": "VGG-Face", "facenet": "FaceNet", "facenet512": "FaceNet512", "arcface": "ArcFace",
    "openface": "OpenFace", "sface": "SFace", "ghostfacenet": "GhostFaceNet", "buffalo_l": "Buffalo_L", "dlib": "Dlib",
}  # fmt: skip
POINT_TITLES = {"qp": "QP", "rate": ""}

# What tells the weights of one operating point of a learned codec from those of another: not a setting of its curve.
_WEIGHTS = ("checkpoint", "weights", "sha256")
# They code nothing: what they measure is a ceiling, not a point of a curve.
CEILINGS = ("none", "yuv420")

FaceKey = tuple[str, int]


@dataclass(frozen=True)
class Similarity:
    """Mean similarity of one recogniser over the faces of a point, with its 95 % interval where there is one."""

    mean: float | None
    ci95: tuple[float, float] | None
    calibrated_mean: float | None
    calibrated_ci95: tuple[float, float] | None


@dataclass(frozen=True)
class Point:
    """One codec at one operating point.

    ``series`` names its curve, ``title`` the point itself and ``short`` only what sets it apart on its curve.
    ``bpp`` and ``bpp_total`` are bits per pixel, ``psnr`` is in dB and None for a lossless codec. ``similarity`` is
    keyed by recogniser, in the order in which they were measured.
    """

    codec: str
    series: str
    title: str
    short: str
    qp: float | None
    quality: float | None
    images: int
    faces: int
    bpp: float
    bpp_total: float
    psnr: float | None
    similarity: dict[str, Similarity]
    runs: tuple[Run, ...]

    @property
    def data(self) -> str | None:
        """What names the measured faces (`icm.evaluation.pipeline.data_id`)."""
        return self.runs[0].summary.get("data")

    @property
    def is_ceiling(self) -> bool:
        """Whether this is uncoded and so has no place on a rate axis."""
        return self.codec in CEILINGS

    def label(self) -> str:
        return self.runs[0].summary["label"]

    def scores(self, embedder: str, column: str = "cosine_similarity") -> dict[FaceKey, float]:
        """Similarity of every face by (image, face number); faces without a number are left out."""
        rows = (row for run in self.runs for row in run.faces if row["embedder"] == embedder)
        return {(row["image"], row["face"]): row[column] for row in rows if row[column] is not None}

    def face_keys(self) -> list[FaceKey]:
        """Every measured face once, in file order."""
        return list(dict.fromkeys((row["image"], row["face"]) for run in self.runs for row in run.faces))

    def crop(self, kind: str, key: FaceKey) -> Path | None:
        """The crop file of a face, ``kind`` being ``original`` or ``coded``; None where it was not kept."""
        paths = (run.directory / "crops" / kind / crop_name(*key) for run in self.runs)
        return next((path for path in paths if path.is_file()), None)


def codec_title(name: str) -> str:
    return CODEC_TITLES.get(name, name)


def embedder_title(name: str) -> str:
    return EMBEDDER_TITLES.get(name, name)


def collect_points(runs: Sequence[Run]) -> list[Point]:
    """The points of ``runs``: series in order of first appearance, falling rate within a series."""
    suffixes = _distinguishing_settings(runs)
    groups: dict[tuple, list[Run]] = {}
    for run, suffix in zip(runs, suffixes, strict=True):
        # Runs over the same images code them to the same bytes, so an equal rate tells one point from another.
        key = (run.summary["codec"], suffix, _text(run.summary["point"]), run.summary["bpp"], run.summary.get("data"))
        groups.setdefault(key, []).append(run)
    points = [_point(members, key[1]) for key, members in groups.items()]
    order = {series: index for index, series in reversed(list(enumerate(point.series for point in points)))}
    return sorted(points, key=lambda point: (order[point.series], -point.bpp))


def embedders_of(points: Sequence[Point]) -> list[str]:
    """Every recogniser measured at any point, in order of first appearance."""
    return list(dict.fromkeys(name for point in points for name in point.similarity))


def series_of(points: Sequence[Point]) -> dict[str, list[Point]]:
    """The points of every series, in the order of `collect_points`."""
    series: dict[str, list[Point]] = {}
    for point in points:
        series.setdefault(point.series, []).append(point)
    return series


def _point(runs: list[Run], suffix: str) -> Point:
    first = runs[0].summary
    short = ", ".join(
        f"{POINT_TITLES.get(name, name)} {_text(value)}".strip() for name, value in first["point"].items()
    )
    title = codec_title(first["codec"])
    similarity = {
        name: Similarity(
            value["mean"], _interval(value["ci95"]), value["calibrated_mean"], _interval(value["calibrated_ci95"])
        )
        for run in runs
        for name, value in run.summary["similarity"].items()
    }
    return Point(
        codec=first["codec"],
        series=f"{title} ({suffix})" if suffix else title,
        title=" ".join(filter(None, [title, short, f"({suffix})" if suffix else ""])),
        short=short,
        qp=first["qp"],
        quality=first["point"].get("quality"),
        images=first["images"],
        faces=first["faces"],
        bpp=first["bpp"],
        bpp_total=first["bpp_total"],
        psnr=first["psnr"],
        similarity=similarity,
        runs=tuple(runs),
    )


def _distinguishing_settings(runs: Sequence[Run]) -> list[str]:
    """For every run the settings, beside its point, in which the runs of its codec differ: ``preset fast``."""
    settings = [_settings(run) for run in runs]
    suffixes = []
    for run, own in zip(runs, settings, strict=True):
        peers = [other for other, peer in zip(settings, runs, strict=True) if peer.summary["codec"] == _codec(run)]
        names = dict.fromkeys(name for peer in peers for name in peer)
        varying = [name for name in names if len({peer.get(name) for peer in peers}) > 1]
        # Its digest names the data only where nothing readable does.
        if any(name.partition(".")[0] in ("source", "faces", "detector") for name in varying):
            varying = [name for name in varying if name != "data"]
        suffixes.append(", ".join(_setting(name, own[name]) for name in varying if own.get(name)))
    return suffixes


def _settings(run: Run) -> dict[str, str]:
    summary = run.summary
    parameters = {
        name: _text(value)
        for name, value in summary["parameters"].items()
        if name not in summary["point"] and not any(word in name for word in _WEIGHTS)
    }
    measured = {
        f"{part}.{name}": _text(value)
        for part in ("faces", "detector")
        for name, value in summary.get("settings", {}).get(part, {}).items()
    }
    data = {"source": _text(summary.get("source")), "detector": _text(summary.get("detector")), **measured}
    return {**parameters, **data, "data": _text(summary.get("data"))}


def _setting(name: str, value: str) -> str:
    return value if name in ("variant", "source", "detector") else f"{name} {value}"


def _codec(run: Run) -> str:
    return run.summary["codec"]


def _interval(limits: Sequence[float | None] | None) -> tuple[float, float] | None:
    return None if limits is None or limits[0] is None else (limits[0], limits[1])


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return f"{value:g}" if isinstance(value, float) else str(value)
