"""What every network of this project offers on top of CompressAI's ``CompressionModel``."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from compressai.models import CompressionModel
from torch import Tensor, nn

from models.entropy import TABLE_BUFFERS, EntropyBottleneck, GaussianConditional

_SHOWN = 3


class CodecNetwork(CompressionModel):
    """CompressAI's conventions, spelled out once.

    Images are (B, 3, H, W) float RGB in [0, 1], H and W multiples of ``multiple``.

    - ``forward(x)`` -> ``{"x_hat": (B, 3, H, W) unclamped, "likelihoods": {"y": ..., "z": ...}}``
    - ``compress(x)`` -> ``{"strings": [B strings of y, B strings of z], "shape": (h, w) of z}``
    - ``decompress(strings, shape)`` -> ``{"x_hat": ...}``, forward's in eval mode, clamped to [0, 1]
    - ``update(force=True)`` makes the coding tables; needed once the weights are final, before compress
    - ``aux_loss()`` trains the entropy bottleneck's quantiles and nothing else

    A new network is a subclass with the attributes below, `architecture` and `architecture_of`, its entry in
    `models.networks` and a file in ``conf/network``.

    Attributes:
        multiple: What H and W must be multiples of.
        hyper_stride: Pixels of the picture for each position of z, along either side.
        entropy_path: Modules from the decoded hyper-latent to the scales of the latent; what `models.portable` computes
            in float64. Empty for a network that has no portable form.
        signature: Names of tensors that tell this network's weights from those of any other.
        settings: Buffers that the encoder works by, which belong into every file as the weights do; None where a
            network does without.
        overlaps: The modules that `models.tiles` computes tile by tile: pixels of the picture for each position of
            their input, and how many pixels around a tile they get to see.
        bytes_per_pixel_and_width: Peak memory of compress or decompress on a CPU, in bytes for each pixel and unit of
            N (measured, rounded up).
    """

    multiple: int
    hyper_stride: int = 64
    entropy_path: ClassVar[tuple[str, ...]] = ()
    signature: ClassVar[tuple[str, ...]]
    settings: ClassVar[tuple[str, ...]] = ()
    overlaps: ClassVar[dict[str, tuple[int, int]]] = {"g_a": (1, 64), "g_s": (16, 64)}
    bytes_per_pixel_and_width: int

    @property
    def bytes_per_pixel(self) -> int:
        """Peak memory of coding, in bytes for each pixel of the picture."""
        return self.bytes_per_pixel_and_width * self.N

    def compress(self, x: Tensor) -> dict:
        """The strings of every image of the batch and the size of z, as above.

        Images are coded one by one: the sums of a batched layer may round differently, and a string must decode in
        any company.

        Raises:
            ValueError: The weights drive the latent out of what can be coded.
        """
        coded = [self._compress_one(image) for image in x.split(1)]
        return {
            "strings": [[y for y, _ in coded], [z for _, z in coded]],
            "shape": torch.Size(side // self.hyper_stride for side in x.shape[-2:]),
        }

    def decompress(self, strings: list[list[bytes]], shape: tuple[int, int]) -> dict:
        """Inverse of `compress`: ``x_hat`` (B, 3, H, W) in [0, 1], H and W ``shape`` times ``hyper_stride``."""
        y_strings, z_strings = strings
        images = [self._decompress_one(y, z, shape) for y, z in zip(y_strings, z_strings, strict=True)]
        return {"x_hat": torch.cat(images)}

    def symbols(self, shape: tuple[int, int]) -> int:
        """How many symbols a picture has at most whose z is of that height and width."""
        positions = shape[0] * shape[1]
        return positions * (self.entropy_bottleneck.channels + self.M * (self.hyper_stride // 16) ** 2)

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

    def architecture(self) -> dict:
        """The constructor arguments that make a network of the same shapes."""
        return {"N": self.N, "M": self.M}

    @classmethod
    def architecture_of(cls, state: Mapping[str, Tensor]) -> dict:
        """The constructor arguments of the network that ``state`` belongs to, read off its tensors' shapes.

        Raises:
            KeyError: A tensor that the arguments are read from is missing.
        """
        raise NotImplementedError

    @classmethod
    def matches(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether ``state`` looks like weights of this class: it has the tensors of the signature."""
        return all(name in state for name in cls.signature)

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "CodecNetwork":
        """The network with these weights, in training mode, its coding tables not made.

        Args:
            state: Tensors under the names of ``state_dict()``; buffers and coding tables may be left out.

        Raises:
            KeyError: A tensor that the architecture is read from is missing.
            ValueError: The shapes make no such network, or tensors are missing, unexpected or of another shape; the
                first few are named.
        """
        network = cls(**cls.architecture_of(state))
        if misfit := network.misfit(state):
            raise ValueError(f"tensors do not fit {cls.__name__}: {misfit}")
        network.load_state_dict(state, strict=False)
        return network

    def converge_quantiles(self) -> None:
        """Move the entropy bottleneck's quantiles to where ``aux_loss`` would leave them, and make the coding tables.

        By bisection, as in CompressAI: nothing else changes, and the estimated rate stays what it is up to the medians
        that the hyper-latent is rounded about.
        """
        with torch.no_grad():
            self.update(force=True, update_quantiles=True)

    def misfit(self, state: Mapping[str, Tensor]) -> str:
        """What keeps ``state`` from being this network's weights, the first few tensors by name; "" when it fits."""
        # The tables are made anew; other buffers are constants of the layers: a file may leave them out.
        expected = {name: value for name, value in self.state_dict().items() if not name.endswith(TABLE_BUFFERS)}
        missing = [name for name, _ in self.named_parameters() if name not in state]
        unexpected = [name for name in state if name not in expected and not name.endswith(TABLE_BUFFERS)]
        misshapen = [
            f"{name} {list(state[name].shape)} instead of {list(value.shape)}"
            for name, value in expected.items()
            if name in state and state[name].shape != value.shape
        ]
        return "; ".join(
            f"{len(names)} {what} ({first(names)})"
            for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
            if names
        )


def first(names: list[str]) -> str:
    """The first few of ``names``, with dots where there are more."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
