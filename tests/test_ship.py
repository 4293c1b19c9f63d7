"""What leaves the program: shipped networks with their cards, and networks in the published format."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from icm.__main__ import main
from models.checkpoint import load_network, save_safetensors, weights_id
from models.gated import GatedHyperprior
from models.hyperprior import Hyperprior

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = Path(__file__).parent / "data"
CONFIG = {
    "network": {"_target_": "models.gated.GatedHyperprior", "N": 8, "M": 12, "gate": 8},
    "objective": {"region": "edge", "lmbda": 0.02},
    "masks": {"_target_": "icm.masks.boundaries.BoundaryMasks", "path": None, "threshold": 0.5, "dilation": 3},
    "data": {"_target_": "datamodules.scenes.SceneEdges", "path": "/somewhere", "crop": 192, "val_crop": 128},
    "optimizer": {"lr": 0.001},
    "init_from": "/somewhere/else.pth.tar",
    "seed": 3,
}
ARGUMENTS = ["--variant", "edge", "--rate", "low"]


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
def save(tmp_path):
    """Write a Lightning checkpoint of a random network: ``save(config=..., step=...)``."""

    def write(config: dict = CONFIG, step: int = 77) -> Path:
        torch.manual_seed(step)
        state = {f"network.{name}": value for name, value in GatedHyperprior(8, 12, gate=8).state_dict().items()}
        path = tmp_path / "last.ckpt"
        torch.save({"state_dict": state, "hyper_parameters": config, "global_step": step}, path)
        return path

    return write


def test_ships_a_network_with_a_card_of_what_ships(photographs, save, tmp_path, capsys):
    checkpoint, out = save(), tmp_path / "out"
    assert main(["ship", str(checkpoint), *ARGUMENTS, "--data", str(photographs), "--output", str(out)]) == 0
    card = json.loads((out / "edge_low.json").read_text())
    network = load_network(out / "edge_low.safetensors")
    assert card["weights_id"] == weights_id(network)
    assert (card["lambda"], card["steps"], card["seed"], card["variant"]) == (0.02, 77, 3, "edge")
    assert card["init_from"] == "else.pth.tar"
    assert "somewhere" not in json.dumps(card)
    found = card["held_out"]
    assert found["photographs"] == 40
    assert found["masks"] == {"_target_": "icm.masks.boundaries.BoundaryMasks", "threshold": 0.5, "dilation": 3}
    assert all(np.isfinite(found[name]) for name in ("psnr", "masked_psnr", "selectivity"))
    # Strings have a fixed cost of some bytes that the estimate does not have: next to nothing in a real picture.
    assert 0 < found["bpp"] < found["real_bpp"] < found["bpp"] + 8 * 40 / 128**2

    # Measured again from the card alone.
    measured = ["ship", "--measure", str(out / "edge_low.safetensors"), "--data", str(photographs)]
    capsys.readouterr()
    assert main(measured) == 0
    printed = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert {name: float(value) for name, value in printed.items()} == {
        name: value for name, value in found.items() if name != "masks"
    }
    card["held_out"]["psnr"] += 1
    (out / "edge_low.json").write_text(json.dumps(card))
    assert main(measured) == 1
    assert "differs" in capsys.readouterr().out
    assert main(measured[:3]) == 1
    assert "--data DIR" in capsys.readouterr().err


def test_what_ships_has_converged_quantiles(photographs, save, tmp_path):
    checkpoint, out = save(), tmp_path / "out"
    before = load_network(checkpoint)
    assert before.aux_loss() > 50
    options = ["--data", str(photographs), "--output", str(out), "--images", "2"]
    assert main(["ship", str(checkpoint), *ARGUMENTS, *options]) == 0
    after = load_network(out / "edge_low.safetensors")
    assert after.aux_loss() < 1
    assert json.loads((out / "edge_low.json").read_text())["aux_loss"] == pytest.approx(
        after.aux_loss().item(), abs=1e-3
    )
    changed = {
        name
        for name, value in before.named_parameters()
        if not torch.allclose(value, after.get_parameter(name), rtol=1e-3, atol=1e-6)
    }
    assert changed == {"entropy_bottleneck.quantiles"}
    # A shipped network ships again, from its card.
    again = tmp_path / "again"
    shipped = str(out / "edge_low.safetensors")
    assert main(["ship", shipped, *ARGUMENTS, "--data", str(photographs), "--output", str(again), "--images", "2"]) == 0
    first, second = (json.loads((folder / "edge_low.json").read_text()) for folder in (out, again))
    assert {**first, "sha256": ""} == {**second, "sha256": ""}


def test_a_gate_ships_with_the_codec_of_another_network(photographs, save, tmp_path, capsys):
    out, options = tmp_path / "out", ["--data", str(photographs), "--images", "2"]
    assert main(["ship", str(save()), *ARGUMENTS, *options, "--output", str(out)]) == 0
    other = out / "edge_low.safetensors"
    trained = save(CONFIG | {"objective": {"region": "edge", "lmbda": 0.5}}, step=5)
    options += ["--variant", "faceless", "--rate", "mid", "--output", str(out)]
    assert main(["ship", str(trained), "--codec", str(other), "--gate-bias", "1.5", *options]) == 0
    made, codec, gate = (load_network(path) for path in (out / "faceless_mid.safetensors", other, trained))
    for name, value in made.state_dict().items():
        if value.is_floating_point() and not name.startswith("entropy_bottleneck"):
            expected = (gate if name.startswith("gate.") else codec).state_dict()[name]
            expected = expected + 1.5 if name == "gate.out.bias" else expected
            assert torch.allclose(value, expected, rtol=1e-3, atol=1e-6), name
    card = json.loads((out / "faceless_mid.json").read_text())
    assert (card["codec"], card["lambda"], card["steps"], card["gate_bias"]) == ("edge_low.safetensors", 0.02, 5, 1.5)
    wide = save_safetensors(GatedHyperprior(16, 12, gate=8), tmp_path / "wide.safetensors")
    wide.with_suffix(".json").write_text((out / "edge_low.json").read_text())
    assert main(["ship", str(trained), "--codec", str(wide), *options]) == 1
    assert "use equal ones" in capsys.readouterr().err
    plain = save_safetensors(Hyperprior(8, 12), tmp_path / "plain.safetensors")
    assert main(["ship", str(trained), "--codec", str(plain), *options]) == 1
    assert "has no gate" in capsys.readouterr().err


def test_a_network_trained_on_any_data_ships_from_the_run_alone(save, tmp_path):
    from datamodules.demo_coco import make_demo

    root = make_demo(tmp_path / "coco", {"train2017": 6, "val2017": 2})
    folder = {"_target_": "datamodules.coco.CocoEdges", "path": str(root), "crop": 64, "val_crop": 128}
    plain = {"_target_": "icm.masks.base.NoMasks"}
    checkpoint, out = save({**CONFIG, "data": folder, "masks": plain}), tmp_path / "out"
    arguments = ["ship", str(checkpoint), *ARGUMENTS, "--output", str(out)]
    assert main(arguments) == 0
    found = json.loads((out / "edge_low.json").read_text())["held_out"]
    assert found["photographs"] == 2
    assert "selectivity" not in found
    assert main([*arguments, "--masks", "annotations"]) == 0
    found = json.loads((out / "edge_low.json").read_text())["held_out"]
    assert np.isfinite(found["selectivity"])
    # Images held out of the training's own folder stay those, whatever the masks.
    inside = folder | {"train": ".", "val": None, "val_images": 3, "annotations": "annotations/instances_val2017.json"}
    checkpoint = save({**CONFIG, "data": inside, "masks": plain})
    assert main([*arguments, "--images", "9"]) == 0
    held_out = json.loads((out / "edge_low.json").read_text())["held_out"]["photographs"]
    assert held_out == 3


def test_a_checkpoint_cannot_have_anything_else_called(save, tmp_path, capsys):
    trap = {"_target_": "os.mkdir", "path": str(tmp_path / "sprung")}
    for data in (
        trap,
        {"_target_": "datamodules.demo_coco.os.mkdir", "path": trap["path"]},
        CONFIG["data"] | {"seed": [trap]},
    ):
        assert main(["ship", str(save({**CONFIG, "data": data})), *ARGUMENTS, "--output", str(tmp_path / "out")]) == 1
        assert "which this project does not have" in capsys.readouterr().err
    assert not (tmp_path / "sprung").exists()


def test_a_mistake_leaves_an_earlier_network_and_its_card_alone(photographs, save, tmp_path, capsys):
    checkpoint, out = save(), tmp_path / "out"
    arguments = ["ship", str(checkpoint), *ARGUMENTS, "--images", "1", "--output", str(out), "--data"]
    assert main([*arguments, str(photographs)]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    save(step=78)
    assert main([*arguments, str(tmp_path / "absent")]) == 1
    assert "absent" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    for wrong in (out / "edge_low.json", tmp_path / "absent", tmp_path / "absent.safetensors"):
        assert main([arguments[0], str(wrong), *arguments[2:], str(photographs)]) == 1
        assert str(wrong.with_suffix("")) in capsys.readouterr().err
    for options, message in (
        (["ship"], "give CHECKPOINT"),
        (
            ["ship", str(checkpoint), *ARGUMENTS, "--masks", "hair"],
            "--masks hair: no such option; choose from annotations",
        ),
        (["ship", str(checkpoint), *ARGUMENTS, "--images", "0"], "--images 0: use 1 or more"),
    ):
        assert main(options) == 1
        assert message in capsys.readouterr().err


def test_refuses_what_is_no_training_checkpoint(photographs, save, tmp_path, capsys):
    checkpoint = save()
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    torch.save({"state_dict": {name.removeprefix("network."): value for name, value in state.items()}}, checkpoint)
    arguments = ["ship", str(checkpoint), *ARGUMENTS, "--data", str(photographs)]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 1
    assert "not one that train.py can go on from" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_exported_network_has_the_published_names_and_shapes(tmp_path):
    from models.tcm import TCM

    save_safetensors(TCM(N=64), tmp_path / "small.safetensors")
    assert main(["export", str(tmp_path / "small.safetensors"), str(tmp_path / "out" / "small.pth.tar")]) == 0
    content = torch.load(tmp_path / "out" / "small.pth.tar", weights_only=True)
    assert list(content) == ["state_dict"]
    published = json.loads((DATA / "state_dict_N64.json").read_text())
    assert {name: list(value.shape) for name, value in content["state_dict"].items()} == published


def test_an_exported_network_gives_the_same_outputs_here_and_in_compressai(tmp_path, capsys):
    from compressai.models import MeanScaleHyperprior

    torch.manual_seed(0)
    network, out = Hyperprior(8, 12), tmp_path / "out.pth.tar"
    state = {f"network.{name}": torch.zeros_like(value) for name, value in network.state_dict().items()}
    state |= {f"ema.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    assert main(["export", str(tmp_path / "last.ckpt"), str(out)]) == 0
    assert "Hyperprior N=8, M=12" in capsys.readouterr().out
    peer = MeanScaleHyperprior.from_state_dict(torch.load(out, weights_only=True)["state_dict"]).eval()
    peer.update()
    loaded, x = load_network(out), torch.rand(1, 3, 64, 128)
    with torch.no_grad():
        expected = network.eval()(x)
        # CompressAI's layers sum in another order than these.
        for other, tolerance in ((loaded, 0.0), (peer, 1e-5)):
            assert torch.allclose(other(x)["x_hat"], expected["x_hat"], rtol=0, atol=tolerance)
            likelihoods = (output["likelihoods"]["y"] for output in (other(x), expected))
            assert torch.allclose(*likelihoods, rtol=0, atol=tolerance)
        assert loaded.compress(x)["strings"] == peer.compress(x)["strings"]
    (tmp_path / "file").write_text("")
    assert main(["export", str(out), str(tmp_path / "file" / "out.pth.tar")]) == 1
    assert "cannot be written" in capsys.readouterr().err
