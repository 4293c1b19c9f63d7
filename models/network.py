"""What every network of this project offers on top of CompressAI's ``CompressionModel``."""

from collections.abc import Mapping

import torch
from compressai.models import CompressionModel
from torch import Tensor, nn

from models.entropy import EntropyBottleneck, GaussianConditional


class CodecNetwork(CompressionModel):
    """CompressAI's conventions, spelled out once.

    Images are (B, 3, H, W) float RGB in [0, 1], H and W multiples of ``multiple``.

    - ``forward(x)`` -> ``{"x_hat": (B, 3, H, W) unclamped, "likelihoods": {"y": ..., "z": ...}}``
    - ``compress(x)`` -> ``{"strings": [B strings of y, B strings of z], "shape": (h, w) of z}``
    - ``decompress(strings, shape)`` -> ``{"x_hat": ...}``, forward's in eval mode, clamped to [0, 1]
    - ``update(force=True)`` makes the coding tables; needed once the weights are final, before compress
    - ``aux_loss()`` trains the entropy bottleneck's quantiles and nothing else
    - ``architecture()`` -> the constructor's arguments
    """

    multiple: int
    # Peak memory of compress or decompress on a CPU, in bytes for each pixel and unit of N (measured, rounded up).
    bytes_per_pixel_and_width: int

    @property
    def bytes_per_pixel(self) -> int:
        """Peak memory of coding, in bytes for each pixel of the picture."""
        return self.bytes_per_pixel_and_width * self.N

    def compress(self, x: Tensor) -> dict:
        """The strings of every image of the batch and the size of z, as above.

        Images are coded one by one: the sums of a batched layer may round differently, and a string must decode in
        any company. ValueError when the weights drive the latent out of what can be coded.
        """
        coded = [self._compress_one(image) for image in x.split(1)]
        return {
            "strings": [[y for y, _ in coded], [z for _, z in coded]],
            "shape": torch.Size((x.shape[-2] // 64, x.shape[-1] // 64)),
        }

    def decompress(self, strings: list[list[bytes]], shape: tuple[int, int]) -> dict:
        """Inverse of `compress`: ``x_hat`` (B, 3, 64 h, 64 w) in [0, 1]."""
        y_strings, z_strings = strings
        images = [self._decompress_one(y, z, shape) for y, z in zip(y_strings, z_strings, strict=True)]
        return {"x_hat": torch.cat(images)}

    @property
    def noise(self) -> bool:
        """Whether training adds uniform quantisation noise to the latents (the default).

        False leaves the latents as they are: every training step is then a function of weights and images alone, and
        gradients still reach every parameter. For tests that compare steps; a codec trained so never meets rounding.
        """
        return all(module.noise for module in self._entropy_models())

    @noise.setter
    def noise(self, value: bool) -> None:
        for module in self._entropy_models():
            module.noise = bool(value)

    def _entropy_models(self) -> list[EntropyBottleneck | GaussianConditional]:
        return [m for m in self.modules() if isinstance(m, EntropyBottleneck | GaussianConditional)]

    def load_state_dict(self, state_dict: Mapping, strict: bool = True, assign: bool = False):
        """As in torch; the entropy models take coding tables of any size, or none (see `models.entropy`)."""
        return nn.Module.load_state_dict(self, state_dict, strict=strict, assign=assign)

    def architecture(self) -> dict[str, int]:
        """The constructor arguments that make a network of the same shapes."""
        return {"N": self.N, "M": self.M}
