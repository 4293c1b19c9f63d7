"""The TCM network against the published one's names, shapes and numbers, and its own coding round trip."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = Path(__file__).resolve().parents[1] / "data"


def shapes(network: nn.Module) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in network.state_dict().items()}


def make(N: int) -> nn.Module:
    from models.tcm import TCM

    return TCM(N=N)


def bits(likelihoods: torch.Tensor) -> float:
    return float(-likelihoods.log2().sum())


def size(coded: dict) -> int:
    return sum(len(string) for strings in coded["strings"] for string in strings)


@pytest.mark.parametrize("N", [64, 128])
def test_names_and_shapes_are_the_published_ones(N):
    assert shapes(make(N)) == json.loads((DATA / f"state_dict_N{N}.json").read_text())


def test_the_middle_network_lies_between():
    small, large = (json.loads((DATA / f"state_dict_N{N}.json").read_text()) for N in (64, 128))
    middle = shapes(make(96))
    assert small.keys() == middle.keys() == large.keys()
    for name, shape in middle.items():
        assert shape == [(a + b) // 2 for a, b in zip(small[name], large[name], strict=True)], name


@pytest.mark.parametrize("N", [64, pytest.param(128, marks=pytest.mark.slow)])
def test_golden_outputs_are_reproduced(N, fill, waves):
    torch.manual_seed(0)
    network = fill(make(N)).eval()
    network.update(force=True)
    x, golden = waves(256, 256), np.load(DATA / f"golden_N{N}.npz")
    with torch.inference_mode():
        out, coded = network(x), network.compress(x)
        decoded = network.decompress(**coded)["x_hat"]
    latent = out["latent"]
    np.testing.assert_allclose(out["x_hat"][0, :, ::8, ::8], golden["x_hat"], atol=1e-3)
    np.testing.assert_allclose(latent["y"][0, ::8], golden["y"], atol=1e-3)
    np.testing.assert_allclose(latent["means"][0, ::8], golden["means"], atol=1e-3)
    np.testing.assert_allclose(latent["scales"][0, ::8], golden["scales"], rtol=1e-3, atol=1e-3)
    for part in "yz":
        assert bits(out["likelihoods"][part]) / 256**2 == pytest.approx(float(golden[f"bpp_{part}"]), rel=0.01)
    assert 8 * size(coded) / 256**2 == pytest.approx(float(golden["real_bpp"]), rel=0.01)
    assert torch.equal(decoded, out["x_hat"].clamp(0, 1))


@pytest.mark.parametrize("side", [(128, 128), (128, 256), (384, 128)])
def test_every_multiple_of_128_codes(tiny_tcm, waves, side):
    tiny_tcm.update(force=True)
    x = waves(*side)
    with torch.inference_mode():
        coded = tiny_tcm.compress(x)
        out = tiny_tcm(x)
        assert out["x_hat"].shape == x.shape
        assert torch.equal(tiny_tcm.decompress(**coded)["x_hat"], out["x_hat"].clamp(0, 1))
    assert tuple(coded["shape"]) == (side[0] // 64, side[1] // 64)


@pytest.mark.parametrize("shifted", [False, True])
def test_window_attention_is_plain_attention_under_a_mask(shifted):
    """Against attention over the whole picture in which only pixels of one window, and of one side of it, meet."""
    from models.layers import WindowAttention

    torch.manual_seed(1)
    attention = WindowAttention(12, head_channels=6, window=4, shifted=shifted)
    height, width = 8, 12
    x = torch.randn(2, height, width, 12)
    # Where each pixel lies after the cyclic shift, and whether it came round the edge.
    half = 2 if shifted else 0
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    row, column = (rows - half) % height, (columns - half) % width
    kind = torch.stack([row // 4, column // 4, (rows < half).long(), (columns < half).long()]).flatten(1)
    together = (kind[:, :, None] == kind[:, None, :]).all(0)
    inside_row, inside_column = (row % 4).flatten(), (column % 4).flatten()
    bias = attention.relative_position_params[
        :,
        inside_row[:, None] - inside_row[None] + 3,
        inside_column[:, None] - inside_column[None] + 3,
    ]
    query, key, value = attention.embedding_layer(x.flatten(1, 2)).unflatten(-1, (3, 2, 6)).permute(2, 0, 3, 1, 4)
    scores = (query @ key.transpose(-1, -2) / 6**0.5 + bias).masked_fill(~together, float("-inf"))
    expected = attention.linear((scores.softmax(-1) @ value).transpose(1, 2).flatten(2)).reshape(x.shape)
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-5)


def test_a_change_of_the_position_bias_shows_at_once(tiny_tcm, waves):
    """Nothing derived from a parameter is kept between steps."""
    x = waves(128, 128)
    with torch.no_grad():
        before = tiny_tcm(x)["x_hat"]
        tiny_tcm.g_a[2].trans_block.msa.relative_position_params.add_(torch.randn(2, 15, 15))
        assert not torch.equal(before, tiny_tcm(x)["x_hat"])


def test_the_fused_kernel_attends_as_the_plain_one(tiny_tcm, waves):
    from models.layers import WindowAttention

    x = waves(128, 256)
    with torch.inference_mode():
        fused = tiny_tcm.g_a(x)
        for module in tiny_tcm.g_a.modules():
            if isinstance(module, WindowAttention):
                assert module.fused
                module.fused = False
        torch.testing.assert_close(tiny_tcm.g_a(x), fused, atol=1e-5, rtol=1e-5)
    # Streams depend on every rounding of what predicts the entropy coder's scales.
    assert not any(module.fused for module in tiny_tcm.atten_scale.modules() if isinstance(module, WindowAttention))


def test_attention_in_steps_is_that_of_torch():
    from models.layers import attend

    torch.manual_seed(0)
    found = []
    for in_steps in (False, True):
        torch.manual_seed(0)
        query, key, value = (torch.randn(1, 2, 3, 4, 16, 8, requires_grad=True) for _ in range(3))
        bias = torch.randn(4, 16, 16, requires_grad=True)
        result = attend(query, key, value, bias, fused=True, in_steps=in_steps)
        found.append((result, *torch.autograd.grad(result.square().sum(), (query, key, value, bias))))
    for plain, stepped in zip(*found, strict=True):
        torch.testing.assert_close(stepped, plain, atol=1e-5, rtol=1e-4)


def test_linear_layers_and_1x1_convolutions_are_the_same_by_onednn_which_can_be_switched_off(waves, monkeypatch):
    from compressai.layers import GDN

    from models.layers import ChannelsLast, MixtureBlock

    torch.manual_seed(0)
    blocks = nn.Conv2d(3, 24, 1, stride=2), MixtureBlock(12, 6, 8, shifted=True), GDN(24)
    layers = ChannelsLast(*blocks).eval()
    x, convolve, calls = waves(64, 128), torch.mkldnn_convolution, []
    monkeypatch.setattr(torch, "mkldnn_convolution", lambda *arguments: calls.append(1) or convolve(*arguments))
    with torch.inference_mode():
        quick, by_onednn = layers(x), len(calls)
        with torch.backends.mkldnn.flags(enabled=False):
            torch.testing.assert_close(layers(x), quick, atol=1e-5, rtol=1e-5)
    assert len(calls) == by_onednn > 0
    torch.testing.assert_close(nn.Sequential(*blocks).eval()(x), quick, atol=1e-5, rtol=1e-5)


def test_a_network_can_be_laid_out_channels_last(tiny_tcm, waves):
    """As training on a GPU does, in training mode."""
    x = waves(128, 128)
    with torch.no_grad():
        before = tiny_tcm(x)["x_hat"]
        after = tiny_tcm.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(after["x_hat"], before, atol=1e-4, rtol=1e-4)


def test_side_by_side_changes_no_bit_of_means_and_scales(tiny_tcm, waves):
    x, found = waves(128, 256), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        with torch.inference_mode():
            found.append(tiny_tcm(x)["latent"])
        assert torch.get_num_threads() == threads
    y = found[0]["y"]
    assert (y - found[1]["y"]).abs().max() < 1e-5
    with torch.inference_mode():
        z_hat = tiny_tcm.entropy_bottleneck(tiny_tcm.h_a(y))[0]
        torch.set_num_threads(1)
        alone = tiny_tcm._bases(z_hat)
        torch.set_num_threads(3)
        together = tiny_tcm._bases(z_hat)
        decoded = [y.chunk(tiny_tcm.slices, dim=1)[0]]
        both = [tiny_tcm._predict(1, *alone, decoded)]
        torch.set_num_threads(1)
        both.append(tiny_tcm._predict(1, *alone, decoded))
    assert all(torch.equal(a, b) and b.is_inference() for a, b in zip(alone, together, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))


def test_a_subpixel_deconvolution_is_the_deconvolution():
    from compressai.models.utils import deconv

    from models.layers import SubpixelDeconvolution

    torch.manual_seed(0)
    plain, x = deconv(6, 3), torch.randn(2, 6, 5, 7)
    gradients = []
    for layer in (plain, SubpixelDeconvolution.of(plain)):
        plain.zero_grad()
        y = layer(x)
        y.square().sum().backward()
        gradients.append((y.detach(), plain.weight.grad.clone(), plain.bias.grad.clone()))
    for expected, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
