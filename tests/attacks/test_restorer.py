import argparse
import json

import numpy as np
import pytest

from icm.attacks import restorer
from icm.attacks.base import AttackError
from icm.attacks.restorer import Restorer
from icm.commands import restorer as command
from icm.errors import UserError
from icm.images import write_png

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def small(monkeypatch):
    """Windows of 32 x 32 pixels, so that a network is trained in a second."""
    monkeypatch.setattr(restorer, "SIDE", 32)


def trained(folder, target, *options):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(folder), "-o", str(target), *options]))


def test_training_learns_to_take_a_change_back(make_picture):
    from icm.attacks.restorer_network import restore, train

    original = np.stack([make_picture(16, 16, seed) for seed in range(40)])
    coded = original // 2
    pairs = np.stack([coded, original], axis=1)
    losses = []
    network = train(pairs[:32], 60, width=8, learning_rate=3e-3, progress=losses.append)
    assert len(losses) == 60
    before, after = (
        np.abs(side - original[32:].astype(int)).mean() for side in (coded[32:], restore(network, coded[32:]))
    )
    assert after < 0.4 * before
    first, second = (train(pairs[:32], 2, width=8).last.weight for _ in range(2))
    assert (first == second).all()


def test_the_command_trains_and_the_attack_takes_any_crop(small, tmp_path, make_picture, capsys):
    for number in range(4):
        write_png(tmp_path / "pictures" / f"{number}.png", make_picture(80, 90 + number, number))
    write_png(tmp_path / "pictures" / "tiny.png", make_picture(20, 200))
    (tmp_path / "pictures" / "damaged.jpg").write_bytes(b"no picture")
    target = tmp_path / "weights" / "restorer.safetensors"
    options = ["--codec", "jpeg:quality=5", "none", "--windows", "12", "--steps", "2"]
    assert trained(tmp_path / "pictures", target, *options) == 0
    out, err = capsys.readouterr()
    assert "psnr_restored" in out
    assert "damaged.jpg: cannot be decoded" in err
    assert "tiny.png: its shorter side has 20 pixels" in err

    from icm.attacks.restorer_network import load

    _, card = load(target)
    assert [codec["codec"] for codec in card["codecs"]] == ["jpeg", "none"]
    assert card["codecs"][0]["quality"] == 5
    assert (card["steps"], card["side"]) == (2, 32)
    assert str(tmp_path) not in json.dumps(card)
    attack = Restorer(target)
    assert attack.preflight() == []
    assert attack.version != Restorer(tmp_path / "absent").version
    for shape in [(1, 1), (90, 70), (33, 64)]:
        restored = attack.restore(make_picture(*shape))
        assert restored.dtype == np.uint8
        assert min(restored.shape[:2]) == 32
        assert restored.shape[0] / restored.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.05)


def test_a_window_and_what_coding_made_of_it_are_paired(small, tmp_path, make_picture):
    for number in range(3):
        write_png(tmp_path / f"{number}.png", make_picture(100, 120, number))
    paths = sorted(tmp_path.iterdir())
    chosen = [command.codec_of("none"), command.codec_of("jpeg:quality=3")]
    pairs, owner = command.make_pairs(paths, chosen, 8, seed=1)
    assert pairs.shape == (8, 2, 32, 32, 3)
    assert sorted(np.bincount(owner)) == [2, 3, 3]
    unchanged = (pairs[:, 0] == pairs[:, 1]).all(axis=(1, 2, 3))
    assert unchanged.sum() == 4
    assert np.abs(pairs[:, 0].astype(int) - pairs[:, 1]).mean() < 30
    again, _ = command.make_pairs(paths, chosen, 8, seed=1)
    assert (pairs == again).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codec", "jpeg:5"], "--codec jpeg:5: 5 has no value"),
        (["--codec", "jpeg:quality=500"], "quality=500"),
        (["--codec", "nothing"], "nothing"),
        (["--codec", "none", "--steps", "0"], "--steps 0: must be at least 1"),
        (["--codec", "none"], "0 pictures; at least two"),
    ],
)
def test_mistakes_are_one_line(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        trained(tmp_path, tmp_path / "out.safetensors", *options)


def test_missing_and_wrong_weights_are_named(tmp_path, make_picture):
    (problem,) = Restorer(tmp_path / "absent").preflight()
    assert "absent: no such file" in problem.what
    assert "python -m icm restorer" in problem.remedy
    (tmp_path / "other").write_bytes(b"x" * 99)
    with pytest.raises(AttackError, match="other: no weights of the restorer attack"):
        Restorer(tmp_path / "other").restore(make_picture(30, 30))
