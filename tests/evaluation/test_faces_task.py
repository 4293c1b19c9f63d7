"""``task=faces`` on real faces and a real recogniser: measures, attacks, and the files that a run leaves."""

import csv
import json

import numpy as np
import pytest

from icm.attacks.direct import Direct
from icm.attacks.projection import Projection
from icm.codecs import create
from icm.config import compose_job
from icm.errors import UserError
from icm.evaluation.cache import Cache
from icm.evaluation.faces import FacesTask
from icm.evaluation.job import Job
from icm.evaluation.measures import FaceEvidence, Subject
from icm.evaluation.recognition import curves, measure
from icm.faces.boxes import KnownFace
from icm.faces.demo_scenes import SCENES, compose
from icm.faces.sources import SourceImage

CHOSEN = (0, 1, 2, 3)


class Scenes:
    """Four demo scenes, two of each person, with the faces' boxes as labels."""

    name, version, labelled, pairs = "scenes", "1", True, ()

    @property
    def parameters(self):
        return {"chosen": CHOSEN}

    def preflight(self):
        return []

    def ignored(self):
        return [{"image": "clip.mp4", "reason": "files of this kind are not read"}]

    def images(self):
        from icm.faces.demo_scenes import face_box

        return [
            SourceImage(
                SCENES[index].name,
                lambda index=index: compose(SCENES[index]),
                tuple(KnownFace(person.who, *face_box(person, SCENES[index].size)) for person in SCENES[index].people),
            )
            for index in CHOSEN
        ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (composed,) = compose_job(detector="labels")
    attacks = {"none": Direct("original"), "coded_gallery": Direct("coded"), "projection": Projection()}
    embedders = {part.name: part for part in composed.embedders}
    task = FacesTask(composed.detector, embedders, attacks, scores=True)
    job = Job(create("jpeg", quality=10), Scenes(), [task], seed=3)
    return job.run(Cache(tmp_path_factory.mktemp("cache")), folder)


def test_people_are_recognised_in_other_pictures(run):
    found = run.estimates["rank1", Subject("dlib", "none")]
    assert found.value == 1.0
    assert found.n == 4
    assert run.estimates["auc", Subject("dlib", "none")].value > 0.9


def test_a_coded_gallery_has_no_similarity_to_itself_but_is_searched(run):
    subject = Subject("dlib", "coded_gallery")
    assert run.estimates["cosine_similarity", subject].value is None
    assert run.estimates["rank1", subject].value == 1.0


def test_what_cannot_be_said_is_refused_with_the_count(run):
    refused = run.estimates["fmr1e-3_rate", Subject("dlib", "none")]
    assert refused.value is None
    assert "needs 10000 impostor comparisons, there are 8" in refused.note
    learnt = run.estimates["rank1", Subject("dlib", "projection")]
    assert learnt.value is None
    assert "projection" in learnt.note
    assert "2 people" in learnt.note


def test_every_comparison_and_curve_is_kept(run):
    rows = list(csv.DictReader((run.directory / "scores.csv").open()))
    ours = [row for row in rows if row["attack"] == "none"]
    # Four faces of two people, never against the picture itself.
    assert [sum(int(row["genuine"]) for row in ours), len(ours)] == [4, 12]
    assert all(row["probe_image"] != row["gallery_image"] for row in ours)
    curves = json.loads((run.directory / "curves.json").read_text())
    assert {(curve["kind"], curve["attack"]) for curve in curves} >= {("det", "none"), ("cmc", "none")}
    replicates = json.loads((run.directory / "replicates.json").read_text())
    assert len(replicates["auc|dlib|none|"]) == 1000
    assert run.summary["skipped"] == [{"image": "clip.mp4", "reason": "files of this kind are not read"}]


def test_a_codec_that_changes_nothing_leaves_every_face_itself(tmp_path):
    (task,) = compose_job(detector="labels")
    run = Job(create("none"), Scenes(), [task]).run(Cache(tmp_path / "cache"), tmp_path / "run")
    assert run.summary["similarity"]["dlib"]["mean"] == pytest.approx(1, abs=1e-6)
    assert run.summary["psnr"] is None
    assert run.summary["lossless_images"] == 4


def test_k_same_averages_one_face_of_each_person(tmp_path):
    (composed,) = compose_job(detector="labels")
    task = FacesTask(composed.detector, {"dlib": composed.embedders[0]}, {"none": Direct("original")})
    found = Job(create("k_same", k=2), Scenes(), [task]).run(Cache(tmp_path / "cache"), tmp_path / "run")
    assert found.estimates["rank1", Subject("dlib", "none")].value < 1
    task = FacesTask(composed.detector, {"dlib": composed.embedders[0]}, {"none": Direct("original")})
    with pytest.raises(UserError, match=r"codec\.k=3: the pictures show 2 people"):
        Job(create("k_same", k=3), Scenes(), [task]).run(Cache(tmp_path / "cache"), tmp_path / "run")


def test_a_protocol_of_pairs_is_judged_fold_by_fold():
    rows = np.eye(4, dtype=np.float32)
    scores = np.array([[0, 0.9, 0.1, 0.2], [0.9, 0, 0.3, 0.2], [0.1, 0.3, 0, 0.8], [0.2, 0.2, 0.8, 0]])
    protocol = np.array([[0, 1, 1, 0], [0, 2, 0, 0], [2, 3, 1, 1], [1, 3, 0, 1]])
    evidence = FaceEvidence(rows, rows, scores, "original", list("aabb"), list("wxyz"), ~np.eye(4, dtype=bool),
                            protocol=protocol)  # fmt: skip
    found = measure(evidence)[1]["fold_accuracy"]
    assert (found.value, found.n, found.units) == (1.0, 4, 2)
    assert (
        measure(FaceEvidence(rows, rows, scores, "original", list("aabb"), list("wxyz"), ~np.eye(4, dtype=bool)))[1][
            "fold_accuracy"
        ].value
        is None
    )


def test_faces_that_nothing_tells_apart_give_chance_and_finite_curves(rng):
    """As behind black boxes: every embedding is the same up to rounding."""
    rows = np.ones((6, 8), np.float32)
    scores = 1 - rng.integers(0, 2, (6, 6)) * 1.1e-16
    strangers = np.kron(~np.eye(3, dtype=bool), np.ones((2, 2), dtype=bool)).astype(bool)
    evidence = FaceEvidence(rows, rows, scores, "original", list("aabbcc"), list("uvwxyz"), strangers)
    text = json.dumps(curves(evidence, "dlib", "none"), allow_nan=False)
    assert '"genuine"' in text
    _, found = measure(evidence)
    json.dumps([estimate.value for estimate in found.values()], allow_nan=False)
    flat = FaceEvidence(rows, rows, np.ones((6, 6)), "original", list("aabbcc"), list("uvwxyz"), strangers)
    assert measure(flat)[1]["rank1"].value == pytest.approx(1 / 3)
    assert measure(flat)[1]["auc"].value == pytest.approx(0.5)


def test_values_come_from_the_scores_and_rows_without_direction_are_left_out():
    rows = np.eye(3, dtype=np.float32)
    scores = np.array([[0.9, 0.1, np.nan], [0.2, 0.8, np.nan], [np.nan] * 3])
    strangers = ~np.eye(3, dtype=bool)
    evidence = FaceEvidence(rows, rows, scores, "original", [None] * 3, ["a", "b", "c"], strangers)
    values, found = measure(evidence)
    assert np.allclose(values["cosine_similarity"][:2], [0.9, 0.8])
    assert found["cosine_similarity"].n == 2
    assert found["rank1"].value == 1.0
    assert found["threshold_rate"].value is None
    learnt = FaceEvidence(rows, rows, scores, "original", [None] * 3, ["a", "b", "c"], strangers, learnt=True)
    assert measure(learnt)[1]["calibrated_similarity"].value is None
