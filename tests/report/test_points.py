import pytest

from icm.evaluation.results import load_run
from icm.report.points import collect_points, embedders_of, series_of


def load(synthetic, folder, *descriptions):
    return [load_run(synthetic.write(folder / str(n), **fields)) for n, fields in enumerate(descriptions)]


def test_runs_on_other_data_are_other_points_and_their_titles_say_what_differs(synthetic, tmp_path):
    for job, (size, data) in enumerate(((24, "one"), (30, "other"))):
        settings = {"faces": {"path": "photos"}, "detector": {"min_size": size}}
        synthetic.write(tmp_path / str(job), settings=settings, data=data)
    points = collect_points([load_run(tmp_path / str(job)) for job in range(2)])
    assert [point.title for point in points] == [f"VVC QP 37 (detector.min_size {size})" for size in (24, 30)]
    assert len({point.series for point in points}) == 2


def test_only_what_codes_nothing_is_a_ceiling(synthetic, tmp_path):
    for job, (codec, point) in enumerate((("jpeg", {"quality": 100}), ("none", {}), ("yuv420", {}))):
        synthetic.write(tmp_path / str(job), codec, point, bpp=9.0)
    points = collect_points([load_run(tmp_path / str(job)) for job in range(3)])
    assert [point.is_ceiling for point in points] == [False, True, True]


def test_series_titles_and_order(runs):
    points = collect_points(runs)
    assert [point.title for point in points] == [
        "VVC QP 32", "VVC QP 35", "VVC QP 37", "VVC QP 40", "SA-ICM 2", "SA-ICM 1", "No codec",
    ]  # fmt: skip
    assert list(series_of(points)) == ["VVC", "SA-ICM", "No codec"]
    assert [point.is_ceiling for point in points] == [False] * 6 + [True]
    assert embedders_of(points) == ["dlib", "arcface"]


def test_recognisers_measured_in_separate_jobs_share_a_point(synthetic, tmp_path):
    one, two = {"dlib": [0.9] * 4}, {"arcface": [0.5] * 4}
    points = collect_points(load(synthetic, tmp_path, {"scores": one}, {"scores": two}))
    assert len(points) == 1
    assert points[0].similarity["dlib"].mean == pytest.approx(0.9)
    assert points[0].similarity["arcface"].mean == pytest.approx(0.5)
    assert points[0].face_keys() == list(synthetic.FACES)
    assert points[0].scores("arcface", "calibrated_similarity")["a.png", 1] == 0.0


def test_settings_that_differ_make_curves_of_their_own(synthetic, tmp_path):
    points = collect_points(
        load(
            synthetic,
            tmp_path,
            {"parameters": {"preset": "medium"}},
            {"parameters": {"preset": "fast"}, "bpp": 0.31},
            {"codec": "jpeg", "point": {"quality": 10}},
        )
    )
    assert [point.series for point in points] == ["VVC (preset medium)", "VVC (preset fast)", "JPEG"]
    assert points[1].title == "VVC QP 37 (preset fast)"
    assert (points[2].qp, points[2].quality) == (None, 10)


def test_weights_of_a_learned_codec_are_one_curve_and_variants_two(synthetic, tmp_path):
    learned = {"codec": "sa_icm"}
    jobs = [
        {
            **learned,
            "point": {"rate": rate},
            "bpp": 0.1 * rate,
            "parameters": {"weights_id": v + str(rate), "variant": v},
        }
        for v in ("edge", "control")
        for rate in (1, 2)
    ]
    points = collect_points(load(synthetic, tmp_path, *jobs))
    assert {name: len(members) for name, members in series_of(points).items()} == {
        "SA-ICM (edge)": 2,
        "SA-ICM (control)": 2,
    }


def test_sources_are_told_apart(synthetic, tmp_path):
    points = collect_points(load(synthetic, tmp_path, {"source": "demo"}, {"source": "coco15", "bpp": 0.4}))
    assert [point.title for point in points] == ["VVC QP 37 (demo)", "VVC QP 37 (coco15)"]


def test_one_image_has_no_interval(synthetic, tmp_path):
    faces = (("a.png", 0), ("a.png", 1))
    (point,) = collect_points(load(synthetic, tmp_path, {"faces": faces, "scores": {"dlib": [0.5, 0.7]}}))
    assert point.similarity["dlib"].mean == pytest.approx(0.6)
    assert point.similarity["dlib"].ci95 is None
