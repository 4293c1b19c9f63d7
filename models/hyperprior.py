"""CompressAI's mean-scale hyperprior (Minnen et al. 2018, ``mbt2018-mean``) under this project's conventions."""

from collections.abc import Mapping
from typing import ClassVar

from compressai.models import MeanScaleHyperprior
from torch import Tensor

from models.entropy import EntropyBottleneck, GaussianConditional
from models.layers import ChannelsLast, SteadySequential, SubpixelDeconvolution
from models.network import CodecNetwork


class Hyperprior(CodecNetwork, MeanScaleHyperprior):
    """A small convolutional codec.

    State-dict names and bitstreams are those of CompressAI's ``MeanScaleHyperprior(N, M)``; the latent is H / 16 x
    W / 16.

    Args:
        N: Channels of the transforms and the hyper-latent.
        M: Channels of the latent.
    """

    multiple = 64
    entropy_path = ("h_s",)
    signature: ClassVar[tuple[str, ...]] = ("g_a.0.weight", "h_s.0.weight")
    bytes_per_pixel_and_width = 7

    def __init__(self, N: int = 64, M: int = 96):
        super().__init__(N=N, M=M)
        self.g_a = ChannelsLast(*self.g_a)
        self.g_s = ChannelsLast(*self.g_s[:-1], SubpixelDeconvolution.of(self.g_s[-1]))
        self.h_s = SteadySequential(*self.h_s)
        self.entropy_bottleneck = EntropyBottleneck(N)
        self.gaussian_conditional = GaussianConditional(None)

    @classmethod
    def architecture_of(cls, state: Mapping[str, Tensor]) -> dict:
        return {"N": len(state["g_a.0.weight"]), "M": len(state["g_a.6.weight"])}

    def _compress_one(self, x: Tensor) -> tuple[bytes, bytes]:
        (y_string,), (z_string,) = MeanScaleHyperprior.compress(self, x)["strings"]
        return y_string, z_string

    def _decompress_one(self, y_string: bytes, z_string: bytes, shape: tuple[int, int]) -> Tensor:
        return MeanScaleHyperprior.decompress(self, [[y_string], [z_string]], shape)["x_hat"]
