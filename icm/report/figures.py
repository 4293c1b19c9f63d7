"""Curves, spreads and strips of face crops with matplotlib.

Every function returns a `matplotlib.figure.Figure` and keeps no global state; `save` and `svg_text` give the same
bytes for the same runs. Text is drawn in `INK` and `MUTED`, lines of the axes in `GRID`, and nothing else in these
colours, so that a page can recolour them for its own background.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from icm.evaluation.measures import Estimate, Measure, Subject
from icm.files import atomic_write
from icm.report.points import FaceKey, Point, measures_of, series_of, subject_title

INK, MUTED, GRID = "#1c2127", "#6a737e", "#d9dde2"
# Mid-tones that keep their contrast on white and on near-black; codecs keep theirs from figure to figure.
COLORS = {
    "vvc": "#2f74d8", "sa_icm": "#e0561c", "jpeg": "#b08207", "hevc": "#0f9393", "av1": "#3f9142", "webp": "#c4336c",
    "jpeg2000": "#8a6d4d", "avif": "#6d5fd6", "jxl": "#4b8b9e",
}  # fmt: skip
SPARE_COLORS = ("#9a4fc4", "#7d8590", "#c76a6a", "#5f9c2f", "#b35c9e", "#4f6fae")
MARKERS = "osD^vP*X"
RATE_TICKS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5)
STYLE = {
    "svg.hashsalt": "icm",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "savefig.facecolor": "none",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def series_colors(points: Sequence[Point]) -> dict[str, str]:
    """A colour for every series: the codec's own, or a spare one for further series of the same codec."""
    spare = list(SPARE_COLORS)
    colors: dict[str, str] = {}
    for name, members in series_of(points).items():
        color = COLORS.get(members[0].codec)
        if color is None or color in colors.values():
            color = spare[0]
            spare.append(spare.pop(0))
        colors[name] = color
    return colors


def _figure(width: float, height: float, rows: int = 1, columns: int = 1):
    """A figure of inches with its (rows, columns) axes, drawn with this module's style."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def _tidy(axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.margins(y=0.1)
    axes.tick_params(length=3)


def _title(axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=10.5, fontweight="bold", color=INK)


def measure_figure(points: Sequence[Point], measure: Measure, subject: Subject):
    """A measure of one subject against bpp: a line per codec, 95 % bars, points labelled."""
    figure, axes = _figure(4.8, 3.5)
    _draw_measure(axes[0][0], points, measure, subject)
    return figure


def overview_figure(points: Sequence[Point], measure: Measure):
    """The curves of every subject of a measure in one figure, three to a row."""
    subjects = measures_of(points)[measure]
    columns = min(3, len(subjects))
    rows = -(-len(subjects) // columns)
    figure, axes = _figure(4.6 * columns, 3.4 * rows, rows, columns)
    for axis, subject in zip(axes.flat, subjects, strict=False):
        _draw_measure(axis, points, measure, subject)
    for axis in axes.flat[len(subjects) :]:
        axis.set_visible(False)
    return figure


def _draw_measure(axes, points: Sequence[Point], measure: Measure, subject: Subject) -> None:
    _draw_curves(axes, points, {point.title: point.estimate(measure.key, subject) for point in points})
    _title(axes, subject_title(points, subject) or "Picture quality")
    axes.set_ylabel(measure.axis)


def _draw_curves(axes, points: Sequence[Point], estimates: Mapping[str, Estimate | None]) -> None:
    def value(point: Point) -> float | None:
        found = estimates[point.title]
        return None if found is None else found.value

    def limits(point: Point) -> tuple[float, float] | None:
        return estimates[point.title].interval

    colors = series_colors(points)
    shown = [point for point in points if value(point) is not None]
    series = series_of([point for point in shown if not point.is_ceiling])
    lines = {name: [(point.bpp, value(point)) for point in members] for name, members in series.items()}
    ends = []
    for index, (name, members) in enumerate(series.items()):
        rates, heights = [point.bpp for point in members], [value(point) for point in members]
        color, marker = colors[name], MARKERS[index % len(MARKERS)]
        bars = [limits(point) or (height, height) for point, height in zip(members, heights, strict=True)]
        below = [max(0.0, height - low) for height, (low, _) in zip(heights, bars, strict=True)]
        above = [max(0.0, high - height) for height, (_, high) in zip(heights, bars, strict=True)]
        axes.errorbar(rates, heights, yerr=[below, above], color=color, marker=marker, markersize=5, linewidth=1.8,
                      elinewidth=1.1, capsize=2.5)  # fmt: skip
        if len(rates) > 1:
            axes.fill_between(rates, [low for low, _ in bars], [high for _, high in bars], color=color, alpha=0.1,
                              linewidth=0)  # fmt: skip
        for position, point in enumerate(members):
            # The kind of number once for each curve ("QP 37"), then the numbers alone.
            text = point.short if position == len(members) - 1 else point.short.split(" ")[-1]
            text = text.replace("quality", "q")
            # Curves rise, so right below and left above a point are free of its own line.
            below_others = _nearest_is_above(
                point.bpp, value(point), [lines[other] for other in lines if other != name]
            )
            offset, side = ((4, -11), "left") if below_others else ((-4, 5), "right")
            axes.annotate(text, (point.bpp, value(point)), xytext=offset, ha=side, fontsize=7.5,
                          textcoords="offset points", color=color)  # fmt: skip
        ends.append((name, rates[0], heights[0], color))
    ceilings = [point for point in shown if point.is_ceiling]
    for point in ceilings:
        axes.axhline(value(point), color=colors[point.series], linewidth=1, linestyle=(0, (4, 3)))
        ends.append((point.series, None, value(point), colors[point.series]))
    _rate_axis(axes, [point.bpp for point in shown if not point.is_ceiling])
    _tidy(axes)
    _label_ends(axes, ends)


def _nearest_is_above(bpp: float, height: float, others: list[list[tuple[float, float]]]) -> bool:
    """Whether the curve nearest to a dot passes above it; also true where there is no other curve."""
    import numpy as np

    gaps = []
    for curve in others:
        rates, heights = zip(*sorted(curve), strict=True)
        gaps.append(float(np.interp(np.log(bpp), np.log(rates), heights)) - height)
    return not gaps or min(gaps, key=abs) > 0


def _rate_axis(axes, rates: list[float]) -> None:
    """A logarithmic bpp axis with plain numbers and room at the right for the names of the curves."""
    axes.set_xlabel("bits per pixel")
    if not rates:
        axes.set_xticks([])
        axes.set_xlim(0.1, 1)
        return
    margin = max(1.12, (max(rates) / min(rates)) ** 0.1)
    low, high = min(rates) / margin, max(rates) * margin
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [tick for tick in RATE_TICKS if low <= tick <= high] or [round(rates[0], 3)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def _label_ends(axes, ends: list[tuple[str, float | None, float, str]]) -> None:
    """Write the name of every curve right of the axes, beside its end, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    height = axes.figure.get_size_inches()[1] / max(1, axes.get_gridspec().nrows) * 0.72
    gap = 11.5 / 72 / height * (high - low)
    ordered = sorted(ends, key=lambda end: end[2])
    heights = spread([end[2] for end in ordered], gap)
    for (name, _, at, color), y in zip(ordered, heights, strict=True):
        line = {"arrowstyle": "-", "color": color, "linewidth": 0.6, "alpha": 0.6, "shrinkA": 0, "shrinkB": 0}
        axes.annotate(name, (1.0, at), xytext=(1.03, (y - low) / (high - low)), xycoords=axes.get_yaxis_transform(),
                      textcoords="axes fraction", color=color, fontsize=8.5, fontweight="bold", va="center",
                      arrowprops=line, annotation_clip=False)  # fmt: skip


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Ascending positions moved as little as a single pass of merging allows, so that neighbours are ``gap`` apart."""
    groups: list[list[float]] = []
    for position in positions:
        groups.append([position])
        while len(groups) > 1 and _top(groups[-2], gap) + gap > _bottom(groups[-1], gap):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_bottom(group, gap) + index * gap for group in groups for index in range(len(group))]


def _bottom(group: list[float], gap: float) -> float:
    return sum(group) / len(group) - gap * (len(group) - 1) / 2


def _top(group: list[float], gap: float) -> float:
    return sum(group) / len(group) + gap * (len(group) - 1) / 2


def spread_figure(point: Point, measure: Measure):
    """A measure's value of every face at one operating point, a column per subject, with mean and 95 % interval."""
    import numpy as np

    subjects = measures_of([point])[measure]
    figure, axes = _figure(max(3.2, 1.2 * len(subjects) + 1), 3.4)
    axis = axes[0][0]
    for index, subject in enumerate(subjects):
        scores = list(point.scores(measure.key, subject).values())
        jitter = np.random.default_rng(0).uniform(-0.16, 0.16, len(scores))
        axis.scatter(index + jitter, scores, s=10, color=COLORS["vvc"], alpha=0.45, linewidth=0)
        found = point.estimates[measure.key, subject]
        low, high = found.interval or (found.value, found.value)
        axis.errorbar([index + 0.3], [found.value], yerr=[[found.value - low], [high - found.value]], fmt="D",
                      color=COLORS["sa_icm"], markersize=5, capsize=3)  # fmt: skip
    axis.set_xticks(range(len(subjects)), [subject_title([point], subject) for subject in subjects])
    axis.set_ylabel(measure.axis)
    _title(axis, f"{point.title}, {point.bpp:.3f} bpp")
    _tidy(axis)
    return figure


def first_of_faces(points: Sequence[Point]) -> tuple[Measure, Subject] | None:
    """The measure and subject whose number stands under a face: the first that has one for every face."""
    found = ((measure, subjects[0]) for measure, subjects in measures_of(points).items() if measure.of == "faces")
    return next(found, None)


def strip_figure(points: Sequence[Point], faces: Sequence[FaceKey]):
    """Original and coded crops: a row per face of ``faces``, a column per point; the first measure's value under each.

    A crop that was not kept leaves its place empty.
    """
    import numpy as np
    from PIL import Image

    first = first_of_faces(points)
    figure, axes = _figure(1.25 * (len(points) + 1), 1.5 * len(faces) + 0.25, len(faces), len(points) + 1)
    scores = [point.scores(first[0].key, first[1]) if first else {} for point in points]
    for row, key in enumerate(faces):
        original = next((path for point in points if (path := point.crop("original", key))), None)
        cells = [(original, "original", "")]
        for point, found in zip(points, scores, strict=True):
            value = f"{found[key]:.3f}" if key in found else ""
            title = textwrap.fill(point.title, 18)
            cells.append((point.crop("coded", key), f"{title}\n{point.bpp:.2f} bpp", value))
        for axis, (path, title, value) in zip(axes[row], cells, strict=True):
            axis.set_axis_off()
            if path is not None:
                with Image.open(path) as image:
                    axis.imshow(np.asarray(image.convert("RGB")), interpolation="lanczos")
            if row == 0:
                axis.set_title(title, fontsize=8, loc="center", color=INK)
            axis.text(0.5, -0.04, value, transform=axis.transAxes, ha="center", va="top", fontsize=8, color=MUTED)
    return figure


def svg_text(figure, salt: str = "icm") -> str:
    """The figure as an SVG document without date; ``salt`` sets the ids of its shared shapes."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": salt}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def png_bytes(figure) -> bytes:
    """The figure as a PNG file with 200 pixels an inch on white."""
    import matplotlib

    data = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(data, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    return data.getvalue()


def jpeg_bytes(figure) -> bytes:
    """The figure as a JPEG file with 110 pixels an inch on white: for pictures of photographs."""
    import matplotlib

    data = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(data, format="jpg", dpi=110, facecolor="white", pil_kwargs={"quality": 88, "optimize": True})
    return data.getvalue()


def save(figure, path: Path | str) -> Path:
    """Write the figure as the suffix says, ``.svg``, ``.png`` or ``.jpg``; ValueError for another."""
    path = Path(path)
    writers = {".svg": svg_text, ".png": png_bytes, ".jpg": jpeg_bytes}
    if path.suffix not in writers:
        raise ValueError(f"{path}: figures are written as .svg, .png or .jpg")
    return atomic_write(path, writers[path.suffix](figure))
