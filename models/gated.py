"""A hyperprior whose encoder first predicts where object edges are and smooths the rest away."""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.hyperprior import Hyperprior

# What is not an edge keeps its colour at this scale (pixels), so that it costs next to no bits.
_SMOOTHING = 16


class EdgeGate(nn.Module):
    """A small U-Net (Ronneberger et al. 2015) from an image to edge logits at its own resolution.

    (B, 3, H, W) RGB in [0, 1] -> (B, 1, H, W); H and W multiples of 32. It works at a quarter of the resolution and
    sees about 200 pixels around, since what makes an edge an object's edge is not local. The last bias starts the gate
    open.

    Args:
        width: Number of channels.
    """

    def __init__(self, width: int = 32):
        super().__init__()
        self.down = nn.ModuleList(
            [_block(48, width), *(_block(inputs, 2 * width, stride=2) for inputs in (width, 2 * width, 2 * width))]
        )
        self.up = nn.ModuleList([_block(4 * width, 2 * width), _block(4 * width, 2 * width), _block(3 * width, width)])
        self.out = nn.Conv2d(width, 4, 3, padding=1)
        nn.init.constant_(self.out.bias, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.down[0](F.pixel_unshuffle(x, 4))]
        for block in self.down[1:]:
            features.append(block(features[-1]))
        deep = features.pop()
        for block in self.up:
            skip = features.pop()
            deep = block(torch.cat([F.interpolate(deep, size=skip.shape[-2:]), skip], dim=1))
        logits = F.pixel_shuffle(self.out(deep), 2)
        return F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, 1, 1), nn.ReLU()
    )


class GatedHyperprior(Hyperprior):
    """`Hyperprior` behind an `EdgeGate`: away from predicted edges the encoder sees only the picture's coarse colours.

    The codec learns from the masked objective alone to ignore texture, but slowly; the gate puts the decision where it
    can be learnt directly, from the mask (``objective.edge_weight``; compare arXiv 2402.08267, which predicts the mask
    from the encoder's features). ``forward`` adds ``"edge_logits"`` (B, 1, H, W) to its output. Decoding does not use
    the gate: bitstreams are those of `Hyperprior`.

    Args:
        N: As in `Hyperprior`.
        M: As in `Hyperprior`.
        gate: Channels of the gate.
    """

    signature: ClassVar[tuple[str, ...]] = (*Hyperprior.signature, "gate.out.weight")

    overlaps: ClassVar[dict[str, tuple[int, int]]] = {**Hyperprior.overlaps, "gate": (1, 256)}

    def __init__(self, N: int = 64, M: int = 96, gate: int = 32):
        super().__init__(N=N, M=M)
        self.gate = EdgeGate(gate)

    def forward(self, x: Tensor) -> dict:
        logits = self.gate(x)
        return {**super().forward(gated(x, logits)), "edge_logits": logits}

    def _compress_one(self, x: Tensor) -> tuple[bytes, bytes]:
        return super()._compress_one(gated(x, self.gate(x)))

    def architecture(self) -> dict:
        return {**super().architecture(), "gate": self.gate.out.in_channels}

    @classmethod
    def architecture_of(cls, state: Mapping[str, Tensor]) -> dict:
        return {**super().architecture_of(state), "gate": state["gate.out.weight"].shape[1]}


def gated(x: Tensor, logits: Tensor) -> Tensor:
    """``x`` (B, 3, H, W) where ``logits`` (B, 1, H, W) are high, its 16 x 16 averages where they are low."""
    coarse = F.avg_pool2d(x, _SMOOTHING)
    coarse = F.interpolate(coarse, scale_factor=_SMOOTHING, mode="bilinear", align_corners=False)
    return torch.lerp(coarse, x, logits.sigmoid().to(x.dtype))
