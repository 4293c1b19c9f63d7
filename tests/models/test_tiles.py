"""What is computed tile by tile is what the whole picture gives."""

import pytest
import torch

from models.tiles import Tiles

pytestmark = pytest.mark.usefixtures("one_thread")


def codings(network, x):
    with torch.inference_mode():
        coded = network.compress(x)
        return coded, network.decompress(**coded)["x_hat"]


def test_tiles_code_as_the_whole_picture_does(network, waves):
    x = waves(128, 512)
    whole, picture = codings(network, x)
    with Tiles(network, 128):
        tiled, tiled_picture = codings(network, x)
    # A symbol at the very edge of rounding may fall to the other side.
    sizes = [sum(len(string) for (string,) in coded["strings"]) for coded in (whole, tiled)]
    assert sizes[1] == pytest.approx(sizes[0], rel=1e-3)
    assert (picture - tiled_picture).square().mean() < 1e-6
    assert all("forward" not in vars(module) for module in network.modules())


def test_each_decodes_the_others_strings(network, waves):
    whole, picture = codings(network, waves(128, 384))
    with Tiles(network, 128), torch.inference_mode():
        torch.testing.assert_close(network.decompress(**whole)["x_hat"], picture, atol=5e-3, rtol=0)


def test_the_gate_is_tiled_too(waves):
    from models.gated import GatedHyperprior

    torch.manual_seed(0)
    network, x, inputs = GatedHyperprior(N=8, M=12, gate=8).eval(), waves(640, 384), []
    whole = network.gate(x)
    network.gate.register_forward_pre_hook(lambda module, given: inputs.append(given[0].shape))
    with Tiles(network, 128):
        tiled = network.gate(x)
    torch.testing.assert_close(tiled, whole, atol=1e-4, rtol=1e-4)
    assert inputs == [x.shape]  # of the module; its forward sees the tiles
