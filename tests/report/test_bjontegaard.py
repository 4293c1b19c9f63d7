"""Bjontegaard differences of a set of runs: which there are, from what numbers, and where they are shown."""

import csv
import json

import numpy as np
import pytest

from icm.evaluation.measures import Subject
from icm.evaluation.results import load_run, load_runs, rows_to_csv
from icm.metrics.bjontegaard import Curve, bd_rate
from icm.metrics.resampling import image_weights, resampled_means
from icm.report.bjontegaard import RESAMPLES, bd_entries
from icm.report.html import render
from icm.report.paper import write_latex
from icm.report.points import collect_points
from icm.report.write import write_reports

IMAGES = ["b.png", "a.png", "c.png", "d.png"]
# Bits per pixel of every image at four points; the pictures differ far more than the codecs do.
RATES = np.array([0.05, 0.1, 0.2, 0.4])[:, None] * np.array([0.5, 1.0, 2.0, 3.0])
PSNR = np.array([26.0, 29, 32, 35])[:, None] - np.array([0.0, 2, 5, 6])
FACES = [(name, 0) for name in IMAGES]


def write_curve(synthetic, folder, codec, rates, psnr, similarity, more=None):
    """The runs of a codec; ``more``: further columns of images.csv, estimates and replicates of each point."""
    for index in range(len(rates)):
        columns, estimates, replicates = more(index) if more else ({}, [], {})
        own = {"measure": "psnr", "value": float(psnr[index].mean()), "low": None, "high": None, "n": 4, "units": 4}
        names = {"measure": "cosine_similarity", "embedder": "dlib", "attack": "none"}
        faces = {**own, **names, "value": float(similarity[index].mean())}
        run = load_run(
            synthetic.write(
                folder / f"{codec}{index}", codec, {"quality": index}, float(rates[index].mean()), 30.0,
                {"dlib": similarity[index].tolist()}, faces=FACES, crops=False,
                estimates=[own, faces, *estimates], seed=5,
            )
        )  # fmt: skip
        for row, rate, value in zip(run.images, rates[index], psnr[index], strict=True):
            row |= {"bpp": float(rate), "psnr": float(value), **columns}
        (run.directory / "images.csv").write_text(rows_to_csv(run.images[0], run.images))
        (run.directory / "replicates.json").write_text(json.dumps(replicates))


def entry(entries, of, equal):
    (found,) = [e for e in entries if (e.of and e.of[0].key, e.equal and e.equal[0].key) == (of, equal)]
    return found


@pytest.fixture
def two_curves(synthetic, tmp_path):
    """WebP needs 0.8 of JPEG's rate for the same pictures, and keeps less of the faces in them."""
    similarity = np.array([0.7, 0.8, 0.88, 0.92])[:, None] + np.array([0.01, 0, -0.01, 0.02])
    write_curve(synthetic, tmp_path, "jpeg", RATES, PSNR, similarity)
    write_curve(synthetic, tmp_path, "vvc", 0.8 * RATES, PSNR, similarity - 0.1)
    return tmp_path


def test_known_shifts_and_what_each_is_at_equal_terms(two_curves):
    entries = bd_entries(collect_points(load_runs(two_curves)))
    # VVC is everyone's baseline, so it is the anchor.
    assert {(e.anchor, e.test) for e in entries} == {("VVC", "JPEG")}
    rate = entry(entries, None, "psnr")
    assert rate.found.value == pytest.approx(0.25)
    assert rate.found.value == pytest.approx(
        bd_rate(Curve(0.8 * RATES.mean(1), PSNR.mean(1)), Curve(RATES.mean(1), PSNR.mean(1))).value
    )
    # Paired image by image, the same shift in every resample.
    assert rate.found.ci95 == pytest.approx((0.25, 0.25))
    same = entry(entries, "cosine_similarity", "psnr")
    assert same.found.value == pytest.approx(0.1)
    assert same.found.ci95 == pytest.approx((0.1, 0.1))
    assert same.subject == Subject("dlib", "none")
    # At equal rate JPEG is behind in PSNR, and its faces are the less different.
    assert entry(entries, "psnr", None).found.value < 0
    assert 0 < entry(entries, "cosine_similarity", None).found.value < 0.1


def test_they_are_in_the_report_a_csv_and_latex(two_curves):
    runs = load_runs(two_curves)
    paths = write_reports(runs, two_curves)
    assert two_curves / "bd.csv" in paths
    rows = list(csv.DictReader((two_curves / "bd.csv").open()))
    (rate,) = [row for row in rows if row["difference"] == "rate"]
    assert (rate["anchor"], rate["test"], rate["equal"], rate["value"]) == ("VVC", "JPEG", "psnr", "0.250000")
    (equal,) = [row for row in rows if (row["difference"], row["equal"]) == ("cosine_similarity", "psnr")]
    assert (equal["embedder"], equal["value"], equal["fitted"]) == ("dlib", "0.100000", "0")
    page = (two_curves / "report.html").read_text()
    assert "Bjontegaard differences" in page
    assert "+25.0 %" in page
    write_latex(runs, two_curves)
    assert r"+25.0 \%" in (two_curves / "bd.tex").read_text()


def test_rates_are_drawn_with_the_average_precision(synthetic, tmp_path):
    """An AP that is a function of the rate drawn: then every resample has the same difference in rate."""
    measured = [1, 2, 3]  # the first picture does not concern the detector
    weights = image_weights(3, RESAMPLES, 5)
    order = np.argsort(np.array(IMAGES)[measured])

    def detected(factor):
        def more(index):
            own = (RATES[index] * factor)[measured][order]
            replicates = np.log(resampled_means(own / factor, weights)) / 10 + 0.5
            value = float(np.log(own.mean() / factor) / 10 + 0.5)
            estimate = {"measure": "ap", "model": "rcnn", "value": value, "low": 0, "high": 1, "n": 3, "units": 3}
            return {}, [estimate], {"ap|||rcnn": replicates.tolist()}

        return more

    for codec, factor in (("jpeg", 1.0), ("vvc", 0.8)):
        write_curve(synthetic, tmp_path, codec, RATES * factor, PSNR, PSNR / 50, detected(factor))
        for index in range(4):
            path = tmp_path / f"{codec}{index}" / "images.csv"
            lines = path.read_text().splitlines()
            found = ["detection_found", "", "3", "0", "1"]
            path.write_text("\n".join(f"{line},{cell}" for line, cell in zip(lines, found, strict=True)) + "\n")
    entries = bd_entries(collect_points(load_runs(tmp_path)))
    rate = entry(entries, None, "ap").found
    assert rate.value == pytest.approx(0.25)
    assert rate.ci95 == pytest.approx((0.25, 0.25))
    assert entry(entries, "cosine_similarity", "ap").found.value is not None


def test_what_cannot_be_compared_says_why_once(synthetic, tmp_path, runs):
    write_curve(synthetic, tmp_path, "jpeg", RATES, PSNR, PSNR / 50)
    write_curve(synthetic, tmp_path, "vvc", RATES * 100, PSNR + 40, PSNR / 50)
    # In similarity at equal rate as much as in rate at equal PSNR.
    (only,) = bd_entries(collect_points(load_runs(tmp_path)))
    assert (only.found.value, only.remark) == (None, "the curves do not overlap")
    assert "the curves do not overlap" in render(load_runs(tmp_path), "Title", {})
    (few,) = bd_entries(collect_points(runs))
    assert few.remark == "the test curve has 2 points of different rate, 4 are needed"


def test_other_pictures_are_never_compared(synthetic, tmp_path):
    write_curve(synthetic, tmp_path, "jpeg", RATES, PSNR, PSNR / 50)
    for index in range(4):
        synthetic.write(tmp_path / f"vvc{index}", "vvc", {"qp": index}, 0.1 + index, data="other")
    assert bd_entries(collect_points(load_runs(tmp_path))) == []
