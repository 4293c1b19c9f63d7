"""Curves, spreads and strips of face crops with matplotlib, for papers and pages.

Every function returns a `matplotlib.figure.Figure` and keeps no global state; `save` and `svg_text` give the same
bytes for the same runs. Codecs are told apart by colour (after Okabe and Ito, "Color Universal Design", 2008, with the
contrast that white and black pages need), by marker and by line, so that a figure reads in grey as well. Text is drawn
in `INK` and `MUTED`, lines of the axes in `GRID`, and nothing else in these colours, so that a page can recolour them.
"""

import io
import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from icm.evaluation.measures import Measure, Subject
from icm.files import atomic_write
from icm.report.curves import Curve
from icm.report.labels import Label, place_labels
from icm.report.points import FaceKey, Point, measures_of, series_of, subject_title

INK, MUTED, GRID = "#1c2127", "#5b646e", "#d9dde2"
PALETTE = ("#0072b2", "#d55e00", "#ad7400", "#009e73", "#2e8fc9", "#c2628f", "#7a5fc0", "#857700", "#777777")
COLORS = dict(zip(("vvc", "sa_icm", "jpeg", "hevc", "av1", "webp", "avif", "jpeg2000", "jxl"), PALETTE, strict=True))
MARKERS = "osD^vP*X"
DASHES = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))
RATE_TICKS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10, 24)
# Inches: a column and a page of a two-column paper.
WIDTHS = {"column": 3.4, "page": 7.0}
SIZE, SMALL = 8.0, 6.5
STYLE = {
    "svg.hashsalt": "icm",
    "pdf.fonttype": 42,
    "font.family": "DejaVu Sans",
    "font.size": SIZE,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "savefig.facecolor": "none",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def series_colors(points: Sequence[Point]) -> dict[str, str]:
    """A colour for every series: the codec's own, or one that no codec here has for its further series."""
    colors: dict[str, str] = {}
    series = series_of(points)
    own = {COLORS.get(members[0].codec) for members in series.values()}
    spare = [color for color in PALETTE if color not in own] or list(PALETTE)
    for name, members in series.items():
        color = COLORS.get(members[0].codec)
        if color is None or color in colors.values():
            color = spare[0]
            spare.append(spare.pop(0))
        colors[name] = color
    return colors


def series_looks(points: Sequence[Point]) -> dict[str, tuple[str, str, tuple[float, ...]]]:
    """Colour, marker and dashes of every series."""
    colors = series_colors(points)
    return {name: (color, MARKERS[index % len(MARKERS)], DASHES[index % len(DASHES)])
            for index, (name, color) in enumerate(colors.items())}  # fmt: skip


def _figure(width: float, height: float, rows: int = 1, columns: int = 1):
    """A figure of inches with its (rows, columns) axes, drawn with this module's style."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.grid(axis="y")
        axis.set_axisbelow(True)
        axis.margins(y=0.1)
        axis.tick_params(length=3, labelsize=SIZE - 0.5)
    return figure, axes


def _fix_ticks(axis) -> None:
    """Keep the ticks that are seen: matplotlib makes, and hides, some beyond the ends."""
    low, high = sorted(axis.get_view_interval())
    axis.set_ticks([tick for tick in axis.get_ticklocs() if low <= tick <= high])


def _title(axes, text: str) -> None:
    """A panel's title, in as many lines as the panel is narrow."""
    columns = axes.get_subplotspec().get_gridspec().ncols
    room = (axes.figure.get_figwidth() / columns - 0.45) * 72
    text = textwrap.fill(text, max(12, int(room / (0.6 * SIZE))))
    axes.set_title(text, loc="left", fontsize=SIZE + 0.5, fontweight="bold", color=INK)


# Curves --------------------------------------------------------------------------------------------------------------


def measure_figure(points: Sequence[Point], measure: Measure, subject: Subject, width: str = "column"):
    """A measure of one subject against bpp: a line per codec, 95 % bars, points labelled where there is room."""
    return _panels(points, [(measure, subject)], width)


def overview_figure(points: Sequence[Point], measure: Measure, width: str = "page"):
    """The curves of every subject of a measure in one figure."""
    return _panels(points, [(measure, subject) for subject in measures_of(points)[measure]], width)


def _panels(points: Sequence[Point], shown: Sequence[tuple[Measure, Subject]], width: str):
    columns = min(len(shown), 1 if width == "column" else 3)
    rows = -(-len(shown) // columns)
    figure, axes = _figure(WIDTHS[width], (2.5 if columns == 1 else 2.1) * rows + 0.3, rows, columns)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    drawn = [_draw_rates(axis, points, *which) for axis, which in zip(axes.flat, shown, strict=False)]
    _legend(figure, points, [point for found, _ in drawn for point in found])
    figure.draw_without_rendering()
    for axis, (measure, subject), (found, value) in zip(axes.flat, shown, drawn, strict=False):
        coded = [point for point in found if not point.is_ceiling]
        limits = [(point, point.estimates[measure.key, subject].interval) for point in coded]
        bars = [[(point.bpp, low_high[0]), (point.bpp, low_high[1])] for point, low_high in limits if low_high]
        _label_points(axis, points, coded, lambda point: point.bpp, value, bars)
    return figure


Value = Callable[[Point], float]


def _draw_rates(axes, points: Sequence[Point], measure: Measure, subject: Subject) -> tuple[list[Point], Value]:
    """Draw the curves of a panel; the points that are on it, and their heights."""

    def value(point: Point) -> float:
        return point.estimates[measure.key, subject].value

    looks = series_looks(points)
    having = [point for point in points if _value(point, measure, subject) is not None]
    coded = [point for point in having if not point.is_ceiling]
    for name, members in series_of(coded).items():
        color, marker, dashes = looks[name]
        rates, heights = [point.bpp for point in members], [value(point) for point in members]
        limits = [point.estimates[measure.key, subject].interval for point in members]
        bars = [limit or (height, height) for limit, height in zip(limits, heights, strict=True)]
        below = [max(0.0, height - low) for height, (low, _) in zip(heights, bars, strict=True)]
        above = [max(0.0, high - height) for height, (_, high) in zip(heights, bars, strict=True)]
        axes.errorbar(rates, heights, yerr=[below, above], fmt="none", ecolor=color, elinewidth=0.8, capsize=1.8)
        axes.plot(rates, heights, color=color, marker=marker, dashes=dashes or (1, 0), **_LINE)
    for point in having:
        if point.is_ceiling:
            color, _, dashes = looks[point.series]
            axes.axhline(value(point), color=color, linewidth=0.9, dashes=dashes or (4, 3))
    _rate_axis(axes, [point.bpp for point in coded])
    _fix_ticks(axes.yaxis)
    axes.set_ylabel(measure.axis)
    _title(axes, subject_title(points, subject) or measure.title)
    return having, value


_LINE = {"markersize": 4, "linewidth": 1.3, "markeredgewidth": 0.6, "markeredgecolor": "white"}


def _value(point: Point, measure: Measure, subject: Subject) -> float | None:
    found = point.estimate(measure.key, subject)
    return None if found is None else found.value


def _rate_axis(axes, rates: list[float]) -> None:
    """A logarithmic bpp axis with plain numbers."""
    axes.set_xlabel("bits per pixel")
    if not rates:
        axes.set_xticks([])
        axes.set_xlim(0.1, 1)
        return
    margin = max(1.12, (max(rates) / min(rates)) ** 0.08)
    low, high = min(rates) / margin, max(rates) * margin
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [tick for tick in RATE_TICKS if low <= tick <= high] or [round(rates[0], 3)]
    # Ticks that are close on this axis would run into each other.
    while len(ticks) > 5:
        ticks = ticks[::2]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def _legend(figure, points: Sequence[Point], shown: Sequence[Point]) -> None:
    """The series of the points shown below the axes, in as many columns as the width takes."""
    from matplotlib.lines import Line2D

    looks = series_looks(points)
    names = list(dict.fromkeys(point.series for point in points if point in shown))
    coded = {point.series for point in shown if not point.is_ceiling}
    handles = []
    for name in names:
        color, marker, dashes = looks[name]
        handles.append(Line2D([], [], color=color, marker=marker if name in coded else "", **_LINE))
        handles[-1].set_dashes(dashes or ((1, 0) if name in coded else (4, 3)))
    _legend_below(figure, handles, [textwrap.shorten(name, 44, placeholder="...") for name in names])


def _legend_below(figure, handles: Sequence, names: Sequence[str]) -> None:
    room = figure.get_figwidth() * 72 / (0.62 * (SIZE - 0.5))
    columns = max(1, int(room // (max(map(len, names), default=1) + 7)))
    figure.legend(handles, names, loc="outside lower left", ncols=min(columns, max(1, len(names))), handlelength=2.4,
                  frameon=False, fontsize=SIZE - 0.5)  # fmt: skip


def _label_points(
    axes, points: Sequence[Point], shown: Sequence[Point], x: Value, y: Value, bars: Sequence[list] = ()
) -> None:
    """The kind of number once for each curve ("QP 37"), then the numbers alone, clear of lines and bars if possible."""
    colors = series_colors(points)
    labels, curves = [], [*bars]
    for name, members in series_of(shown).items():
        curves.append([(x(point), y(point)) for point in members])
        for point in reversed(members):
            text = (point.short if point is members[-1] else point.short.split(" ")[-1]).replace("quality", "q")
            labels.append(Label(x(point), y(point), text, colors[name]))
    place_labels(axes, labels, curves, SMALL)


def trade_off_figure(
    points: Sequence[Point],
    privacy: tuple[Measure, Subject],
    utility: tuple[Measure, Subject],
    front: Sequence[Point],
    width: str = "column",
):
    """Privacy against utility: a line per codec, and the Pareto front over all of them.

    Args:
        points: What to draw, also what has no rate; those without either number are left out.
        privacy, utility: Measure and subject of the vertical and the horizontal axis.
        front: The points of the front (`icm.report.equal_rate.pareto_front`).
    """
    shown = [point for point in points if None not in (_value(point, *privacy), _value(point, *utility))]
    figure, ((axes,),) = _figure(WIDTHS[width], 2.8)

    def x(point: Point) -> float:
        return point.estimates[utility[0].key, utility[1]].value

    def y(point: Point) -> float:
        return point.estimates[privacy[0].key, privacy[1]].value

    for name, members in series_of(shown).items():
        color, marker, dashes = series_looks(points)[name]
        axes.plot([x(point) for point in members], [y(point) for point in members], color=color, marker=marker,
                  dashes=dashes or (1, 0), **_LINE)  # fmt: skip
    ordered = sorted(front, key=x)
    axes.plot([x(point) for point in ordered], [y(point) for point in ordered], color=INK, linewidth=3.5, alpha=0.15,
              drawstyle="steps-pre",
              solid_capstyle="round", zorder=1)  # fmt: skip
    axes.set_xlabel(utility[0].axis)
    axes.set_ylabel(privacy[0].axis)
    _title(axes, subject_title(points, privacy[1]) or privacy[0].title)
    axes.margins(x=0.08)
    _fix_ticks(axes.xaxis)
    _fix_ticks(axes.yaxis)
    _legend(figure, points, shown)
    figure.draw_without_rendering()
    _label_points(axes, points, shown, x, y)
    return figure


# Recognition ---------------------------------------------------------------------------------------------------------

_AXES = {
    "det": ("false match rate", "false non-match rate"),
    "cmc": ("rank", "identification rate"),
    "genuine": ("cosine similarity", "density"),
}


def recognition_figure(points: Sequence[Point], kind: str, subject: Subject, width: str = "column"):
    """DET or CMC curves of points, or their genuine and impostor similarities, of one recogniser under one attack.

    Args:
        points: One or a few of different codecs; those without such a curve are left out.
        kind: ``det``, ``cmc``, or ``genuine``: the distributions of both kinds of pairs, a panel for each point.
        subject: The recogniser and the attack.
    """
    curves = [
        (point, curve)
        for point in points
        for curve in point.curves
        if (curve.embedder, curve.attack) == (subject.embedder, subject.attack)
        and (curve.kind == kind or (kind, curve.kind) == ("genuine", "impostor"))
        and (kind != "det" or has_errors(curve))
    ]
    shown = list(dict.fromkeys(point.title for point, _ in curves)) if kind == "genuine" else [""]
    columns = min(len(shown), 1 if width == "column" else 3)
    rows = -(-len(shown) // columns)
    figure, axes = _figure(WIDTHS[width], (2.6 if kind != "genuine" else 1.6) * rows + 0.3, rows, columns)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    looks = series_looks(points)
    for point, curve in curves:
        color, _, dashes = looks[point.series]
        if kind == "genuine":
            axis = axes.flat[shown.index(point.title)]
            axis.stairs(curve.y, curve.x, color=color, fill=curve.kind == "genuine", alpha=0.35, linewidth=0)
            axis.stairs(
                curve.y, curve.x, color=color, linestyle="-" if curve.kind == "genuine" else ":", label=curve.kind
            )
            _title(axis, point.title)
        else:
            xy = _positive(curve.x, curve.y) if kind == "det" else list(zip(curve.x, curve.y, strict=True))
            x, y = zip(*xy, strict=True)
            axes.flat[0].plot(x, y, color=color, linewidth=1.3, dashes=dashes or (1, 0), label=point.title)
    for axis in axes.flat[: len(shown)]:
        axis.set_xlabel(_AXES[kind][0])
        axis.set_ylabel(_AXES[kind][1])
        for scale in (axis.set_xscale, axis.set_yscale) if kind == "det" else ():
            scale("log")
    if kind == "cmc":
        axes.flat[0].set_ylim(0, 1.03)
        axes.flat[0].xaxis.get_major_locator().set_params(integer=True)
    if kind != "genuine":
        _title(axes.flat[0], subject_title(points, subject))
    handles, names = axes.flat[0].get_legend_handles_labels()
    names = [textwrap.shorten(name, 44, placeholder="...") for name in names]
    _legend_below(figure, handles, names)
    return figure


def has_errors(curve: Curve) -> bool:
    """Whether a DET curve has a point that its two logarithmic axes can show: some error of either kind."""
    return any(x > 0 and y > 0 for x, y in zip(curve.x, curve.y, strict=True))


def _positive(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
    """The points of a curve that logarithmic axes can show."""
    return [pair for pair in zip(x, y, strict=True) if min(pair) > 0] or [(math.nan, math.nan)]


# Faces ---------------------------------------------------------------------------------------------------------------


def spread_figure(point: Point, measure: Measure):
    """A measure's value of every face at one operating point, a column per subject, with mean and 95 % interval."""
    import numpy as np

    subjects = measures_of([point])[measure]
    figure, ((axis,),) = _figure(max(3.2, 0.9 * len(subjects) + 1), 2.8)
    for index, subject in enumerate(subjects):
        scores = list(point.scores(measure, subject).values())
        jitter = np.random.default_rng(0).uniform(-0.16, 0.16, len(scores))
        axis.scatter(index + jitter, scores, s=8, color=COLORS["vvc"], alpha=0.45, linewidth=0)
        found = point.estimates[measure.key, subject]
        low, high = found.interval or (found.value, found.value)
        axis.errorbar([index + 0.3], [found.value], yerr=[[found.value - low], [high - found.value]], fmt="D",
                      color=COLORS["sa_icm"], markersize=4, capsize=2.5)  # fmt: skip
    names = [textwrap.fill(subject_title([point], subject), 12) for subject in subjects]
    axis.set_xticks(range(len(subjects)), names)
    axis.set_ylabel(measure.axis)
    _title(axis, f"{point.title}, {point.bpp:.3f} bpp")
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
    scores = [point.scores(first[0], first[1]) if first else {} for point in points]
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


# Files ---------------------------------------------------------------------------------------------------------------


def svg_text(figure, salt: str = "icm", outlines: bool = False) -> str:
    """The figure as an SVG document without date.

    Args:
        salt: Sets the ids of its shared shapes.
        outlines: Letters as shapes, so that it looks the same everywhere; else text in the reader's own font.
    """
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": salt, "svg.fonttype": "path" if outlines else "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _bytes(figure, format: str, **options) -> bytes:
    import matplotlib

    data = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(data, format=format, **options)
    return data.getvalue()


def png_bytes(figure) -> bytes:
    """The figure as a PNG file with 300 pixels an inch on white."""
    return _bytes(figure, "png", dpi=300, facecolor="white", metadata={"Software": None})


def pdf_bytes(figure) -> bytes:
    """The figure as a PDF file with its fonts embedded as TrueType."""
    return _bytes(figure, "pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})


def jpeg_bytes(figure) -> bytes:
    """The figure as a JPEG file with 110 pixels an inch on white: for pictures of photographs."""
    return _bytes(figure, "jpg", dpi=110, facecolor="white", pil_kwargs={"quality": 88, "optimize": True})


WRITERS: dict[str, Callable] = {
    ".pdf": pdf_bytes,
    ".svg": lambda figure: svg_text(figure, outlines=True),
    ".png": png_bytes,
    ".jpg": jpeg_bytes,
}


def save(figure, path: Path | str) -> Path:
    """Write the figure as the suffix says, ``.pdf``, ``.svg``, ``.png`` or ``.jpg``; ValueError for another."""
    path = Path(path)
    if path.suffix not in WRITERS:
        raise ValueError(f"{path}: figures are written as {', '.join(WRITERS)}")
    return atomic_write(path, WRITERS[path.suffix](figure))
