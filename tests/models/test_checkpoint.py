"""Every file format a network comes in, and every way a file can be wrong."""

import re

import pytest
import torch

from icm.errors import UserError
from icm.files import atomic_write

pytestmark = pytest.mark.usefixtures("one_thread")


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def weights(network) -> dict:
    return dict(network.named_parameters())


@pytest.fixture
def state(network):
    return network.state_dict()


def old_names(state: dict) -> dict:
    """As CompressAI before 1.2.7 wrote them, and so the published files."""
    rename = {"matrices.": "_matrix", "biases.": "_bias", "factors.": "_factor"}
    return {re.sub("matrices.|biases.|factors.", lambda match: rename[match[0]], name): v for name, v in state.items()}


FORMATS = {
    "plain": lambda state: {"state_dict": state},
    "published": lambda state: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in old_names(state).items()}},
    "bare": lambda state: state,
    "lightning": lambda state: {
        "state_dict": {f"network.{name}": value for name, value in state.items()},
        "hyper_parameters": {"lr": 1e-4},
        "optimizer_states": [{"state": {}}],
    },
    "compiled": lambda state: {"state_dict": {f"network._orig_mod.{name}": value for name, value in state.items()}},
    "averaged": lambda state: {
        "state_dict": {f"network.{name}": torch.zeros_like(value) for name, value in state.items()}
        | {f"ema.module.{name}": value for name, value in state.items()}
        | {"ema.n_averaged": torch.tensor(7)}
    },
    "without tables": lambda state: {
        "state_dict": {k: v for k, v in state.items() if "cdf" not in k and "_offset" not in k}
    },
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_network(network, state, waves, tmp_path, kind):
    from models.checkpoint import load_network, weights_id

    torch.save(FORMATS[kind](state), tmp_path / "file.ckpt")
    loaded = load_network(tmp_path / "file.ckpt")
    assert same(weights(loaded), weights(network))
    assert loaded.architecture() == network.architecture()
    assert not loaded.training
    assert weights_id(loaded) == weights_id(network)
    with torch.inference_mode():
        assert loaded.compress(waves(128, 128)) == network.compress(waves(128, 128))


def test_safetensors_keep_float32_exactly_and_half_nearly(network, tmp_path):
    from models.checkpoint import load_network, save_safetensors, weights_id

    full = save_safetensors(network, tmp_path / "full.safetensors", half=False)
    half = save_safetensors(network, tmp_path / "half.safetensors")
    assert weights_id(full) == weights_id(network) != weights_id(half)
    assert half.stat().st_size < 0.6 * full.stat().st_size
    rounded = load_network(half)
    assert {value.dtype for value in rounded.state_dict().values() if value.is_floating_point()} == {torch.float32}
    for name, value in weights(network).items():
        torch.testing.assert_close(weights(rounded)[name], value, rtol=1e-3, atol=1e-6)
    assert save_safetensors(rounded, tmp_path / "again.safetensors").read_bytes() == half.read_bytes()


def test_the_published_format_holds_the_names_and_gives_the_network_back(network, waves, tmp_path):
    from models.checkpoint import load_network, save_published

    path = save_published(network, tmp_path / "out.pth.tar")
    content = torch.load(path, weights_only=True)
    fresh = type(network)(**network.architecture()).state_dict()
    assert {name: value.shape for name, value in content["state_dict"].items()} == {
        name: value.shape for name, value in fresh.items()
    }
    loaded = load_network(path)
    with torch.inference_mode():
        assert torch.equal(loaded(waves(128, 128))["x_hat"], network(waves(128, 128))["x_hat"])
        assert loaded.compress(waves(128, 128)) == network.compress(waves(128, 128))


def test_the_id_follows_weights_and_names_not_tables(network):
    from models.checkpoint import weights_id

    before = weights_id(network)
    network.update(force=True)
    assert weights_id(network) == before
    assert len(bytes.fromhex(before)) == 8
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 1e-6
    assert weights_id(network) != before


def refusal(path) -> str:
    from models.checkpoint import load_network

    with pytest.raises(UserError) as caught:
        load_network(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_what_is_no_checkpoint_is_refused(tmp_path, tiny_tcm):
    from models.checkpoint import save_safetensors

    assert "no such file" in refusal(tmp_path / "nowhere.ckpt")
    assert "is a folder" in refusal(tmp_path)
    for name, content in (("empty", b""), ("text", b"hello world, this is text"), ("json", b"12345678{not json")):
        assert ".safetensors" in refusal(atomic_write(tmp_path / name, content))
    shipped = save_safetensors(tiny_tcm, tmp_path / "whole.safetensors").read_bytes()
    assert "truncated" in refusal(atomic_write(tmp_path / "cut.safetensors", shipped[:-1000]))
    torch.save({"state_dict": tiny_tcm.state_dict()}, tmp_path / "whole.ckpt")
    whole = (tmp_path / "whole.ckpt").read_bytes()
    assert "truncated" in refusal(atomic_write(tmp_path / "cut.ckpt", whole[: len(whole) // 2]))
    torch.save({"epoch": 1}, tmp_path / "nothing.ckpt")
    assert "no weights" in refusal(tmp_path / "nothing.ckpt")


def test_code_in_a_file_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'sprung')!r}, 'w')",))

    torch.save({"state_dict": {"g_a.0.weight": torch.zeros(1)}, "trap": Trap()}, tmp_path / "trap.ckpt")
    refusal(tmp_path / "trap.ckpt")
    assert not (tmp_path / "sprung").exists()


def test_what_does_not_fit_is_listed(state, tmp_path):
    def complaint(**changes) -> str:
        changed = {name: value for name, value in (state | changes).items() if value is not None}
        torch.save({"state_dict": changed}, tmp_path / "odd.ckpt")
        return refusal(tmp_path / "odd.ckpt")

    assert "1 unexpected (head.weight)" in complaint(**{"head.weight": torch.zeros(2)})
    assert "1 of another shape (g_s.0." in complaint(**{next(n for n in state if n.startswith("g_s")): torch.zeros(7)})
    lost = {name: None for name in state if name.startswith("g_s.") and name.endswith("bias")}
    assert f"{len(lost)} missing (g_s." in complaint(**lost)
    name = next(name for name in state if name.startswith("h_a"))
    assert "not finite" in complaint(**{name: state[name] * float("nan")})


def test_another_architecture_is_refused_with_its_first_names(tmp_path):
    torch.save({"state_dict": torch.nn.Linear(2, 2).state_dict()}, tmp_path / "other.ckpt")
    message = refusal(tmp_path / "other.ckpt")
    assert "weight, bias" in message
    assert "none of the networks TCM, Hyperprior, GatedHyperprior" in message
