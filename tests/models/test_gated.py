import pytest
import torch

from icm.errors import UserError
from models.checkpoint import load_network, save_safetensors
from models.gated import GatedHyperprior, gated
from models.objective import RateDistortion, edge_cross_entropy


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return GatedHyperprior(N=16, M=24, gate=8)


def test_edge_logits_have_the_size_of_the_image(network):
    output = network(torch.rand(2, 3, 64, 128))
    assert output["edge_logits"].shape == (2, 1, 64, 128)
    assert output["x_hat"].shape == (2, 3, 64, 128)


def test_a_closed_gate_hides_texture_and_keeps_coarse_colour_an_open_one_hides_nothing():
    stripes = (torch.arange(64) % 2).float().expand(1, 3, 64, 64) * torch.tensor([0.2, 0.6, 1.0]).view(1, 3, 1, 1)
    logits = torch.full((1, 1, 64, 64), 30.0)
    assert torch.allclose(gated(stripes, logits), stripes, atol=1e-6)
    coarse = gated(stripes, -logits)
    assert torch.allclose(coarse, torch.tensor([0.1, 0.3, 0.5]).view(1, 3, 1, 1).expand_as(coarse), atol=1e-6)
    logits[..., :32] = -30
    half = gated(stripes, logits)
    assert torch.allclose(half[..., :32], coarse[..., :32])
    assert torch.allclose(half[..., 32:], stripes[..., 32:])


def test_the_gate_learns_from_rate_and_distortion_and_from_the_edges(network):
    x, mask = torch.rand(1, 3, 64, 64), (torch.rand(1, 1, 64, 64) > 0.9).float()
    for weight in (0.0, 1.0):
        network.zero_grad()
        RateDistortion(lmbda=0.01, edge_weight=weight)(network(x), x, mask)["loss"].backward()
        assert all(parameter.grad is not None for parameter in network.gate.parameters())


def test_edge_cross_entropy_of_known_values():
    mask = torch.zeros(1, 1, 9, 9)
    mask[..., 4, 4] = 1
    near = torch.zeros_like(mask)
    near[..., 2:7, 2:7] = 1
    assert edge_cross_entropy(40 * near - 20, mask) < 1e-6
    # log 2 everywhere, three times that on the 25 pixels around the edge.
    expected = torch.log(torch.tensor(2.0)) * (56 + 3 * 25) / 81
    assert edge_cross_entropy(torch.zeros_like(mask), mask).item() == pytest.approx(expected.item(), rel=1e-5)


def test_pixels_of_faces_leave_the_cross_entropy_and_shut_the_gate(network):
    mask, faces = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., 32, :], faces[..., 16:48, 16:48] = 1, 1
    wrong = torch.where(faces > 0, 20.0, -20.0)
    assert edge_cross_entropy(wrong, mask * (1 - faces), apart=1 - faces) > 1
    assert edge_cross_entropy(wrong, mask * (1 - faces), apart=faces) < edge_cross_entropy(wrong, mask * (1 - faces))
    x, output = torch.rand(1, 3, 64, 64), network(torch.rand(1, 3, 64, 64))
    objective = RateDistortion(lmbda=0.01, face_weight=2)
    opened, shut = (
        objective({**output, "edge_logits": torch.full_like(mask, logit)}, x, mask, faces=faces)["loss"].item()
        for logit in (5.0, -5.0)
    )
    # softplus(5) - softplus(-5) = 5, over a quarter of the pixels.
    assert opened - shut == pytest.approx(2 * 5 / 4, rel=1e-4)


@pytest.mark.parametrize("part", ["gate", "codec"])
def test_training_one_part_leaves_the_other_as_it_is(network, part):
    alone = GatedHyperprior(N=16, M=24, gate=8, trained=part)
    alone.load_state_dict(network.state_dict())
    x, mask = torch.rand(1, 3, 64, 64), (torch.rand(1, 1, 64, 64) > 0.9).float()
    (RateDistortion(lmbda=0.01, edge_weight=1)(alone(x), x, mask)["loss"] + alone.aux_loss()).backward()
    learnt = {name for name, parameter in alone.named_parameters() if parameter.grad is not None}
    gate = {name for name, _ in alone.named_parameters() if name.startswith("gate.")}
    everything = {name for name, _ in alone.named_parameters()}
    assert learnt == (gate if part == "gate" else everything - gate)
    assert alone.architecture() == network.architecture()


def test_what_is_trained_is_one_of_three():
    with pytest.raises(UserError, match=r"network\.trained=decoder: choose from all, gate, codec"):
        GatedHyperprior(N=16, M=24, gate=8, trained="decoder")


def test_streams_decode_to_the_networks_own_picture_after_a_round_trip_through_a_file(network, tmp_path):
    loaded = load_network(save_safetensors(network, tmp_path / "gated.safetensors", half=False))
    assert isinstance(loaded, GatedHyperprior)
    assert loaded.architecture() == {"N": 16, "M": 24, "gate": 8}
    x = torch.rand(2, 3, 64, 128)
    with torch.no_grad():
        coded = loaded.compress(x)
        decoded = loaded.decompress(coded["strings"], coded["shape"])["x_hat"]
        expected = torch.cat([loaded(image)["x_hat"].clamp(0, 1) for image in x.split(1)])
    assert torch.equal(decoded, expected)


@pytest.mark.parametrize("half", [True, False])
def test_the_squares_are_in_the_file_and_the_encoder_that_is_read_back_uses_them(half, tmp_path):
    torch.manual_seed(0)
    network = GatedHyperprior(N=16, M=24, gate=8, blocks=4)
    network.gate.out.bias.data -= 20  # shut everywhere
    loaded = load_network(save_safetensors(network, tmp_path / "gated.safetensors", half=half))
    assert loaded.architecture() == network.architecture() == {"N": 16, "M": 24, "gate": 8, "blocks": 4}
    x = torch.rand(1, 3, 128, 128)
    square = torch.nn.functional.avg_pool2d(x, 32).repeat_interleave(32, 2).repeat_interleave(32, 3)
    with torch.no_grad():
        assert loaded.compress(x)["strings"] == loaded.compress(square)["strings"]
