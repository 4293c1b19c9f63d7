import json
import math

import numpy as np
import pytest

from icm.evaluation.measures import Measure, Subject, of_task
from icm.evaluation.results import ResultsError, load_run, load_runs
from icm.metrics.statistics import paired_difference
from icm.report import equal_rate, findings
from icm.report.comparisons import compare
from icm.report.points import collect_points

SIMILARITY, CALIBRATED = of_task("faces")[:2]
RANK1 = Measure("rank1", "rank-1", "rank-1 rate", "lower is private", 3, "Found first.", "faces", "pairs", lambda x: x)
DLIB, ARCFACE = Subject("dlib", "none"), Subject("arcface", "none")
POINTS = (("vvc", {"qp": 30}, 0.4, 0.8), ("vvc", {"qp": 40}, 0.1, 0.4), ("jpeg", {"quality": 9}, 0.2, 0.5))


@pytest.fixture
def points(runs):
    return collect_points(runs)


@pytest.fixture
def identified(synthetic, tmp_path, monkeypatch):
    """A sweep with a measure of pairs, whose replicates are its value plus the same noise everywhere."""
    monkeypatch.setattr("icm.report.points.MEASURES", (RANK1,))
    noise = np.linspace(-0.05, 0.05, 101)
    for job, (codec, point, bpp, value) in enumerate(POINTS):
        rest = {"measure": "rank1", "embedder": "dlib", "low": 0.0, "high": 1.0, "n": 9, "units": 3}
        attacks = {"none": value, "projection": value + 0.1}
        estimates = [{**rest, "attack": attack, "value": found} for attack, found in attacks.items()]
        synthetic.write(tmp_path / str(job), codec, point, bpp, estimates=estimates)
        spread = noise * (2 if codec == "jpeg" else 1)
        replicates = {f"rank1|dlib|{entry['attack']}|": list(entry["value"] + spread) for entry in estimates}
        (tmp_path / str(job) / "replicates.json").write_text(json.dumps(replicates), encoding="utf-8")
    return tmp_path


def test_differences_of_faces_are_those_of_the_paired_test(points):
    curves = equal_rate.rate_curves(points, SIMILARITY, DLIB)
    for point in (point for point in points if point.series == "SA-ICM"):
        own, others = point.scores(SIMILARITY, DLIB), [p for p in points if p.series == "VVC"]
        expected = paired_difference(
            list(own.values()), point.bpp, [list(p.scores(SIMILARITY, DLIB).values()) for p in others],
            [p.bpp for p in others], clusters=[image for image, _ in own],
        )  # fmt: skip
        found = curves["SA-ICM"].minus(curves["VVC"], point.bpp)
        assert found.difference == pytest.approx(expected.difference, abs=1e-12)
        assert found.ci95 == pytest.approx(expected.ci95, abs=1e-12)


def test_a_curve_goes_through_its_points_and_stops_at_its_ends(points):
    curve = equal_rate.rate_curves(points, SIMILARITY, DLIB)["VVC"]
    for point in curve.points:
        estimate = point.estimate("cosine_similarity", DLIB)
        assert curve.estimate(point.bpp).value == pytest.approx(estimate.value)
        assert curve.estimate(point.bpp).interval == pytest.approx(estimate.interval)
    assert not curve.covers(0.16)
    assert not curve.covers(0.51)


def test_ranking_orders_by_protection_and_says_who_is_tied(points):
    (ranking,) = equal_rate.rankings(points, CALIBRATED, [0.25])[Subject("dlib")]
    assert [place.series for place in ranking.places] == ["SA-ICM", "VVC"]
    assert [place.tied for place in ranking.places] == [None, False]
    assert ranking.places[1].behind.difference == pytest.approx(
        ranking.places[1].estimate.value - ranking.places[0].estimate.value
    )


def test_the_strongest_attack_counts_and_replicates_give_the_interval(identified):
    points = collect_points(load_runs(identified))
    (ranking,) = equal_rate.rankings(points, RANK1, [0.2])[Subject("dlib")]
    first, second = ranking.places
    weight = math.log(0.2 / 0.1) / math.log(0.4 / 0.1)
    vvc = 0.5 * (1 - weight) + 0.9 * weight
    assert (first.series, first.attack, first.estimate.value) == ("JPEG", "projection", pytest.approx(0.6))
    assert (second.series, second.attack, second.estimate.value) == ("VVC", "projection", pytest.approx(vvc))
    # The other has once, the first twice the noise: their difference has once.
    assert second.behind.ci95 == pytest.approx((vvc - 0.6 - 0.0475, vvc - 0.6 + 0.0475))
    sentence = findings.answer(ranking, points, several_attacks=True)
    assert sentence.startswith("At 0.2 bpp and against the strongest attack, JPEG protects best: rank-1 0.600 [0.505,")
    assert sentence.endswith("under Dlib, 0.100 [0.053, 0.148] lower than VVC, the next.")


def test_comparisons_of_pairs_use_the_replicates(identified):
    (comparison,) = compare(collect_points(load_runs(identified)))
    found = comparison.differences[RANK1, DLIB]
    assert found.difference == pytest.approx(-0.1)
    assert found.ci95 == pytest.approx((-0.1475, -0.0525))


def test_without_replicates_there_is_no_interval_and_no_verdict(identified):
    (identified / "2" / "replicates.json").unlink()
    points = collect_points(load_runs(identified))
    (ranking,) = equal_rate.rankings(points, RANK1, [0.2])[Subject("dlib")]
    assert [place.tied for place in ranking.places] == [None, None]
    assert "(no interval)" in findings.answer(ranking, points, several_attacks=False)


def test_other_faces_are_never_paired(synthetic, tmp_path):
    for job, (codec, point, bpp, value) in enumerate(POINTS):
        synthetic.write(tmp_path / str(job), codec, point, bpp, data=codec, scores={"dlib": [value] * 4})
    points = collect_points(load_runs(tmp_path))
    (ranking,) = equal_rate.rankings(points, CALIBRATED, [0.2])[Subject("dlib")]
    assert ranking.places[1].behind.difference is None
    assert "not the same faces" in findings.answer(ranking, points, several_attacks=False)


def test_rates_to_compare_at(points):
    rates = equal_rate.rate_grid(points)
    assert rates == sorted(set(rates))
    assert all(0.17 <= rate <= 0.5 for rate in rates)
    # SA-ICM ends at 0.3 bpp: the highest rate that both have.
    assert equal_rate.common_rate(points, rates) == 0.3


def test_the_rate_of_a_codec_with_a_single_point_is_one_to_compare_at(synthetic, tmp_path):
    scores = {"vvc": [0.9, 0.8, 0.7, 1.0], "jpeg": [0.8, 0.9, 0.6, 1.0]}
    for job, (codec, point, bpp, _) in enumerate(POINTS):
        rate = 0.19834 if codec == "jpeg" else bpp
        synthetic.write(tmp_path / str(job), codec, point, rate, scores={"dlib": scores[codec]})
    points = collect_points(load_runs(tmp_path))
    rates = equal_rate.rate_grid(points)
    assert equal_rate.common_rate(points, rates) == 0.19834
    (ranking,) = equal_rate.rankings(points, CALIBRATED, [0.19834])[Subject("dlib")]
    assert len(ranking.places) == 2
    assert findings.answer(ranking, points, several_attacks=False).endswith("VVC cannot be told apart from it.")


def test_what_has_no_rate_is_listed_apart_and_opens_no_rates(synthetic, tmp_path):
    for job, (codec, point, bpp, value) in enumerate((*POINTS, ("none", {}, 24.0, 1.0), ("yuv420", {}, 12.0, 0.9))):
        synthetic.write(tmp_path / str(job), codec, point, bpp, scores={"dlib": [value] * 4})
    points = collect_points(load_runs(tmp_path))
    assert max(equal_rate.rate_grid(points)) <= 0.4
    found = equal_rate.unrated(points, CALIBRATED, Subject("dlib"))
    assert [(place.series, place.estimate.value) for place in found] == [("4:2:0 only", 0.8), ("No codec", 1.0)]


def test_a_measure_that_some_codecs_lack_is_no_headline(synthetic, tmp_path, monkeypatch):
    monkeypatch.setattr("icm.report.points.MEASURES", (RANK1, CALIBRATED))
    calibrated = {"measure": "calibrated_similarity", "embedder": "dlib", "attack": "none", "value": 0.5, "low": 0.4,
                  "high": 0.6, "n": 4, "units": 3}  # fmt: skip
    for job, (codec, point, bpp, _) in enumerate(POINTS):
        rank1 = {**calibrated, "measure": "rank1", "value": 0.5 if job else None}
        synthetic.write(tmp_path / str(job), codec, point, bpp, estimates=[calibrated, rank1])
    assert equal_rate.privacy_measures(collect_points(load_runs(tmp_path))) == [CALIBRATED, RANK1]


def test_a_measure_that_tells_no_codec_apart_is_no_headline_but_is_told(synthetic, tmp_path, monkeypatch):
    """Everyone is found under every codec: no resample says otherwise, and the exact interval of the table holds."""
    monkeypatch.setattr("icm.report.points.MEASURES", (RANK1, CALIBRATED))
    for job, (codec, point, bpp, _) in enumerate(POINTS):
        directory = synthetic.write(tmp_path / str(job), codec, point, bpp, scores={"dlib": [0.9 - job / 10] * 4})
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        summary["estimates"].append({"measure": "rank1", "embedder": "dlib", "attack": "none", "value": 1.0, "low": 0.6,
                                     "high": 1.0, "n": 4, "units": 3})  # fmt: skip
        (directory / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
        (directory / "replicates.json").write_text(json.dumps({"rank1|dlib|none|": [1.0] * 50}), encoding="utf-8")
    points = collect_points(load_runs(tmp_path))
    assert equal_rate.privacy_measures(points) == [CALIBRATED, RANK1]
    (ranking,) = equal_rate.rankings(points, RANK1, [0.2])[Subject("dlib")]
    assert [place.estimate.interval for place in ranking.places] == [pytest.approx((0.6, 1.0))] * 2
    assert ranking.places[1].behind.ci95 == pytest.approx((-0.4, 0.4))
    assert findings.silent([ranking]) == "Rank-1 is 1.000 for every codec here."
    sentence = findings.answer(ranking, points, several_attacks=False)
    assert sentence == (
        "At 0.2 bpp, no codec can be told from another: rank-1 1.000 [0.600, 1.000] under Dlib, for every one."
    )


def test_measures_of_pictures_are_paired_by_picture(synthetic, tmp_path, monkeypatch):
    sharp = Measure("sharp", "sharpness", "sharpness", "higher is useful", 3, "Sharp.", "edges", "images", lambda x: x)
    monkeypatch.setattr("icm.report.points.MEASURES", (sharp,))
    for job, (codec, point, bpp, value) in enumerate(POINTS):
        estimate = {"measure": "sharp", "value": value, "low": 0, "high": 1, "n": 3, "units": 3}
        directory = synthetic.write(tmp_path / str(job), codec, point, bpp, estimates=[estimate])
        rows = [f"{image},{value + more}" for image, more in zip(synthetic.IMAGES, (-0.1, 0, 0.1), strict=True)]
        (directory / "images.csv").write_text("\n".join(["image,sharp", *rows, "d.png,"]), encoding="utf-8")
    (comparison,) = compare(collect_points(load_runs(tmp_path)))
    found = comparison.differences[sharp, Subject()]
    # Every picture has the same difference, so it is sure.
    assert (found.difference, found.ci95) == (pytest.approx(-0.1), pytest.approx((-0.1, -0.1)))
    assert found.faces == 3


def test_recognisers_agree_or_do_not(points):
    found = equal_rate.rankings(points, CALIBRATED, [0.25])
    assert findings.agreement([ranking for (ranking,) in found.values()]) == "SA-ICM is first under 2 of 2 recognisers."


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("curves.json", "[{", "not JSON"), ("curves.json", "{}", "not a JSON list"),
     ("curves.json", '[{"kind": "det", "embedder": "a", "attack": "", "x": [1], "y": []}]', "1 x and 0 y"),
     ("curves.json", '[{"kind": "roc", "embedder": "a", "attack": "", "x": [], "y": []}]', "'roc'"),
     ("curves.json", '[{"kind": "det"}]', "'embedder'"), ("replicates.json", '{"a": [1]}', "'a' is not"),
     ("replicates.json", '{"a|b|c|": "x"}', "no list of numbers")],
)  # fmt: skip
def test_damaged_files_are_one_line(synthetic, tmp_path, name, text, message):
    run = load_run(synthetic.write(tmp_path))
    (tmp_path / name).write_text(text, encoding="utf-8")
    (point,) = collect_points([run])
    with pytest.raises(ResultsError) as error:
        _ = point.curves if name == "curves.json" else point.replicates
    assert message in str(error.value)
    assert name in str(error.value)
