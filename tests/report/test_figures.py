import json
import xml.etree.ElementTree

import pytest
from matplotlib.text import Text
from PIL import Image

from icm.evaluation.measures import Subject, of_task
from icm.evaluation.results import load_run, load_runs
from icm.report import figures, paper
from icm.report.equal_rate import pareto_front
from icm.report.labels import overlaps
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
    line = next(line for line in axes.lines if len(line.get_xdata()) == 4 and line.get_marker() == "o")
    assert list(line.get_xdata()) == pytest.approx([0.5, 0.36, 0.27, 0.17])
    assert list(line.get_ydata()) == pytest.approx([0.92, 0.82, 0.72, 0.52])
    # Nothing uncoded stretches the rate axis.
    assert axes.get_xlim()[1] < 0.7


@pytest.fixture(scope="module")
def crowded(synthetic, tmp_path_factory):
    """Six curves of four points close to each other, one with a very long name."""
    folder = tmp_path_factory.mktemp("crowded")
    series = [
        "VVC",
        "JPEG",
        "SA-ICM",
        "SA-ICM control",
        "AV1",
        "a network, preset veryslow, trained on a long-named set",
    ]
    codecs = ["vvc", "jpeg", "sa_icm", "sa_icm", "av1", "other"]
    titles = {name: f"{name}, classifier trained on coded faces" for name in ("dlib", "arcface", "sface")}
    for job in range(24):
        curve, step = job % 6, job // 6
        scores = {"dlib": [0.95 - 0.1 * step - 0.015 * curve + n / 100 for n in range(4)],
                  "sface": [0.97 - 0.1 * step - 0.015 * curve + n / 100 for n in range(4)],
                  "arcface": [0.9 - 0.1 * step - 0.015 * curve + n / 100 for n in range(4)]}  # fmt: skip
        synthetic.write(folder / str(job), codecs[curve], {"qp": 30 + step}, 0.4 * 0.75**step + curve / 90, 34.0 - step,
                        scores, series=series[curve], crops=False, titles=titles)  # fmt: skip
    return collect_points(load_runs(folder))


@pytest.mark.parametrize("width", ["column", "page"])
def test_no_label_covers_another_or_leaves_the_figure(crowded, width):
    privacy, utility = (CALIBRATED, DLIB), (PSNR, Subject())
    drawn = [
        figures.measure_figure(crowded, SIMILARITY, DLIB, width),
        figures.overview_figure(crowded, CALIBRATED, width),
        figures.trade_off_figure(crowded, privacy, utility, pareto_front(crowded, privacy, utility), width),
    ]
    for figure in drawn:
        assert figure.get_figwidth() == figures.WIDTHS[width]
        assert overlaps(figure) == []
        inside = figure.bbox.padded(1)
        renderer = figure.canvas.get_renderer()
        for text in figure.findobj(Text):
            if text.get_text() and text.get_visible():
                (x0, y0), (x1, y1) = text.get_window_extent(renderer).get_points()
                assert inside.contains(x0, y0), text
                assert inside.contains(x1, y1), text


def test_overlaps_are_found(points):
    figure = figures.measure_figure(points, SIMILARITY, DLIB)
    for word in ("one", "other"):
        figure.axes[0].text(0.3, 0.8, word)
    assert ("one", "other") in overlaps(figure)


def test_curves_differ_in_grey_and_show_on_both_papers(crowded):
    looks = figures.series_looks(crowded)
    assert len({(marker, dashes) for _, marker, dashes in looks.values()}) == len(looks) == 6
    for color in figures.PALETTE:
        light = luminance(color)
        assert (luminance("#ffffff") + 0.05) / (light + 0.05) >= 3
        assert (light + 0.05) / (luminance("#1b1f23") + 0.05) >= 3


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_fonts_travel_with_the_file(points, tmp_path):
    figure = figures.measure_figure(points, SIMILARITY, DLIB)
    pdf = figures.save(figure, tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert "<text" not in figures.save(figure, tmp_path / "a.svg").read_text(encoding="utf-8")
    assert pdf == figures.save(figure, tmp_path / "b.pdf").read_bytes()


def test_recognition_curves_are_drawn_for_the_points_that_have_them(synthetic, tmp_path):
    curves = [{"kind": kind, "embedder": "dlib", "attack": "none", "x": x, "y": y} for kind, x, y in (
        ("det", [0.0, 0.01, 1], [1, 0.5, 0.1]), ("cmc", [1, 2], [0.5, 1]), ("genuine", [0, 0.5, 1], [1, 2]),
        ("impostor", [0, 0.5, 1], [2, 1]))]  # fmt: skip
    directory = synthetic.write(tmp_path)
    (directory / "curves.json").write_text(json.dumps(curves), encoding="utf-8")
    points = collect_points([load_run(directory)])
    det, cmc, genuine = (figures.recognition_figure(points, kind, DLIB) for kind in ("det", "cmc", "genuine"))
    # A rate of 0 has no place on a logarithmic axis.
    assert list(det.axes[0].lines[0].get_xdata()) == [0.01, 1]
    assert list(cmc.axes[0].lines[0].get_ydata()) == [0.5, 1]
    assert {text.get_text() for text in genuine.legends[0].get_texts()} == {"genuine", "impostor"}


def test_recognition_without_any_error_has_no_det_curve_and_a_cmc_curve_all_the_same(synthetic, tmp_path):
    curves = [{"kind": "det", "embedder": "dlib", "attack": "none", "x": [0.0, 0.5, 1], "y": [0.5, 0, 0]},
              {"kind": "cmc", "embedder": "dlib", "attack": "none", "x": [1, 2], "y": [1, 1]}]  # fmt: skip
    run = load_run(synthetic.write(tmp_path / "run"))
    (run.directory / "curves.json").write_text(json.dumps(curves), encoding="utf-8")
    written = {path.name for path in paper.write_figures([run], tmp_path / "figures")}
    assert "cmc_dlib.pdf" in written
    assert "det_dlib.pdf" not in written
    cmc = figures.recognition_figure(collect_points([run]), "cmc", DLIB)
    assert cmc.axes[0].get_ylim()[0] == 0


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
    with pytest.raises(ValueError, match=r"\.pdf, \.svg, \.png, \.jpg"):
        figures.save(figures.measure_figure(points, PSNR, Subject()), tmp_path / "a.eps")
