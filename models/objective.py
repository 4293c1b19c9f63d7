"""The training objective: rate plus lambda times the distortion inside the mask (SA-ICM; without one, ordinary RD).

``loss = bpp + lmbda * distortion``, the distortion ``255^2 * mse(x * m, x_hat * m)``, its mean running over all pixels,
masked or not, or ``1 - MS-SSIM(x * m, x_hat * m)`` (Wang, Simoncelli, Bovik 2003).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from icm.errors import UserError

REGIONS = ("edge", "object", "plain")
DISTORTIONS = ("mse", "ms_ssim")
# MS-SSIM halves the picture four times and needs more than a window of 11 pixels then.
MS_SSIM_SIDE = 161
# An exact reconstruction reads 100 dB, so that means stay finite.
_LEAST_MSE = 1e-10


@dataclass(frozen=True)
class RateDistortion:
    """A plain callable: ``objective(output, x, mask)``.

    Attributes:
        lmbda: Weight of the distortion, above 0. CompressAI's networks have 0.0018 to 0.18 for MSE and 2.4 to 220 for
            MS-SSIM.
        region: Which pixels count: ``edge`` and ``object`` those of the mask that comes with the image (edges of
            objects, or their interiors), ``plain`` every pixel of the picture, whatever mask comes.
        edge_weight: Weight of the edge prediction of a network that makes one (``"edge_logits"`` of `models.gated`):
            its binary cross-entropy with the mask is added to ``loss``. The other networks take no notice of it.
        edge_odds: How much more a pixel near an edge weighs there than another one: edges are rare.
        face_weight: Weight of what shuts the edge prediction inside faces, for data that knows them: the mean over all
            pixels of softplus(logit) where there is a face is added to ``loss``; the cross-entropy leaves faces out.
        identity_weight: Weight of what the codec learns against a face recogniser that is trained along, for data that
            knows faces; `models.lightning` adds that, it is no part of ``loss``. 0: there is none.
        distortion: ``mse`` or ``ms_ssim``.
        warmup: Optimizer steps at the start of a training in which every pixel counts, as under ``plain``: a network
            learns to code pictures before it learns where to.

    Raises:
        UserError: A region or distortion that there is not, or a number out of range.
    """

    lmbda: float = 0.05
    region: str = "edge"
    edge_weight: float = 0.0
    edge_odds: float = 3.0
    face_weight: float = 0.0
    identity_weight: float = 0.0
    distortion: str = "mse"
    warmup: int = 0

    def __post_init__(self):
        for name, value, choices in (
            ("region", self.region, REGIONS),
            ("distortion", self.distortion, DISTORTIONS),
        ):
            if value not in choices:
                raise UserError(f"objective.{name}={value}: choose from {', '.join(choices)}")
        if isinstance(self.lmbda, bool) or not isinstance(self.lmbda, int | float) or not 0 < self.lmbda < math.inf:
            raise UserError(f"objective.lmbda={self.lmbda}: must be a number above 0 (the paper: 0.02 to 0.06)")
        if not 0 < self.edge_odds < math.inf:
            raise UserError(f"objective.edge_odds={self.edge_odds}: must be a number above 0, such as 3")
        for name, weight in (("face_weight", self.face_weight), ("identity_weight", self.identity_weight)):
            if not 0 <= weight < math.inf:
                raise UserError(f"objective.{name}={weight}: must be a number, 0 or above")
        if isinstance(self.warmup, bool) or not isinstance(self.warmup, int) or self.warmup < 0:
            raise UserError(f"objective.warmup={self.warmup}: must be a whole number of steps, 0 for none")

    def __call__(
        self,
        output: dict,
        x: Tensor,
        mask: Tensor | None = None,
        valid: Tensor | None = None,
        step: int | None = None,
        faces: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss of one batch and what it is made of, all float32 scalars.

        Args:
            output: What ``network(x)`` returned.
            x: (B, 3, H, W) RGB in [0, 1].
            mask: (B, 1, H, W) of 0 and 1 (float or bool), 0 wherever ``valid`` is; None: ``valid``.
            valid: (B, 1, H, W) of 0 and 1: 0 in the padding around a picture, whose distortion never counts; None:
                all ones.
            step: Optimizer steps done, for the warm-up; None: it is over.
            faces: (B, 1, H, W) of 0 and 1, 1 inside faces; None: nobody knows.

        Returns:
            - ``loss``: with gradient; the entropy bottleneck's ``network.aux_loss()`` is to be added by the caller
            - ``bpp``: estimated bits for each of the H x W pixels
            - ``distortion``: what lambda multiplies
            - ``mse``, ``masked_mse``: of x and x_hat, and of x * mask and x_hat * mask, mean over all pixels
            - ``psnr``: mean over images, x_hat clamped to [0, 1] (dB)
            - ``masked_psnr``: the same inside the mask, mean over the images whose mask is not empty; 0 if none is
              (average it over batches with weight B - empty_masks)
            - ``empty_masks``: number of images without a masked pixel; their masked distortion is 0
        """
        x_hat, x = output["x_hat"].float(), x.float()
        valid = torch.ones_like(x[:, :1]) if valid is None else valid.to(x)
        mask = valid if mask is None or self.region == "plain" else mask.to(x)
        counted = valid if step is not None and step < self.warmup else mask
        rate = bits_per_pixel(output["likelihoods"], x)
        masked_mse = ((x - x_hat) * counted).square().mean()
        distortion = 255**2 * masked_mse if self.distortion == "mse" else 1 - ms_ssim(x * counted, x_hat * counted)
        loss = rate + self.lmbda * distortion
        if "edge_logits" in output:
            logits = output["edge_logits"].float()
            apart = faces if self.face_weight else None
            if self.edge_weight:
                loss = loss + self.edge_weight * edge_cross_entropy(logits, mask, self.edge_odds, apart)
            if apart is not None:
                loss = loss + self.face_weight * (F.softplus(logits) * apart).mean()
        with torch.no_grad():
            filled = mask.flatten(1).sum(1) > 0
            inside = masked_psnr(x, x_hat, mask)
            return {
                "loss": loss,
                "bpp": rate.detach(),
                "distortion": distortion.detach(),
                "mse": (x - x_hat).square().mean(),
                "masked_mse": masked_mse.detach(),
                "psnr": masked_psnr(x, x_hat, valid).mean(),
                "masked_psnr": torch.where(filled, inside, 0.0).sum() / filled.sum().clamp(min=1),
                "empty_masks": (~filled).sum().float(),
            }


def ms_ssim(x: Tensor, x_hat: Tensor) -> Tensor:
    """Mean MS-SSIM of a batch (B, 3, H, W) in [0, 1], sides at least `MS_SSIM_SIDE`; x_hat need not be clamped."""
    from pytorch_msssim import ms_ssim as measured

    # Its variances are differences of large numbers: neither half precision nor TF32 leaves anything of them.
    with torch.autocast(x.device.type, enabled=False), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return measured(x_hat.float(), x.float(), data_range=1.0)


def edge_cross_entropy(logits: Tensor, mask: Tensor, odds: float = 3.0, apart: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of predicted and true edges, mean over pixels; all (B, 1, H, W).

    Two pixels beside an edge count as edge, for the coder needs them too; edges weigh ``odds`` times as much as others.
    Pixels that are set ``apart`` count as 0.
    """
    target = F.max_pool2d(mask, 5, stride=1, padding=2)
    weight = None if apart is None else 1 - apart.to(logits)
    return F.binary_cross_entropy_with_logits(logits, target, weight, pos_weight=logits.new_tensor(odds))


def bits_per_pixel(likelihoods: dict[str, Tensor], x: Tensor) -> Tensor:
    """Estimated rate: -log2 of every likelihood, summed, over the B x H x W pixels of ``x`` (B, 3, H, W)."""
    return torch.stack(list(bits_by_latent(likelihoods, x).values())).sum()


def bits_by_latent(likelihoods: dict[str, Tensor], x: Tensor) -> dict[str, Tensor]:
    """The terms of `bits_per_pixel`, by the name of the latent that they code."""
    pixels = x.shape[0] * x.shape[-2] * x.shape[-1]
    return {name: -likelihood.float().log2().sum() / pixels for name, likelihood in likelihoods.items()}


def masked_psnr(x: Tensor, x_hat: Tensor, mask: Tensor) -> Tensor:
    """PSNR (dB, peak 1) of every image inside its mask, x_hat clamped to [0, 1].

    Args:
        x: (B, 3, H, W) in [0, 1].
        x_hat: The same shape.
        mask: (B, 1, H, W) of 0 and 1.

    Returns:
        Shape (B,); NaN where the mask is empty, 100 for an exact match.
    """
    error = ((x - x_hat.clamp(0, 1)).square() * mask).flatten(1).sum(1)
    mse = error / (3 * mask.flatten(1).sum(1))
    return -10 * mse.clamp(min=_LEAST_MSE).log10()


def selectivity(x: Tensor, x_hat: Tensor, mask: Tensor, valid: Tensor | None = None) -> Tensor:
    """PSNR inside the mask minus PSNR in the rest of the picture (dB), arguments as in `masked_psnr`.

    The effect of the edge objective is this figure minus the same figure of a plain codec on the same images and masks.

    Args:
        x: (B, 3, H, W) in [0, 1].
        x_hat: The same shape.
        mask: (B, 1, H, W) of 0 and 1.
        valid: The same shape, 0 in the padding around a picture, which is neither inside nor outside; None: all ones.

    Returns:
        Shape (B,); NaN where either part is empty.
    """
    mask = mask.to(x)
    outside = (1 if valid is None else valid.to(x)) - mask
    return masked_psnr(x, x_hat, mask) - masked_psnr(x, x_hat, outside)
