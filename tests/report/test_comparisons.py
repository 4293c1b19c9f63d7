import math

import pytest

from icm.evaluation.results import load_run
from icm.report.comparisons import compare
from icm.report.points import collect_points


def difference(comparison, measure, embedder="dlib"):
    return next(found for (entry, subject), found in comparison.differences.items()
                if (entry.key, subject.embedder) == (measure, embedder))  # fmt: skip


def test_the_learned_codec_is_held_against_vvc(runs):
    found = compare(collect_points(runs))
    assert [(c.point.title, c.against) for c in found] == [("SA-ICM 2", "VVC"), ("SA-ICM 1", "VVC")]
    # At 0.2 bpp between VVC QP 40 (0.17 bpp, 0.2 lower than the base) and QP 37 (0.27 bpp, 0.1 lower).
    weight = math.log(0.2 / 0.17) / math.log(0.27 / 0.17)
    expected = -0.4 + 0.2 * (1 - weight) + 0.1 * weight
    raw, calibrated = (difference(found[1], measure) for measure in ("cosine_similarity", "calibrated_similarity"))
    assert raw.difference == pytest.approx(expected, abs=1e-6)
    assert raw.ci95 == pytest.approx((expected, expected), abs=1e-6)
    assert calibrated.difference == pytest.approx(2 * expected, abs=1e-6)


def test_only_common_faces_are_compared(synthetic, tmp_path):
    three = synthetic.FACES[:3]
    jobs = [("vvc", {"qp": 30}, 0.4, synthetic.FACES), ("vvc", {"qp": 40}, 0.1, three), ("jpeg", {}, 0.2, three[1:])]
    for job, (codec, point, bpp, faces) in enumerate(jobs):
        synthetic.write(tmp_path / str(job), codec, point, bpp, scores={"dlib": [0.5] * len(faces)}, faces=faces)
    (comparison,) = compare(collect_points([load_run(tmp_path / str(job)) for job in range(3)]))
    assert difference(comparison, "cosine_similarity").faces == 2


def test_faces_of_other_data_are_never_paired(synthetic, tmp_path):
    """Two detectors, or two folders with equal file names: the same image and number is not the same face."""
    jobs = [("vvc", {"qp": 30}, 0.4, "one"), ("vvc", {"qp": 40}, 0.1, "one"), ("jpeg", {}, 0.2, "other")]
    for job, (codec, point, bpp, data) in enumerate(jobs):
        synthetic.write(tmp_path / str(job), codec, point, bpp, data=data)
    assert compare(collect_points([load_run(tmp_path / str(job)) for job in range(3)])) == []


def test_what_a_codec_says_is_a_baseline_is_one(synthetic, tmp_path):
    """The control comes first in the sweep here, and a checkpoint of that name is no control."""
    curves = [("SA-ICM control", "SA-ICM", (0.15, 0.4)), ("SA-ICM", "", (0.2, 0.3)), ("my control", "", (0.2, 0.3))]
    job = 0
    for series, baseline_of, rates in curves:
        for rate, bpp in enumerate(rates):
            synthetic.write(tmp_path / str(job), "sa_icm", {"rate": rate}, bpp, series=series, baseline_of=baseline_of)
            job += 1
    found = compare(collect_points([load_run(tmp_path / str(n)) for n in range(job)]))
    assert {(c.point.series, c.against) for c in found} == {
        ("SA-ICM", "SA-ICM control"), ("my control", "SA-ICM control"), ("my control", "SA-ICM"),
    }  # fmt: skip


def test_nothing_to_compare(synthetic, tmp_path):
    synthetic.write(tmp_path / "0", "vvc", {"qp": 30}, 0.4)
    synthetic.write(tmp_path / "1", "jpeg", {"quality": 9}, 0.2)
    assert compare(collect_points([load_run(tmp_path / "0"), load_run(tmp_path / "1")])) == []
