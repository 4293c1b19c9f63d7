"""CompressAI's other architectures under this project's conventions, for training and for its published weights.

State-dict names, numbers and bitstreams are CompressAI's; ``mbt2018-mean`` is `models.hyperprior.Hyperprior`.
"""

from collections.abc import Mapping
from typing import ClassVar

import compressai.models
import torch
import torch.nn.functional as F
from torch import Tensor

from models.entropy import EntropyBottleneck, GaussianConditional, SymbolString
from models.layers import SteadySequential, single_threaded
from models.network import CodecNetwork

_KERNEL = 5  # of the context model


class Factorized(CodecNetwork, compressai.models.FactorizedPrior):
    """``bmshj2018-factorized`` (Balle et al. 2018): a latent with a learned factorised prior, no hyper-latent.

    The latent takes the place of the hyper-latent in the container: its string is y, z is empty.

    Args:
        N: Channels of the transforms.
        M: Channels of the latent, at 1/16 of the picture.
    """

    multiple = 16
    hyper_stride = 16
    signature: ClassVar[tuple[str, ...]] = ("g_a.0.weight",)
    bytes_per_pixel_and_width = 7

    def __init__(self, N: int = 128, M: int = 192):
        super().__init__(N=N, M=M)
        self.entropy_bottleneck = EntropyBottleneck(M)

    @classmethod
    def architecture_of(cls, state: Mapping[str, Tensor]) -> dict:
        return _widths(state)

    def _compress_one(self, x: Tensor) -> tuple[bytes, bytes]:
        return self.entropy_bottleneck.compress(self.g_a(x))[0], b""

    def _decompress_one(self, y_string: bytes, z_string: bytes, shape: tuple[int, int]) -> Tensor:
        return self.g_s(self.entropy_bottleneck.decompress([y_string], shape)).clamp(0, 1)


class ScaleHyperprior(CodecNetwork, compressai.models.ScaleHyperprior):
    """``bmshj2018-hyperprior`` (Balle et al. 2018): the hyper-latent gives scales alone, means are 0.

    Args:
        N: Channels of the transforms and the hyper-latent.
        M: Channels of the latent, at 1/16 of the picture.
    """

    multiple = 64
    entropy_path = ("h_s",)
    signature: ClassVar[tuple[str, ...]] = ("g_a.0.weight", "h_s.0.weight", "h_s.4.weight")
    bytes_per_pixel_and_width = 7

    def __init__(self, N: int = 128, M: int = 192):
        super().__init__(N=N, M=M)
        self.h_s = SteadySequential(*self.get_submodule("h_s"))
        self.entropy_bottleneck = EntropyBottleneck(N)
        self.gaussian_conditional = GaussianConditional(None)

    @classmethod
    def matches(cls, state: Mapping[str, Tensor]) -> bool:
        # Hyperprior has tensors of the same names; its hyper-synthesis gives means, too.
        return super().matches(state) and len(state["h_s.4.weight"]) == len(state["g_a.6.weight"])

    @classmethod
    def architecture_of(cls, state: Mapping[str, Tensor]) -> dict:
        return _widths(state)

    def _compress_one(self, x: Tensor) -> tuple[bytes, bytes]:
        (y_string,), (z_string,) = compressai.models.ScaleHyperprior.compress(self, x)["strings"]
        return y_string, z_string

    def _decompress_one(self, y_string: bytes, z_string: bytes, shape: tuple[int, int]) -> Tensor:
        return compressai.models.ScaleHyperprior.decompress(self, [[y_string], [z_string]], shape)["x_hat"]


class JointAutoregressive(CodecNetwork, compressai.models.JointAutoregressiveHierarchicalPriors):
    """``mbt2018`` (Minnen et al. 2018): scales and means from the hyper-latent and from the values decoded before.

    Coding walks through the latent position by position: 1.2 s of one core for 256 x 256 pixels, 20 s for a megapixel.

    Args:
        N: Channels of the transforms and the hyper-latent.
        M: Channels of the latent, at 1/16 of the picture.
    """

    multiple = 64
    signature: ClassVar[tuple[str, ...]] = ("g_a.0.weight", "h_s.0.weight", "context_prediction.weight")
    bytes_per_pixel_and_width = 7

    def __init__(self, N: int = 192, M: int = 192):
        super().__init__(N=N, M=M)
        self._own_entropy_models()

    def _own_entropy_models(self) -> None:
        self.h_s = SteadySequential(*self.get_submodule("h_s"))
        self.entropy_bottleneck = EntropyBottleneck(self.N)
        self.gaussian_conditional = GaussianConditional(None)

    @classmethod
    def architecture_of(cls, state: Mapping[str, Tensor]) -> dict:
        return _widths(state)

    def _compress_one(self, x: Tensor) -> tuple[bytes, bytes]:
        y = self.g_a(x)
        z = self.h_a(y)
        z_string = self.entropy_bottleneck.compress(z)[0]
        params = self.h_s(self.entropy_bottleneck.decompress([z_string], z.shape[-2:]))
        conditional = self.gaussian_conditional
        string = conditional.joined or SymbolString()

        def code(row: int, column: int, scales: Tensor, means: Tensor) -> Tensor:
            symbols = conditional.quantize(y[:, :, row : row + 1, column : column + 1], "symbols", means)
            string.put(conditional, symbols, conditional.build_indexes(scales))
            return conditional.dequantize(symbols, means)

        self._walk(params, code)
        return b"" if conditional.joined else string.to_bytes(), z_string

    def _decompress_one(self, y_string: bytes, z_string: bytes, shape: tuple[int, int]) -> Tensor:
        params = self.h_s(self.entropy_bottleneck.decompress([z_string], shape))
        conditional = self.gaussian_conditional
        string = conditional.joined or SymbolString(y_string, self.M * params.shape[-2] * params.shape[-1])

        def code(row: int, column: int, scales: Tensor, means: Tensor) -> Tensor:
            symbols = string.get(conditional, conditional.build_indexes(scales))
            return conditional.dequantize(symbols, means)

        return self.g_s(self._walk(params, code)).clamp(0, 1)

    def _walk(self, params: Tensor, code) -> Tensor:
        """The decoded latent (1, M, h, w), made position by position in raster order.

        Args:
            params: (1, 2 M, h, w), from the hyper-latent.
            code: Takes row, column, scales and means, both (1, M, 1, 1); gives the decoded values.
        """
        height, width = params.shape[-2:]
        margin = _KERNEL // 2
        context = self.context_prediction
        weight = context.weight * context.mask
        latent = params.new_zeros(1, self.M, height + 2 * margin, width + 2 * margin)
        # One thread: sums that are split over threads round differently, and the pieces are too small for more.
        with single_threaded(params.device):
            for row in range(height):
                for column in range(width):
                    around = latent[:, :, row : row + _KERNEL, column : column + _KERNEL]
                    known = F.conv2d(around, weight, context.bias)
                    here = params[:, :, row : row + 1, column : column + 1]
                    scales, means = self.entropy_parameters(torch.cat((here, known), dim=1)).chunk(2, 1)
                    latent[:, :, row + margin, column + margin] = code(row, column, scales, means)[:, :, 0, 0]
        return latent[:, :, margin:-margin, margin:-margin]


class Cheng2020Anchor(JointAutoregressive, compressai.models.Cheng2020Anchor):
    """``cheng2020-anchor`` (Cheng et al. 2020) as CompressAI has it: residual blocks, one Gaussian, the context model.

    Args:
        N: Channels of everything.
    """

    signature: ClassVar[tuple[str, ...]] = ("g_a.0.conv1.weight", "h_s.0.weight", "context_prediction.weight")
    bytes_per_pixel_and_width = 50

    def __init__(self, N: int = 192):
        compressai.models.Cheng2020Anchor.__init__(self, N=N)
        self._own_entropy_models()

    def architecture(self) -> dict:
        return {"N": self.N}

    @classmethod
    def architecture_of(cls, state: Mapping[str, Tensor]) -> dict:
        return {"N": len(state["g_a.0.conv1.weight"])}


class Cheng2020Attention(Cheng2020Anchor, compressai.models.Cheng2020Attention):
    """``cheng2020-attn`` (Cheng et al. 2020) as CompressAI has it: `Cheng2020Anchor` with attention modules.

    Args:
        N: Channels of everything.
    """

    signature: ClassVar[tuple[str, ...]] = (*Cheng2020Anchor.signature, "g_a.3.conv_a.0.conv.0.weight")

    def __init__(self, N: int = 192):
        compressai.models.Cheng2020Attention.__init__(self, N=N)
        self._own_entropy_models()


def _widths(state: Mapping[str, Tensor]) -> dict:
    return {"N": len(state["g_a.0.weight"]), "M": len(state["g_a.6.weight"])}
