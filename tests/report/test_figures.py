import xml.etree.ElementTree

import pytest
from PIL import Image

from icm.evaluation.measures import Subject, of_task
from icm.evaluation.results import load_run
from icm.report import figures
from icm.report.points import collect_points

SIMILARITY, CALIBRATED = of_task("faces")[:2]
(PSNR,) = of_task("coding")
DLIB, ARCFACE = Subject("dlib", "none"), Subject("arcface", "none")


@pytest.fixture
def points(runs):
    return collect_points(runs)


def texts(svg: str) -> list[str]:
    root = xml.etree.ElementTree.fromstring(svg)
    return [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_curves_carry_their_names_and_points(points):
    found = texts(figures.svg_text(figures.measure_figure(points, SIMILARITY, DLIB)))
    assert {"Dlib", "VVC", "SA-ICM", "No codec", "QP 40", "37", "35", "32", "1", "bits per pixel"} <= set(found)


def test_curves_go_through_the_measured_means(points):
    (axes,) = figures.measure_figure(points, SIMILARITY, ARCFACE).axes
    line = next(line for line in axes.lines if len(line.get_xdata()) == 4 and line.get_linestyle() == "-")
    assert list(line.get_xdata()) == pytest.approx([0.5, 0.36, 0.27, 0.17])
    assert list(line.get_ydata()) == pytest.approx([0.92, 0.82, 0.72, 0.52])
    # Nothing uncoded stretches the rate axis.
    assert axes.get_xlim()[1] < 0.7


def test_svg_is_the_same_every_time(points):
    assert figures.svg_text(figures.measure_figure(points, PSNR, Subject())) == figures.svg_text(
        figures.measure_figure(points, PSNR, Subject())
    )


def test_overview_has_a_panel_per_recogniser(points):
    figure = figures.overview_figure(points, CALIBRATED)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Dlib", "ArcFace"]


def test_a_codec_keeps_its_colour_and_series_differ(points):
    colors = figures.series_colors(points)
    assert colors["VVC"] == figures.series_colors(points[4:] + points[:4])["VVC"]
    assert len(set(colors.values())) == 3


def test_strip_shows_the_original_and_every_point(points, tmp_path):
    figure = figures.strip_figure(points[:4], points[0].face_keys()[:2])
    assert len(figure.axes) == 10
    assert sum(len(axes.images) for axes in figure.axes) == 10
    path = figures.save(figure, tmp_path / "strip.png")
    with Image.open(path) as image:
        assert image.width > 1000


def test_missing_crops_leave_a_gap(synthetic, tmp_path):
    points = collect_points([load_run(synthetic.write(tmp_path, crops=False))])
    figure = figures.strip_figure(points, points[0].face_keys())
    assert sum(len(axes.images) for axes in figure.axes) == 0


def test_single_points_and_lossless_runs_can_be_drawn(synthetic, tmp_path):
    points = collect_points([load_run(synthetic.write(tmp_path, "none", {}, 24.0, None))])
    for figure in (figures.measure_figure(points, SIMILARITY, DLIB), figures.measure_figure(points, PSNR, Subject())):
        assert figures.svg_text(figure).startswith("<?xml")
    assert figures.png_bytes(figures.spread_figure(points[0], SIMILARITY)).startswith(b"\x89PNG")


def test_other_suffixes_are_refused(points, tmp_path):
    with pytest.raises(ValueError, match=r"\.svg, \.png or \.jpg"):
        figures.save(figures.measure_figure(points, PSNR, Subject()), tmp_path / "a.pdf")


@pytest.mark.parametrize(
    ("positions", "expected"),
    [([], []), ([1.0, 5.0], [1.0, 5.0]), ([1.0, 1.0], [0.5, 1.5]), ([1.0, 1.5, 9.0], [0.75, 1.75, 9.0]),
     ([0.0, 1.2, 1.3], [-0.166667, 0.833333, 1.833333])],
)  # fmt: skip
def test_labels_are_moved_apart_and_stay_centred(positions, expected):
    assert figures.spread(positions, 1.0) == pytest.approx(expected, abs=1e-5)
