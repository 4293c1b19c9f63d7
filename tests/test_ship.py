import json

import cv2
import numpy as np
import pytest
import torch

from icm.__main__ import main
from models.checkpoint import load_network, weights_id
from models.gated import GatedHyperprior

CONFIG = {
    "network": {"_target_": "models.gated.GatedHyperprior", "N": 8, "M": 12, "gate": 8},
    "objective": {"region": "edge", "lmbda": 0.02},
    "masks": {"path": "/somewhere", "threshold": 0.5},
    "data": {"path": "/somewhere", "crop": 192},
    "optimizer": {"lr": 0.001},
    "seed": 3,
}


@pytest.fixture
def photographs(tmp_path, make_picture):
    """Forty-one photographs with drawn boundaries: one more than are held out."""
    for number in range(41):
        picture = make_picture(96, 96, seed=number)
        edges = np.zeros((96, 96), np.uint8)
        edges[30:60, 48] = 255
        for kind, pixels in (("natural", picture[..., ::-1]), ("natural_edges", edges)):
            (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(tmp_path / "data" / kind / f"bsds_{number:02}.png"), pixels)
    return tmp_path / "data"


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    state = {f"network.{name}": value for name, value in GatedHyperprior(8, 12, gate=8).state_dict().items()}
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": state, "hyper_parameters": CONFIG, "global_step": 77}, path)
    return path


def test_ships_a_network_with_a_card_of_what_ships(photographs, checkpoint, tmp_path):
    arguments = ["ship", str(checkpoint), "--variant", "edge", "--rate", "low", "--data", str(photographs)]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    card = json.loads((tmp_path / "out" / "edge_low.json").read_text())
    network = load_network(tmp_path / "out" / "edge_low.safetensors")
    assert card["weights_id"] == weights_id(network)
    assert (card["lambda"], card["steps"], card["seed"], card["variant"]) == (0.02, 77, 3, "edge")
    assert "somewhere" not in json.dumps(card)
    found = card["held_out"]
    assert found["photographs"] == 40
    assert found["bpp"] > 0
    assert all(np.isfinite(found[name]) for name in ("psnr", "masked_psnr", "selectivity"))


def test_a_mistake_leaves_an_earlier_network_and_its_card_alone(photographs, checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["ship", str(checkpoint), "--variant", "edge", "--rate", "low", "--output", str(out), "--data"]
    assert main([*arguments, str(photographs)]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    torch.manual_seed(1)
    state = {f"network.{name}": value for name, value in GatedHyperprior(8, 12, gate=8).state_dict().items()}
    torch.save({"state_dict": state, "hyper_parameters": CONFIG, "global_step": 78}, checkpoint)
    assert main([*arguments, str(tmp_path / "absent")]) == 1
    assert "absent" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    for wrong in (out / "edge_low.safetensors", out / "edge_low.json", tmp_path / "absent"):
        assert main([arguments[0], str(wrong), *arguments[2:], str(photographs)]) == 1
        assert str(wrong) in capsys.readouterr().err


def test_refuses_what_is_no_training_checkpoint(photographs, checkpoint, tmp_path, capsys):
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    torch.save({"state_dict": {name.removeprefix("network."): value for name, value in state.items()}}, checkpoint)
    arguments = ["ship", str(checkpoint), "--variant", "edge", "--rate", "low", "--data", str(photographs)]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 1
    assert "not one that train.py can go on from" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
