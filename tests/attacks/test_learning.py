"""What attacks learn: a planted distortion is undone, planted differences within a person are taken out."""

import numpy as np
import pytest

from icm.attacks.classifier import Classifier, shrinkage, whitening
from icm.attacks.cross_fit import attack_scores
from icm.attacks.direct import Direct
from icm.attacks.projection import STRENGTHS, Projection, ridge
from icm.metrics.scores import select_pairs
from icm.metrics.verification import AUC, measure, trials


def auc(attack, faces):
    some = trials(
        attack_scores(attack, faces.coded, faces.original, faces.people).scores,
        select_pairs(faces.people, range(len(faces.people))),
    )
    return measure(AUC, some.genuine, some.impostor)


def test_projection_undoes_a_linear_distortion(rng, make_faces):
    faces = make_faces(rng)
    faces.coded = faces.original @ rng.normal(size=(24, 24)) + 3
    assert auc(Direct("original"), faces) < 0.65
    assert auc(Projection(), faces) > auc(Direct("original"), make_faces(rng)) - 0.05


def test_projection_with_nothing_to_learn_stays_close_to_no_attack(make_faces):
    """Little data in many dimensions, and coding that only adds noise: the identity is the best map."""
    rng = np.random.default_rng(3)
    faces = make_faces(rng, 10, 3, dim=128)
    faces.coded = faces.original + 0.8 * rng.normal(size=faces.original.shape)
    assert auc(Projection(), faces) > auc(Direct("original"), faces) - 0.02


def test_ridge_leaves_out_one_person_at_a_time_exactly(rng):
    """The shortcut's choice is that of fitting again without each person."""
    people = ["a", "a", "b", "c", "c", "c", "d", "e"]
    source = rng.normal(size=(8, 5))
    target = source @ (np.eye(5) + 0.3 * rng.normal(size=(5, 5))) + 0.3 * rng.normal(size=(8, 5))
    unit = np.mean(np.linalg.svd(source)[1] ** 2)

    def fitted(rows, strength):
        x, gap = source[rows], (target - source)[rows]
        return np.eye(5) + np.linalg.solve(x.T @ x + strength * np.eye(5), x.T @ gap)

    def error(strength):
        total = 0
        for person in set(people):
            left_out = np.array([name == person for name in people])
            total += ((source[left_out] @ fitted(~left_out, strength) - target[left_out]) ** 2).sum()
        return total

    best = min(STRENGTHS * unit, key=error)
    assert best not in (STRENGTHS[0] * unit, STRENGTHS[-1] * unit)
    np.testing.assert_allclose(ridge(source, target, people)(source), source @ fitted(slice(None), best))


def test_classifier_takes_out_what_varies_within_a_person(rng, make_faces):
    faces = make_faces(rng)
    nuisance = rng.normal(size=(120, 3)) @ rng.normal(size=(3, 24)) * 4
    faces.coded = faces.original = faces.original + nuisance
    assert auc(Direct("coded"), faces) < 0.65
    assert auc(Classifier(), faces) > 0.85


def test_a_coded_gallery_lacks_what_the_probe_lacks(rng, make_faces):
    faces = make_faces(rng)
    faces.coded = faces.original + 10 * rng.normal(size=24)
    assert auc(Direct("coded"), faces) > auc(Direct("original"), faces) + 0.1


def test_shrinkage_agrees_with_scikit_learn():
    # scikit-learn 1.5.2: LedoitWolf(assume_centered=True).fit(x).shrinkage_
    tall = np.random.default_rng(12).normal(size=(30, 8)) * np.arange(1, 9)
    wide = np.random.default_rng(12).normal(size=(10, 40))
    assert shrinkage(tall - tall.mean(axis=0)) == pytest.approx(0.23004266537903134)
    assert shrinkage(wide - wide.mean(axis=0)) == pytest.approx(0.7538893896685863)


@pytest.mark.parametrize("shape", [(50, 6), (8, 20)])
def test_whitening_inverts_the_shrunk_covariance(rng, shape):
    rows = rng.normal(size=shape) * np.linspace(1, 4, shape[1])
    rows -= rows.mean(axis=0)
    covariance = rows.T @ rows / len(rows)
    share = shrinkage(rows)
    covariance = (1 - share) * covariance + share * np.trace(covariance) / shape[1] * np.eye(shape[1])
    change = whitening(rows)(np.eye(shape[1]))
    product = change.T @ covariance @ change
    np.testing.assert_allclose(product, np.eye(shape[1]) * product[0, 0], atol=1e-9)
    assert whitening(np.zeros((4, 3)))(np.ones((1, 3))).tolist() == [[1, 1, 1]]
