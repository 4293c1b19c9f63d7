import pytest

from icm.evaluation.measures import Subject, of_task
from icm.evaluation.results import load_run
from icm.report.comparisons import compare
from icm.report.points import collect_points, measures_of, series_of, subject_title, subjects_of
from icm.report.tables import table

CALIBRATED = of_task("faces")[1]
DLIB, ARCFACE = Subject("dlib", "none"), Subject("arcface", "none")


def load(synthetic, folder, *descriptions):
    return [load_run(synthetic.write(folder / str(n), **fields)) for n, fields in enumerate(descriptions)]


def detector(size):
    return [{"name": "mtcnn", "parameters": {"min_size": size}, "version": "1"}]


def test_runs_on_other_data_are_other_points_and_every_title_says_what_differs(synthetic, tmp_path):
    jobs = [{"parts": detector(24), "data": "one"}, {"parts": detector(30), "data": "other"}]
    jobs.append({"codec": "jpeg", "point": {"quality": 9}, "bpp": 0.2, **jobs[1]})
    points = collect_points(load(synthetic, tmp_path, *jobs))
    assert [point.title for point in points] == [
        "VVC QP 37 (detector.min_size 24)", "VVC QP 37 (detector.min_size 30)",
        "JPEG quality 9 (detector.min_size 30)",
    ]  # fmt: skip
    assert len({point.series for point in points}) == 3


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
    assert subjects_of(points) == [DLIB, ARCFACE]
    assert [subject_title(points, subject) for subject in (DLIB, ARCFACE)] == ["Dlib", "ArcFace"]
    measures = {measure.key: subjects for measure, subjects in measures_of(points).items()}
    assert measures == {
        "psnr": [Subject()], "cosine_similarity": [DLIB, ARCFACE], "calibrated_similarity": [DLIB, ARCFACE],
    }  # fmt: skip


def test_recognisers_measured_in_separate_jobs_share_a_point(synthetic, tmp_path):
    one, two = {"dlib": [0.9] * 4}, {"arcface": [0.5] * 4}
    points = collect_points(load(synthetic, tmp_path, {"scores": one}, {"scores": two}))
    assert len(points) == 1
    assert points[0].estimate("cosine_similarity", DLIB).value == pytest.approx(0.9)
    assert points[0].estimate("cosine_similarity", ARCFACE).value == pytest.approx(0.5)
    assert points[0].face_keys() == list(synthetic.FACES)
    assert points[0].scores(CALIBRATED, ARCFACE)["a.png", 1] == 0.0


def test_codecs_name_their_own_curves(synthetic, tmp_path):
    jobs = [{}, {"series": "VVC, preset fast", "bpp": 0.31}, {"codec": "jpeg", "point": {"quality": 10}}]
    points = collect_points(load(synthetic, tmp_path, *jobs))
    assert [point.series for point in points] == ["VVC", "VVC, preset fast", "JPEG"]
    assert points[1].title == "VVC, preset fast QP 37"
    assert (points[2].qp, points[2].quality) == (None, 10)


def test_sources_are_told_apart(synthetic, tmp_path):
    points = collect_points(load(synthetic, tmp_path, {"source": "demo"}, {"source": "coco15", "bpp": 0.4}))
    assert [point.title for point in points] == ["VVC QP 37 (demo)", "VVC QP 37 (coco15)"]


def test_the_settings_of_a_source_are_named_where_its_name_does_not_tell(synthetic, tmp_path):
    def folder(path):
        return {"source": "folder", "data": path, "parts": [
            {"name": "vvc", "parameters": {}, "version": ""},
            {"name": "folder", "parameters": {"path": path}, "version": ""}]}  # fmt: skip

    jobs = [{"source": "demo"}, {**folder("/a"), "bpp": 0.4}]
    assert [point.title for point in collect_points(load(synthetic, tmp_path, *jobs))] == [
        "VVC QP 37 (demo)", "VVC QP 37 (folder)",
    ]  # fmt: skip
    jobs.append({**folder("/b"), "bpp": 0.2})
    runs = load(synthetic, tmp_path, *jobs)
    titles = ["VVC QP 37 (demo)", "VVC QP 37 (folder, source.path /a)", "VVC QP 37 (folder, source.path /b)"]
    assert [point.title for point in collect_points(runs)] == titles
    # In table.csv too, which alone would have three rows of one label.
    assert [row["title"] for row in table(runs)] == titles
    assert "title" not in table(runs[:1])[0]


def test_checkpoints_of_one_name_are_told_apart_on_every_row(synthetic, tmp_path):
    """Two sweeps of networks of the same name; the points of a curve have a checkpoint each."""
    for sweep, first in (("old", "a"), ("new", "b")):
        for job, rate in enumerate(("low", "mid")):
            parameters = {"rate": rate, "checkpoint_sha256": f"{first}{job}" * 32}
            bpp = 0.1 + job / 10 + (sweep == "new") / 50
            synthetic.write(tmp_path / sweep / str(job), "sa_icm", {"rate": rate}, bpp, parameters=parameters)
    runs = [load_run(tmp_path / sweep / str(job)) for sweep in ("old", "new") for job in (0, 1)]
    points = collect_points(runs)
    assert {name: [point.title for point in members] for name, members in series_of(points).items()} == {
        "SA-ICM (from old)": ["SA-ICM mid (checkpoint a1a1a1a1a1a1)", "SA-ICM low (checkpoint a0a0a0a0a0a0)"],
        "SA-ICM (from new)": ["SA-ICM mid (checkpoint b1b1b1b1b1b1)", "SA-ICM low (checkpoint b0b0b0b0b0b0)"],
    }  # fmt: skip
    # The faces are the same, so they are still paired.
    assert len({point.data for point in points}) == 1
    # Alone, nothing needs telling apart.
    assert [point.title for point in collect_points(runs[:2])] == ["SA-ICM mid", "SA-ICM low"]


def test_settings_and_versions_of_a_codec_are_named_where_they_differ(synthetic, tmp_path):
    jobs = [{"codec_version": "ffmpeg 8"}, {"codec_version": "ffmpeg 9", "bpp": 0.31}]
    points = collect_points(load(synthetic, tmp_path, *jobs))
    assert [point.title for point in points] == ["VVC QP 37 (version ffmpeg 8)", "VVC QP 37 (version ffmpeg 9)"]
    assert len({point.series for point in points}) == 2


def test_recognisers_of_other_settings_are_named_and_never_paired(synthetic, tmp_path):
    def parts(align):
        return [*({"name": name, "parameters": {}, "version": ""} for name in ("vvc", "demo")),
                {"name": "dlib", "parameters": {"align": align}, "version": "1"}]  # fmt: skip

    jobs = [{"parts": parts(False)}, {"parts": parts(False), "point": {"qp": 32}, "bpp": 0.5},
            {"codec": "jpeg", "point": {"quality": 9}, "bpp": 0.4, "parts": parts(True)}]  # fmt: skip
    points = collect_points(load(synthetic, tmp_path, *jobs))
    assert [point.title for point in points] == [
        "VVC QP 32 (dlib.align False)", "VVC QP 37 (dlib.align False)", "JPEG quality 9 (dlib.align True)",
    ]  # fmt: skip
    assert compare(points) == []
    assert (
        len(compare(collect_points(load(synthetic, tmp_path, *({**job, "parts": parts(False)} for job in jobs))))) == 1
    )


def test_data_without_a_readable_difference_is_named_by_its_digest(synthetic, tmp_path):
    points = collect_points(load(synthetic, tmp_path, {"data": "01"}, {"data": "02"}))
    assert [point.title for point in points] == ["VVC QP 37 (data 01)", "VVC QP 37 (data 02)"]


def test_one_image_has_no_interval(synthetic, tmp_path):
    faces = (("a.png", 0), ("a.png", 1))
    (point,) = collect_points(load(synthetic, tmp_path, {"faces": faces, "scores": {"dlib": [0.5, 0.7]}}))
    assert point.estimate("cosine_similarity", DLIB).value == pytest.approx(0.6)
    assert point.estimate("cosine_similarity", DLIB).interval is None
