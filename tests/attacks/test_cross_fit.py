"""Attacks are tested on people they have not learnt from, and a leak would show."""

import itertools

import numpy as np
import pytest

from icm.attacks.base import Attack, Maps, TooFewPeople
from icm.attacks.classifier import Classifier
from icm.attacks.cross_fit import attack_scores, deal
from icm.attacks.direct import Direct
from icm.attacks.projection import Projection
from icm.metrics.scores import select_pairs, similarity_matrix
from icm.metrics.verification import AUC, estimates, trials

ATTACKS = [Direct("original"), Direct("coded"), Projection(), Classifier()]


def auc(scores, people, scenario=None):
    pairs = select_pairs(people, range(len(people)), scenario)
    return estimates(trials(scores, pairs), {"auc": AUC}, resamples=200)["auc"]


def leaked(attack, faces):
    """Scores of an attack that was fitted on the very people it is tested on."""
    maps = attack.fit(faces.coded, faces.original, faces.people)
    gallery = faces.coded if attack.gallery == "coded" else faces.original
    return similarity_matrix(maps.probe(faces.coded), maps.gallery(gallery))


class Memory(Attack):
    """Knows by heart whom it was fitted on: maps a face to the person of the nearest face it has seen."""

    name, title, version, learns, gallery = "memory", "memory", "1", True, "coded"

    def fit(self, probes, originals, people):
        number = np.unique(people, return_inverse=True)[1]

        def recall(rows):
            return (
                rows
                + 9
                * np.random.default_rng(0).normal(size=(number.max() + 1, rows.shape[1]))[
                    number[similarity_matrix(rows, probes).argmax(1)]
                ]
            )

        return Maps(recall, recall)


class Witness(Attack):
    """Learns nothing but whom it was fitted on, and gives every fit a similarity of its own."""

    name, title, version, learns = "witness", "witness", "1", True

    def __init__(self):
        self.known = {}

    def fit(self, probes, originals, people):
        similarity = 1 / (len(self.known) + 1)
        self.known[similarity] = set(people)
        return Maps(
            lambda rows: np.tile([similarity, np.sqrt(1 - similarity**2)], (len(rows), 1)),
            lambda rows: np.tile([1.0, 0.0], (len(rows), 1)),
        )


def test_every_comparison_is_scored_by_an_attacker_who_knows_neither_person(rng, make_faces):
    faces = make_faces(rng, 11, 3)
    faces.people[4] = None
    attack = Witness()
    scores = attack_scores(attack, faces.coded, faces.original, faces.people).scores
    for probe, entry in itertools.product(range(33), repeat=2):
        people = {faces.people[probe], faces.people[entry]}
        if None in people:
            assert np.isnan(scores[probe, entry])
        else:
            (known,) = (known for score, known in attack.known.items() if np.isclose(score, scores[probe, entry]))
            assert not people & known
    # 11 people in groups of 3, 2, 2, 2, 2.
    assert {len(known) for known in attack.known.values()} == {6, 7}
    assert len(attack.known) == 10


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@pytest.mark.parametrize("seed", range(2))
def test_random_labels_give_half_within_the_interval(attack, seed, make_faces):
    rng = np.random.default_rng(seed)
    faces = make_faces(rng, 120, 1)
    people = [f"p{person:02}" for person in rng.permutation(np.repeat(np.arange(30), 4))]
    coded = faces.original + 0.3 * rng.normal(size=faces.original.shape)
    found = auc(attack_scores(attack, coded, faces.original, people).scores, people)
    assert found.low < 0.5 < found.high


def test_knowing_the_tested_people_would_show_with_random_labels(make_faces):
    rng = np.random.default_rng(0)
    faces = make_faces(rng, 120, 1)
    faces.people = [f"p{person:02}" for person in rng.permutation(np.repeat(np.arange(30), 4))]
    honest = attack_scores(Memory(), faces.coded, faces.original, faces.people).scores
    assert auc(honest, faces.people).value == pytest.approx(0.5, abs=0.03)
    assert auc(leaked(Memory(), faces), faces.people).low > 0.9


def test_probes_that_hold_nothing_give_half_and_a_leak_would_show(make_faces):
    """The codec has erased the face: what is left of it is noise, which has nothing to do with the original's face."""
    rng = np.random.default_rng(1)
    faces = make_faces(rng, 30, 4, dim=60)
    faces.coded = 2 + rng.normal(size=faces.coded.shape)
    honest = attack_scores(Projection(), faces.coded, faces.original, faces.people).scores
    found = auc(honest, faces.people, "same_picture")
    assert found.low < 0.5 < found.high
    assert auc(leaked(Projection(), faces), faces.people, "same_picture").low > 0.6


def test_attacks_that_learn_nothing_score_everybody(rng, make_faces):
    faces = make_faces(rng, 2, 2)
    faces.people[0] = None
    found = attack_scores(Direct("original"), faces.coded, faces.original, faces.people)
    np.testing.assert_allclose(found.scores, similarity_matrix(faces.coded, faces.original))
    assert found.folds == ()


def test_too_few_people_are_refused_with_their_number(rng, make_faces):
    seven, eight = make_faces(rng, 7), make_faces(rng, 8)
    with pytest.raises(TooFewPeople, match="with 7 people that leaves 3, it needs 4"):
        attack_scores(Projection(), seven.coded, seven.original, seven.people)
    assert np.isfinite(attack_scores(Projection(), eight.coded, eight.original, eight.people).scores).all()
    alone = make_faces(rng, 30, 1)
    with pytest.raises(TooFewPeople, match="0 other people with two faces"):
        attack_scores(Classifier(), alone.coded, alone.original, alone.people)


def test_without_names_every_face_is_a_person(rng, make_faces):
    faces = make_faces(rng, 12, 1)
    found = attack_scores(Projection(), faces.coded, faces.original, [None] * 12)
    assert np.isfinite(found.scores).all()
    assert sorted(itertools.chain(*found.folds))[:2] == ["face 0", "face 1"]


def test_a_face_without_an_embedding_takes_no_part(rng, make_faces):
    faces = make_faces(rng)
    faces.coded[5] = 0
    scores = attack_scores(Projection(), faces.coded, faces.original, faces.people).scores
    assert np.isnan(scores[5]).all()
    assert np.isfinite(np.delete(scores, 5, axis=0)).all()


def test_the_split_is_returned_and_repeats(rng, make_faces):
    people = [*"ghiabcdefjkab", None]
    folds = deal(people, seed=3)
    assert folds == deal(people, seed=3) != deal(people, seed=4)
    assert sorted(itertools.chain(*folds)) == sorted("abcdefghijk")
    assert [len(fold) for fold in folds] == [3, 2, 2, 2, 2]
    faces = make_faces(rng)
    assert attack_scores(Projection(), faces.coded, faces.original, faces.people, seed=3).folds == deal(faces.people, 3)
