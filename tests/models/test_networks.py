"""What every network promises: coding, batches, gradients, the noise switch, precision, state dicts."""

import pytest
import torch

pytestmark = pytest.mark.usefixtures("one_thread")


def rate_and_distortion(network, x):
    from models.objective import RateDistortion

    return RateDistortion(lmbda=0.05, region="plain")(network(x), x)["loss"] + network.aux_loss()


def test_decompress_gives_the_forward_reconstruction(network, waves):
    x = waves(128, 256)
    with torch.inference_mode():
        decoded = network.decompress(**network.compress(x))["x_hat"]
        assert torch.equal(decoded, network(x)["x_hat"].clamp(0, 1))


def test_a_batch_codes_as_its_images_do(network, waves):
    x = torch.cat([waves(128, 128), waves(128, 128).flip(3), 1 - waves(128, 128)])
    with torch.inference_mode():
        batch = network.compress(x)
        singles = [network.compress(image) for image in x.split(1)]
        assert batch["strings"] == [[single["strings"][i][0] for single in singles] for i in range(2)]
        decoded = network.decompress(**batch)["x_hat"]
        for image, single in zip(decoded.split(1), singles, strict=True):
            assert torch.equal(image, network.decompress(**single)["x_hat"])


def test_real_size_is_the_estimated_rate(waves):
    """On a network trained for a few steps, so that its scales mean something."""
    from models.hyperprior import Hyperprior

    torch.manual_seed(0)
    network, x = Hyperprior(N=16, M=24), torch.cat([waves(128, 256), 1 - waves(128, 256)])
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(120):
        optimizer.zero_grad()
        rate_and_distortion(network, x).backward()
        optimizer.step()
    network.eval().update(force=True)
    with torch.inference_mode():
        estimated = sum(-part.log2().sum() for part in network(x)["likelihoods"].values()) / 8
        coded = network.compress(x)
    real = sum(len(string) for strings in coded["strings"] for string in strings)
    assert real > 300
    assert abs(real - float(estimated)) < 0.02 * float(estimated) + 64 * len(x)


@pytest.mark.parametrize("noise", [True, False])
def test_every_parameter_gets_a_gradient(network, waves, noise):
    network.train()
    network.noise = noise
    rate_and_distortion(network, waves(128, 128)).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_the_auxiliary_loss_moves_the_quantiles_and_nothing_else(network, waves):
    network.train()
    network.aux_loss().backward()
    assert [name for name, value in network.named_parameters() if value.grad is not None and value.grad.any()] == [
        "entropy_bottleneck.quantiles"
    ]
    network.zero_grad()
    output = network(waves(128, 128))
    (output["x_hat"].sum() + sum(part.log2().sum() for part in output["likelihoods"].values())).backward()
    quantiles = network.entropy_bottleneck.quantiles.grad
    assert quantiles is None or not quantiles.any()


def test_training_without_noise_is_a_function_of_the_image(network, waves):
    x = waves(128, 128)
    network.train()
    with torch.no_grad():
        assert network.noise
        rate = network(x)["likelihoods"]["y"]
        assert not torch.equal(rate, network(x)["likelihoods"]["y"])
        network.noise = False
        assert not network.noise
        first, second = network(x), network(x)
        assert torch.equal(first["x_hat"], second["x_hat"])
        assert all(torch.equal(first["likelihoods"][part], second["likelihoods"][part]) for part in "yz")


def test_likelihoods_stay_float32_under_autocast(network, waves):
    network.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(waves(128, 128))
    assert {part.dtype for part in output["likelihoods"].values()} == {torch.float32}


def test_state_dicts_load_with_tables_or_without(network):
    full = network.state_dict()
    bare = {name: value[:0] if "_cdf" in name or "_offset" in name else value for name, value in full.items()}
    for first, second in ((full, bare), (bare, full)):
        network.load_state_dict(first, strict=True)
        network.load_state_dict(second, strict=True)
    assert network.gaussian_conditional._quantized_cdf.numel()
    with pytest.raises(RuntimeError, match="Unexpected"):
        network.load_state_dict({**full, "stranger": torch.zeros(1)}, strict=True)


def test_loading_replaces_the_tables_in_use(network, waves):
    x = waves(128, 128)
    with torch.inference_mode():
        before = network.compress(x)["strings"]
        state = network.state_dict()
        state["entropy_bottleneck.quantiles"] = state["entropy_bottleneck.quantiles"] * 0.3
        network.load_state_dict(state)
        network.update(force=True)
        assert network.compress(x)["strings"][1] != before[1]


def test_a_diverged_network_is_refused(network, waves):
    """CompressAI's range coder loops for ever on such values."""
    for scale in (1e12, float("nan")):
        with torch.inference_mode(), pytest.raises(ValueError, match="weights are not a codec's"):
            network.entropy_bottleneck.compress(network.h_a(network.g_a(waves(128, 128))) * scale)


def test_garbage_strings_decode_to_something(network, rng):
    """Wrong symbols, but no crash and no hang; the codec above tells them by their checksum."""
    with torch.inference_mode():
        for length in (0, 1, 7, 8, 100, 5000):
            for filling in (rng.integers(0, 256, length, dtype="uint8").tobytes(), b"\xff" * length):
                x_hat = network.decompress([[filling], [filling]], (2, 2))["x_hat"]
                assert x_hat.shape == (1, 3, 128, 128)


def test_the_small_coder_writes_compressais_bytes(waves):
    from compressai.models import MeanScaleHyperprior

    from models.hyperprior import Hyperprior

    torch.manual_seed(2)
    peer = MeanScaleHyperprior(16, 24).eval()
    peer.update(force=True)
    ours = Hyperprior(N=16, M=24).eval()
    ours.load_state_dict(peer.state_dict())
    with torch.no_grad():
        peer.g_a[6].weight.mul_(20)
        ours.g_a[6].weight.mul_(20)
        expected, coded = peer.compress(waves(64, 128)), ours.compress(waves(64, 128))
        assert coded["strings"] == expected["strings"]
        # The strings are the contract; the synthesis rounds its last float bit otherwise.
        ours_x, peer_x = ours.decompress(**coded)["x_hat"], peer.decompress(**expected)["x_hat"]
        torch.testing.assert_close(ours_x, peer_x, atol=1e-5, rtol=0)


def test_every_network_option_is_a_class_that_weights_are_read_back_into():
    from pathlib import Path

    from omegaconf import OmegaConf

    from models.networks import NETWORKS

    options = Path(__file__).resolve().parents[2].glob("conf/network/*.yaml")
    assert {OmegaConf.load(option)._target_ for option in options} == {
        f"{network.__module__}.{network.__name__}" for network in NETWORKS
    }


def test_a_network_is_made_from_its_state_alone(network, waves):
    made = type(network).from_state_dict(network.state_dict())
    assert made.architecture() == network.architecture()
    made.eval().update(force=True)
    with torch.inference_mode():
        coded = made.compress(waves(128, 256))
        assert coded == network.compress(waves(128, 256))
    assert tuple(coded["shape"]) == (128 // made.hyper_stride, 256 // made.hyper_stride)
    with pytest.raises(ValueError, match=r"1 unexpected \(stranger\)"):
        type(network).from_state_dict({**network.state_dict(), "stranger": torch.zeros(1)})
