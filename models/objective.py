"""The training objective: rate plus lambda times the distortion inside the mask (SA-ICM; without one, ordinary RD).

``loss = bpp + lmbda * 255^2 * mse(x * m, x_hat * m)``, the mean running over all pixels, masked or not.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from icm.errors import UserError

REGIONS = ("edge", "object", "plain")
# An exact reconstruction reads 100 dB, so that means stay finite.
_LEAST_MSE = 1e-10


@dataclass(frozen=True)
class RateDistortion:
    """A plain callable: ``objective(output, x, mask)``.

    ``region`` says which pixels count: ``edge`` and ``object`` those of the mask that comes with the image (edges of
    objects, or their interiors), ``plain`` every pixel, whatever mask comes. UserError on an unknown region or a
    ``lmbda`` that is not a positive number.

    ``edge_weight`` weighs the edge prediction of a network that makes one (``"edge_logits"`` of `models.gated`): the
    binary cross-entropy with the mask, which is added to ``loss``. The other networks take no notice of it.
    """

    lmbda: float = 0.05
    region: str = "edge"
    edge_weight: float = 0.0

    def __post_init__(self):
        if self.region not in REGIONS:
            raise UserError(f"objective.region={self.region}: choose from {', '.join(REGIONS)}")
        if isinstance(self.lmbda, bool) or not isinstance(self.lmbda, int | float) or not 0 < self.lmbda < math.inf:
            raise UserError(f"objective.lmbda={self.lmbda}: must be a number above 0 (the paper: 0.02 to 0.06)")

    def __call__(self, output: dict, x: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """The loss of one batch and what it is made of, all float32 scalars.

        ``output`` is what ``network(x)`` returned; ``x`` (B, 3, H, W) RGB in [0, 1]; ``mask`` (B, 1, H, W) of 0 and 1
        (float or bool), or None for ones.

        - ``loss``: with gradient; the entropy bottleneck's ``network.aux_loss()`` is to be added by the caller
        - ``bpp``: estimated bits for each of the H x W pixels
        - ``mse``, ``masked_mse``: of x and x_hat, and of x * mask and x_hat * mask, mean over all pixels
        - ``psnr``: mean over images, x_hat clamped to [0, 1] (dB)
        - ``masked_psnr``: the same inside the mask, mean over the images whose mask is not empty; 0 if none is
          (average it over batches with weight B - empty_masks)
        - ``empty_masks``: number of images without a masked pixel; their masked distortion is 0
        """
        x_hat, x = output["x_hat"].float(), x.float()
        if mask is None or self.region == "plain":
            mask = torch.ones_like(x[:, :1])
        mask = mask.to(x)
        rate = bits_per_pixel(output["likelihoods"], x)
        masked_mse = ((x - x_hat) * mask).square().mean()
        loss = rate + self.lmbda * 255**2 * masked_mse
        if self.edge_weight and "edge_logits" in output:
            loss = loss + self.edge_weight * edge_cross_entropy(output["edge_logits"].float(), mask)
        with torch.no_grad():
            filled = mask.flatten(1).sum(1) > 0
            inside = masked_psnr(x, x_hat, mask)
            return {
                "loss": loss,
                "bpp": rate.detach(),
                "mse": (x - x_hat).square().mean(),
                "masked_mse": masked_mse.detach(),
                "psnr": masked_psnr(x, x_hat, torch.ones_like(mask)).mean(),
                "masked_psnr": torch.where(filled, inside, 0.0).sum() / filled.sum().clamp(min=1),
                "empty_masks": (~filled).sum().float(),
            }


def edge_cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy of predicted and true edges, mean over pixels; both (B, 1, H, W).

    Two pixels beside an edge count as edge, for the coder needs them too; edges weigh three times, for they are rare.
    """
    return F.binary_cross_entropy_with_logits(
        logits, F.max_pool2d(mask, 5, stride=1, padding=2), pos_weight=logits.new_tensor(3.0)
    )


def bits_per_pixel(likelihoods: dict[str, Tensor], x: Tensor) -> Tensor:
    """Estimated rate: -log2 of every likelihood, summed, over the B x H x W pixels of ``x`` (B, 3, H, W)."""
    bits = sum(-likelihood.float().log2().sum() for likelihood in likelihoods.values())
    return bits / (x.shape[0] * x.shape[-2] * x.shape[-1])


def masked_psnr(x: Tensor, x_hat: Tensor, mask: Tensor) -> Tensor:
    """PSNR (dB, peak 1) of every image inside its mask, x_hat clamped to [0, 1]: shape (B,), NaN where it is empty.

    ``x``, ``x_hat`` (B, 3, H, W); ``mask`` (B, 1, H, W) of 0 and 1. An exact match reads 100.
    """
    error = ((x - x_hat.clamp(0, 1)).square() * mask).flatten(1).sum(1)
    mse = error / (3 * mask.flatten(1).sum(1))
    return -10 * mse.clamp(min=_LEAST_MSE).log10()


def selectivity(x: Tensor, x_hat: Tensor, mask: Tensor) -> Tensor:
    """PSNR inside the mask minus PSNR outside (dB) of every image: shape (B,), NaN where either part is empty.

    The effect of the edge objective is this figure minus the same figure of a plain codec on the same images and masks.
    """
    mask = mask.to(x)
    return masked_psnr(x, x_hat, mask) - masked_psnr(x, x_hat, 1 - mask)
