"""A hyperprior whose encoder first predicts where object edges are and smooths the rest away."""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icm.errors import UserError
from models.hyperprior import Hyperprior

# Which part of a network learns.
TRAINED = ("all", "gate", "codec")
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
        blocks: Where the gate is shut, the encoder sees averages over squares: of 16 pixels (None), or so many of them
            along the picture's longer side, so that a large face is as coarse as a small one.
        trained: ``all``; ``gate`` alone, from its cross-entropy with the mask, while the codec stays as it is and
            decodes what it decoded before; or ``codec`` alone, for what the gate lets through as it is.

    Raises:
        UserError: Another ``trained``.
    """

    signature: ClassVar[tuple[str, ...]] = (*Hyperprior.signature, "gate.out.weight")
    settings: ClassVar[tuple[str, ...]] = ("blocks",)

    overlaps: ClassVar[dict[str, tuple[int, int]]] = {**Hyperprior.overlaps, "gate": (1, 256)}

    def __init__(self, N: int = 64, M: int = 96, gate: int = 32, blocks: int | None = None, trained: str = "all"):
        if trained not in TRAINED:
            raise UserError(f"network.trained={trained}: choose from {', '.join(TRAINED)}")
        super().__init__(N=N, M=M)
        self.gate = EdgeGate(gate)
        # Files without it have 16 pixels.
        self.register_buffer("blocks", None if blocks is None else torch.tensor(blocks))
        self.trained = trained
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(trained in ("all", "gate" if name.startswith("gate.") else "codec"))

    def forward(self, x: Tensor) -> dict:
        logits = self.gate(x)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.trained != "gate"):
            return {**super().forward(gated(x, logits, self._blocks)), "edge_logits": logits}

    def _compress_one(self, x: Tensor) -> tuple[bytes, bytes]:
        return super()._compress_one(gated(x, self.gate(x), self._blocks))

    @property
    def _blocks(self) -> int | None:
        return None if self.blocks is None else int(self.blocks)

    def architecture(self) -> dict:
        blocks = {} if self.blocks is None else {"blocks": self._blocks}
        return {**super().architecture(), "gate": self.gate.out.in_channels, **blocks}

    @classmethod
    def architecture_of(cls, state: Mapping[str, Tensor]) -> dict:
        blocks = {"blocks": int(state["blocks"])} if "blocks" in state else {}
        return {**super().architecture_of(state), "gate": state["gate.out.weight"].shape[1], **blocks}


def gated(x: Tensor, logits: Tensor, blocks: int | None = None) -> Tensor:
    """``x`` (B, 3, H, W) where ``logits`` (B, 1, H, W) are high, its averages over squares where they are low.

    The squares have 16 pixels, or there are ``blocks`` of them along the longer side.
    """
    height, width = x.shape[-2:]
    if blocks is None:
        coarse = F.avg_pool2d(x, _SMOOTHING)
    else:
        rows, columns = (max(1, round(blocks * side / max(height, width))) for side in (height, width))
        coarse = F.interpolate(x, size=(rows, columns), mode="area")
    coarse = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return torch.lerp(coarse, x, logits.sigmoid().to(x.dtype))
