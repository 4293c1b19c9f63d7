"""Networks with reproducible weights, so that no test needs a trained file."""

import math
import zlib

import numpy as np
import pytest
import torch

TINY = {"N": 16, "M": 80, "hyper": 32, "slices": 5, "depth": 2, "attention": 32, "context": (48, 32)}


def fill_deterministically(network: torch.nn.Module) -> torch.nn.Module:
    """Weights that depend on each tensor's name and shape alone: the recipe of the golden files in tests/data.

    Buffers and the GDN and entropy-bottleneck parameters keep their initial values.
    """
    state = network.state_dict()
    for name, value in state.items():
        kept = ".gdn." in name or ".igdn." in name or name.startswith(("gaussian_conditional", "entropy_bottleneck"))
        if kept or not value.is_floating_point() or not value.numel():
            continue
        sample = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(value.shape))
        sample = sample.astype(np.float32)
        if value.ndim >= 2 and "relative_position" not in name:
            sample *= 0.68 / math.sqrt(math.prod(value.shape[1:]))
            if name == "h_a.3.weight":
                sample *= 30
            elif name.startswith("cc_scale_transforms") and name.endswith(".4.weight"):
                sample *= 10
        elif name.endswith(".weight"):
            sample = 1 + 0.05 * sample
        else:
            sample *= 0.02
        state[name] = torch.from_numpy(sample)
    network.load_state_dict(state)
    return network


def picture_of_waves(height: int, width: int) -> torch.Tensor:
    """The picture of the golden files, (1, 3, height, width) in [0, 1]: waves and a checkerboard."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    red = 0.5 + 0.5 * np.sin(x / 17 + y / 31)
    green = 0.5 + 0.4 * np.cos(x / 9 - y / 23)
    blue = ((x // 32 + y // 32) % 2) * 0.6 + 0.2 * np.sin(x * y / 4001) + 0.2
    return torch.from_numpy(np.stack([red, green, blue]).clip(0, 1).astype(np.float32))[None]


def build(family: str) -> torch.nn.Module:
    from models.hyperprior import Hyperprior
    from models.tcm import TCM

    torch.manual_seed(5)
    if family == "tcm":
        return fill_deterministically(TCM(**TINY)).eval()
    network = Hyperprior(N=16, M=24)
    with torch.no_grad():
        # A fresh network rounds everything to 0; these latents spread over some tens of steps.
        network.g_a[6].weight.mul_(30)
        network.h_a[4].weight.mul_(30)
    return network.eval()


@pytest.fixture
def fill():
    """The function `fill_deterministically`."""
    return fill_deterministically


@pytest.fixture
def waves():
    """The function ``waves(height, width)``."""
    return picture_of_waves


@pytest.fixture(params=["tcm", "hyperprior"])
def network(request) -> torch.nn.Module:
    """A small network of each family, its coding tables made."""
    network = build(request.param)
    network.update(force=True)
    return network


@pytest.fixture
def tiny_tcm() -> torch.nn.Module:
    return build("tcm")
