"""The TCM codec: mixed transformer-CNN transforms, channel-wise autoregressive prior (Liu, Sun, Katto, CVPR 2023).

It is the network of SA-ICM and LIC-TCM: state-dict names and shapes are those of their published checkpoints.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from compressai.layers import ResidualBlockUpsample, ResidualBlockWithStride, conv3x3, subpel_conv3x3
from torch import Tensor, nn

from models.entropy import EntropyBottleneck, GaussianConditional, SymbolString
from models.layers import ChannelsLast, MixtureBlock, SteadySequential, SwinAttention, side_by_side
from models.network import CodecNetwork

_HEADS = (8, 16, 32)
_HYPER_HEAD, _ATTENTION_HEAD = 32, 16
_WINDOW, _HYPER_WINDOW = 8, 4


class TCM(CodecNetwork):
    """The published network (76.6 M parameters) by default; N = 64 is the published small one.

    Args:
        N: Half the width of the transforms.
        M: Latent channels, at 1/16 of the picture.
        hyper: Hyper-latent channels, at 1/64.
        slices: Equal parts of the latent, coded one after the other, each with means and scales predicted from the
            hyper-latent and the parts before it.
        depth: Mixture blocks of a stage, alternately with plain and shifted windows.
        attention: Width of the attention modules.
        context: Widths of the prediction convolutions.

    Raises:
        ValueError: ``M`` does not divide into ``slices``.
    """

    multiple = 128
    entropy_path = (
        "h_mean_s",
        "h_scale_s",
        "atten_mean",
        "atten_scale",
        "cc_mean_transforms",
        "cc_scale_transforms",
        "lrp_transforms",
    )
    signature: ClassVar[tuple[str, ...]] = ("g_a.0.conv1.weight",)
    overlaps: ClassVar[dict[str, tuple[int, int]]] = {"g_a": (1, 128), "g_s": (16, 128)}
    bytes_per_pixel_and_width = 50

    def __init__(
        self,
        N: int = 128,
        M: int = 320,
        hyper: int = 192,
        slices: int = 5,
        depth: int = 2,
        attention: int = 128,
        context: tuple[int, int] = (224, 128),
    ):
        super().__init__()
        if M % slices:
            raise ValueError(f"M={M} does not divide into {slices} slices")
        self.N, self.M, self.hyper, self.slices = N, M, hyper, slices
        self.depth, self.attention, self.context = depth, attention, tuple(context)

        def stage(head_channels: int, window: int = _WINDOW) -> list[nn.Module]:
            return [MixtureBlock(N, head_channels, window, shifted=bool(i % 2)) for i in range(depth)]

        small, medium, large = _HEADS
        self.g_a = ChannelsLast(
            ResidualBlockWithStride(3, 2 * N, stride=2),
            *stage(small),
            ResidualBlockWithStride(2 * N, 2 * N, stride=2),
            *stage(medium),
            ResidualBlockWithStride(2 * N, 2 * N, stride=2),
            *stage(large),
            conv3x3(2 * N, M, stride=2),
        )
        self.g_s = ChannelsLast(
            ResidualBlockUpsample(M, 2 * N, 2),
            *stage(large),
            ResidualBlockUpsample(2 * N, 2 * N, 2),
            *stage(medium),
            ResidualBlockUpsample(2 * N, 2 * N, 2),
            *stage(small),
            subpel_conv3x3(2 * N, 3, 2),
        )
        self.h_a = nn.Sequential(
            ResidualBlockWithStride(M, 2 * N, stride=2),
            *stage(_HYPER_HEAD, _HYPER_WINDOW),
            conv3x3(2 * N, hyper, stride=2),
        )
        self.h_mean_s, self.h_scale_s = (
            SteadySequential(
                ResidualBlockUpsample(hyper, 2 * N, 2),
                *stage(_HYPER_HEAD, _HYPER_WINDOW),
                subpel_conv3x3(2 * N, M, 2),
            )
            for _ in range(2)
        )
        width = M // slices
        supports = [M + width * i for i in range(slices)]

        def attentions() -> nn.ModuleList:
            return nn.ModuleList(
                SteadySequential(SwinAttention(support, attention, _ATTENTION_HEAD, _WINDOW)) for support in supports
            )

        def predictors(extra: int) -> nn.ModuleList:
            first, second = self.context
            return nn.ModuleList(
                SteadySequential(
                    conv3x3(support + extra, first),
                    nn.GELU(),
                    conv3x3(first, second),
                    nn.GELU(),
                    conv3x3(second, width),
                )
                for support in supports
            )

        self.atten_mean, self.atten_scale = attentions(), attentions()
        self.cc_mean_transforms, self.cc_scale_transforms = predictors(0), predictors(0)
        self.lrp_transforms = predictors(width)
        self.entropy_bottleneck = EntropyBottleneck(hyper)
        self.gaussian_conditional = GaussianConditional(None)

    def architecture(self) -> dict:
        names = ("N", "M", "hyper", "slices", "depth", "attention", "context")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def architecture_of(cls, state: Mapping[str, Tensor]) -> dict:
        def parts(prefix: str) -> int:
            return len({name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)})

        return {
            "N": len(state["g_a.0.conv1.weight"]) // 2,
            "M": state["h_a.0.conv1.weight"].shape[1],
            "hyper": len(state["entropy_bottleneck.quantiles"]),
            "slices": parts("cc_mean_transforms."),
            # h_a is one stage between two layers.
            "depth": parts("h_a.") - 2,
            "attention": len(state["atten_mean.0.0.in_conv.weight"]),
            "context": tuple(len(state[f"cc_mean_transforms.0.{layer}.weight"]) for layer in (0, 2)),
        }

    def forward(self, x: Tensor) -> dict:
        """(B, 3, H, W) -> ``x_hat``, ``likelihoods`` and, for study, ``latent``: ``y``, ``means``, ``scales``."""
        y = self.g_a(x)
        z_hat, z_likelihoods = self._hyper(self.h_a(y))
        base_means, base_scales = self._bases(z_hat)
        decoded, likelihoods, means, scales = [], [], [], []
        for i, part in enumerate(y.chunk(self.slices, dim=1)):
            support, mean, scale = self._predict(i, base_means, base_scales, decoded)
            likelihoods.append(self.gaussian_conditional(part, scale, mean)[1])
            decoded.append(self._refine(i, support, self._round(part, mean)))
            means.append(mean)
            scales.append(scale)
        return {
            "x_hat": self.g_s(torch.cat(decoded, dim=1)),
            "likelihoods": {"y": torch.cat(likelihoods, dim=1), "z": z_likelihoods},
            "latent": {"y": y, "means": torch.cat(means, dim=1), "scales": torch.cat(scales, dim=1)},
        }

    def _compress_one(self, x: Tensor) -> tuple[bytes, bytes]:
        y = self.g_a(x)
        z = self.h_a(y)
        z_string = self.entropy_bottleneck.compress(z)[0]
        z_hat = self.entropy_bottleneck.decompress([z_string], z.shape[-2:])
        base_means, base_scales = self._bases(z_hat)
        conditional, decoded = self.gaussian_conditional, []
        string = conditional.joined or SymbolString()
        for i, part in enumerate(y.chunk(self.slices, dim=1)):
            support, mean, scale = self._predict(i, base_means, base_scales, decoded)
            symbols, indexes = conditional.quantize(part, "symbols", mean), conditional.build_indexes(scale)
            string.put(conditional, symbols, indexes)
            decoded.append(self._refine(i, support, conditional.dequantize(symbols, mean)))
        return b"" if conditional.joined else string.to_bytes(), z_string

    def _decompress_one(self, y_string: bytes, z_string: bytes, shape: tuple[int, int]) -> Tensor:
        z_hat = self.entropy_bottleneck.decompress([z_string], shape)
        base_means, base_scales = self._bases(z_hat)
        conditional, decoded = self.gaussian_conditional, []
        string = conditional.joined or SymbolString(y_string, base_means.numel())
        for i in range(self.slices):
            support, mean, scale = self._predict(i, base_means, base_scales, decoded)
            symbols = string.get(conditional, conditional.build_indexes(scale))
            decoded.append(self._refine(i, support, conditional.dequantize(symbols, mean)))
        return self.g_s(torch.cat(decoded, dim=1)).clamp(0, 1)

    def _hyper(self, z: Tensor) -> tuple[Tensor, Tensor]:
        noisy_or_rounded, likelihoods = self.entropy_bottleneck(z)
        if not self.training:
            return noisy_or_rounded, likelihoods
        return self._round(z, self.entropy_bottleneck.medians()), likelihoods

    def _round(self, values: Tensor, means: Tensor) -> Tensor:
        """round(values - means) + means; in training the gradient passes as if nothing was rounded."""
        if not self.training:
            return self.gaussian_conditional.quantize(values, "dequantize", means)
        if not self.noise:
            return values
        return values + (torch.round(values - means) + means - values).detach()

    def _predict(
        self, i: int, base_means: Tensor, base_scales: Tensor, decoded: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Slice i from what is known before it: its mean support, means and scales."""

        def of_means() -> tuple[Tensor, Tensor]:
            support = self.atten_mean[i](torch.cat([base_means, *decoded], dim=1))
            return support, self.cc_mean_transforms[i](support)

        def of_scales() -> Tensor:
            return self.cc_scale_transforms[i](self.atten_scale[i](torch.cat([base_scales, *decoded], dim=1)))

        (support, mean), scale = side_by_side(base_means.device, of_means, of_scales)
        return support, mean, scale

    def _bases(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        """What the hyper-latent says of means and scales."""
        return side_by_side(z_hat.device, lambda: self.h_mean_s(z_hat), lambda: self.h_scale_s(z_hat))

    def _refine(self, i: int, support: Tensor, rounded: Tensor) -> Tensor:
        """Latent residual prediction: takes back up to half a step of what rounding lost."""
        # One layout in encoder and decoder: layouts choose convolution kernels, and kernels round differently.
        rounded = rounded.contiguous()
        return rounded + 0.5 * torch.tanh(self.lrp_transforms[i](torch.cat([support, rounded], dim=1)))
