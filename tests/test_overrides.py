"""Advice on overrides that Hydra would answer with a misleading one."""

import pytest

from icm.overrides import advice, dry_run, what_is_swept


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["codec=jpeg", "quality=10"], ["quality=10", "codec.quality=10"]),
        (["min_size=30"], ["detector.min_size=30"]),
        (["faces.path=photos"], ["faces=demo has no path", "folder"]),
        (["codec=jpeg", "codec.qp=3"], ["codec=jpeg has no qp", "vvc"]),
    ],
)
def test_what_to_write_instead(arguments, words):
    text = advice("evaluate", arguments)
    assert "\n" not in text
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "codec=vvc,jpeg", "qp=32,37"],
        ["codec=jpeg", "codec.quality=10"],
        ["faces=folder", "faces.path=photos"],
        ["experiment=privacy", "faces.path=photos"],
        ["codec=vvc,jpeg", "codec.quality=10"],
        ["embedder=[dlib,arcface]", "embedder.dlib.batch_size=2"],
        ["hydra.run.dir=here", "+trainer.foo=1", "nonsense", "--help"],
        ["unknown=1"],
    ],
)
def test_what_may_be_right_is_left_to_hydra(arguments):
    assert advice("evaluate", arguments) is None


def test_training_has_its_own_groups():
    assert "objective.lmbda=0.03" in advice("train", ["lmbda=0.03"])
    assert advice("train", ["experiment=small_edge_rate", "data.path=x", "data.scenes=10"]) is None
    assert advice("train", ["experiment=small_private", "objective.identity_weight=1"]) is None
    assert "objective=edge has no identity_weight" in advice("train", ["objective.identity_weight=1"])


def test_a_dry_run_is_the_same_sweep_under_another_launcher():
    typed = ["-m", "qp=32,37", "hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu"]
    assert dry_run(typed) == typed
    assert dry_run([*typed, "--dry-run"]) == ["-m", "qp=32,37", "cost=true", "hydra/launcher=dry_run"]
    assert what_is_swept(typed) == what_is_swept(dry_run(["qp=32,37", "--dry-run"])[:-1]) == ["qp=32,37"]
