"""The network of the ``restorer`` attack, its training, and its file."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from icm.attacks.base import AttackError
from icm.files import atomic_write

WIDTH = 32
_CARD = "card"


class RestorerNetwork(nn.Module):  # type: ignore[misc]
    """A small residual U-Net (Ronneberger, Fischer, Brox 2015): what it adds to the picture is learnt.

    It works on blocks of 2 x 2 pixels as channels (FFDNet: Zhang, Zuo, Zhang 2018), a quarter of the work.

    (n, 3, height, width) float RGB in [0, 1] to the same; both sides multiples of `MULTIPLE`.
    """

    MULTIPLE = 8

    def __init__(self, width: int = WIDTH):
        super().__init__()
        widths = [width, 2 * width, 4 * width]
        self.first = nn.Conv2d(12, widths[0], 3, padding=1)
        self.encoders = nn.ModuleList(_block(channels) for channels in widths)
        steps = list(itertools.pairwise(widths))
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 4, stride=2, padding=1) for fine, coarse in steps)
        self.ups = nn.ModuleList(nn.Conv2d(coarse, fine, 3, padding=1) for fine, coarse in steps)
        self.decoders = nn.ModuleList(_block(channels) for channels in widths[:-1])
        self.last = nn.Conv2d(widths[0], 12, 3, padding=1)
        nn.init.zeros_(self.last.weight)  # training starts from the picture as it is
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        features = self.first(functional.pixel_unshuffle(x, 2))
        skips = []
        for level, encoder in enumerate(self.encoders):
            features = features + encoder(features)
            if level < len(self.downs):
                skips.append(features)
                features = self.downs[level](features)
        for level in reversed(range(len(self.downs))):
            features = functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
            features = self.ups[level](features) + skips[level]
            features = features + self.decoders[level](features)
        return x + functional.pixel_shuffle(self.last(features), 2)


def _block(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
    )


def train(
    pairs: np.ndarray,
    steps: int,
    seed: int = 0,
    batch: int = 8,
    learning_rate: float = 1e-3,
    width: int = WIDTH,
    device: str = "cpu",
    progress: Callable[[float], None] = lambda loss: None,
) -> RestorerNetwork:
    """A network that takes coded pictures to their originals, by least absolute error.

    Args:
        pairs: (n, 2, side, side, 3) uint8 RGB, coded then original; ``side`` a multiple of 8.
        steps: Batches seen; the learning rate falls to 0 along half a cosine.
        progress: Called with the loss of each step.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RestorerNetwork(width).to(device).train()
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = pairs[rng.integers(0, len(pairs), batch)]
        if rng.random() < 0.5:
            chosen = chosen[:, :, :, ::-1]
        coded, original = (to_tensor(side).to(device) for side in (chosen[:, 0], chosen[:, 1]))
        loss = functional.l1_loss(network(coded), original)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress(loss.item())
    return network.cpu().eval()


def restore(network: RestorerNetwork, pictures: np.ndarray) -> np.ndarray:
    """(n, height, width, 3) uint8 RGB of any size, restored."""
    height, width = pictures.shape[1:3]
    down, right = (-side % network.MULTIPLE for side in (height, width))
    padded = np.pad(pictures, ((0, 0), (0, down), (0, right), (0, 0)), mode="edge")
    with torch.inference_mode():
        restored = network(to_tensor(padded))
    pixels = (restored.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)
    return pixels[:, :height, :width].contiguous().numpy()


def to_tensor(pictures: np.ndarray) -> Tensor:
    """(n, height, width, 3) uint8 to (n, 3, height, width) float in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


def save(network: RestorerNetwork, card: dict, path: Path | str) -> Path:
    """Write weights (half precision) and card, how they were made, into one safetensors file."""
    tensors = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    return atomic_write(path, safetensors.torch.save(tensors, {_CARD: json.dumps(card)}))


def load(path: Path | str) -> tuple[RestorerNetwork, dict]:
    """The network in a file that `save` wrote, in eval mode, and its card.

    Raises:
        AttackError: the file is missing or another one.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            card = json.loads(file.metadata()[_CARD])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        network = RestorerNetwork(len(tensors["first.bias"]))
        network.load_state_dict(tensors)
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        remedy = "name a file that `python -m icm restorer` wrote"
        raise AttackError(f"{path}: no weights of the restorer attack ({reason}); {remedy}") from error
    return network.eval(), card
