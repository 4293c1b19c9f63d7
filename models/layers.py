"""Window attention and the mixed convolution-transformer blocks of the TCM codec (Liu, Sun, Katto, CVPR 2023).

Attribute names are those of the published checkpoints. Feature maps are (B, C, H, W) between blocks and (B, H, W, C)
inside the transformer halves; H and W are multiples of the window.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from compressai.layers import AttentionBlock, ResidualBlock, conv1x1
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

First = TypeVar("First")
Second = TypeVar("Second")
Result = TypeVar("Result")


class ChannelsLast(nn.Sequential):
    """`nn.Sequential` that computes in channels-last layout in eval mode on a CPU; (B, C, H, W) contiguous in and out.

    For the transforms between picture and latent, where nothing depends on the last bit.
    """

    def forward(self, x: Tensor) -> Tensor:
        # In training torch 2.12 aborts in the backward pass of the first block.
        if self.training or x.device.type != "cpu":
            return super().forward(x)
        with _OneDnn():
            return super().forward(x.contiguous(memory_format=torch.channels_last)).contiguous()


class _OneDnn(TorchFunctionMode):
    """Within, linear layers and 1x1 convolutions of float32 go to oneDNN, as larger convolutions do by themselves.

    Torch gives them to MKL (convolutions on one thread only), which takes twice as long on AMD's processors.
    """

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        plain = torch.compiler.is_compiling() or not torch.backends.mkldnn.enabled
        if function in (F.linear, F.conv2d) and not plain:
            x, weight = args[:2]
            if x.dtype == torch.float32 and function is F.linear:
                return _linear(*args)
            if x.dtype == torch.float32 and weight.shape[2:] == (1, 1):
                return _conv1x1(*args)
        return function(*args, **(kwargs or {}))


def _conv1x1(x: Tensor, weight: Tensor, bias: Tensor, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups: int = 1):
    return torch.mkldnn_convolution(x, weight, bias, padding, stride, dilation, groups)


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer over the last dimension of x as a 1x1 convolution of one column of pixels, channels last."""
    pixels = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)
    y = _conv1x1(pixels, weight[..., None, None], bias)
    return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


class SubpixelDeconvolution(nn.ConvTranspose2d):
    """CompressAI's ``deconv`` (kernel 5, stride 2) as a 3x3 convolution to four times the channels and a pixel shuffle.

    The same numbers, faster where the channels out are few: torch's own spends its time on the stride.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        # Output 2 m + d (d = 0, 1) is the sum over input m + j (j = -1, 0, 1) times tap 2 + d - 2 j; there is no tap 5.
        taps = F.pad(self.weight, (0, 1, 0, 1)).unflatten(3, (3, 2)).unflatten(2, (3, 2)).flip(2, 4)
        weight = taps.permute(1, 3, 5, 0, 2, 4).flatten(0, 2)
        assert self.bias is not None
        return F.pixel_shuffle(F.conv2d(x, weight, self.bias.repeat_interleave(4), padding=1), 2)

    @classmethod
    def of(cls, layer: nn.ConvTranspose2d) -> "SubpixelDeconvolution":
        """One with the parameters of ``layer``."""
        made = cls(layer.in_channels, layer.out_channels, 5, 2, 2, 1)
        made.weight, made.bias = layer.weight, layer.bias
        return made


class SteadySequential(nn.Sequential):
    """`nn.Sequential` whose results do not depend on the number of threads, in eval mode on a CPU.

    For all that predicts the parameters of the entropy coder: sums that are split over threads round differently, and
    a stream coded with two threads would not decode with one. For the same reason its attention stays with the kernel
    that streams have been written with.
    """

    def __init__(self, *modules: nn.Module):
        super().__init__(*modules)
        for module in self.modules():
            if isinstance(module, WindowAttention):
                module.fused = False

    def forward(self, x: Tensor) -> Tensor:
        # In float64 (`models.portable`) the roundings of threads do not matter.
        if self.training or x.dtype == torch.float64:
            return super().forward(x)
        with single_threaded(x.device):
            return super().forward(x)


@contextmanager
def single_threaded(device: torch.device) -> Iterator[None]:
    """The body on one thread of a CPU; on another device as it is."""
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def side_by_side(
    device: torch.device, first: Callable[[], First], second: Callable[[], Second]
) -> tuple[First, Second]:
    """The results of both; at once where nothing is to be differentiated and a CPU has threads to spare.

    Each then has one thread to itself, so what a `SteadySequential` computes is the same as one after the other.
    """
    if device.type != "cpu" or torch.is_grad_enabled() or torch.get_num_threads() == 1:
        return first(), second()
    inference = torch.is_inference_mode_enabled()

    def alone(function: Callable[[], Result]) -> Result:
        # These modes belong to a thread.
        with torch.inference_mode() if inference else torch.no_grad(), single_threaded(device):
            return function()

    with ThreadPoolExecutor(1) as executor:
        other = executor.submit(alone, second)
        return alone(first), other.result()


def relative_index(window: int) -> Tensor:
    """(p, p) int64, p = window^2: where the offset of two positions of a window lies in a (2w - 1) x (2w - 1) table."""
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    y, x = rows.flatten(), columns.flatten()
    span = 2 * window - 1
    return (y[:, None] - y[None, :] + window - 1) * span + (x[:, None] - x[None, :] + window - 1)


def shift_masks(window: int) -> Tensor:
    """(2, 2, p, p) float: what to add to the scores of windows shifted by half their side.

    After the cyclic shift the windows of the last row (first index 1) and of the last column (second index 1) hold
    pixels from opposite sides of the picture, which must not see each other: -inf there, 0 elsewhere.
    """
    far = torch.arange(window) >= window - window // 2
    row = far[:, None].expand(window, window).flatten()
    column = far[None, :].expand(window, window).flatten()
    masks = torch.zeros(2, 2, window**2, window**2)
    masks[1, :].masked_fill_(row[:, None] != row[None, :], float("-inf"))
    masks[:, 1].masked_fill_(column[:, None] != column[None, :], float("-inf"))
    return masks


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a learned bias for every relative position (Swin)."""

    def __init__(self, channels: int, head_channels: int, window: int, shifted: bool):
        super().__init__()
        self.window, self.shifted = window, shifted
        self.heads = channels // head_channels
        self.fused = True
        self.embedding_layer = nn.Linear(channels, 3 * channels)
        self.linear = nn.Linear(channels, channels)
        table = torch.empty(self.heads, 2 * window - 1, 2 * window - 1)
        self.relative_position_params = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer("_relative_index", relative_index(window), persistent=False)
        if shifted:
            self.register_buffer("_shift_masks", shift_masks(window), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same shape."""
        batch, height, width, channels = x.shape
        window, half = self.window, self.window // 2
        rows, columns = height // window, width // window
        if self.shifted:
            x = x.roll((-half, -half), dims=(1, 2))
        x = x.reshape(batch, rows, window, columns, window, channels).transpose(2, 3)
        x = self.embedding_layer(x.reshape(batch, rows, columns, window**2, channels))
        # (B, rows, columns, p, 3 * heads * d) -> three of (B, rows, columns, heads, p, d)
        query, key, value = x.unflatten(-1, (3, self.heads, -1)).permute(4, 0, 1, 2, 5, 3, 6)
        x = self._attend(query, key, value)
        x = self.linear(x.transpose(3, 4).flatten(4))
        x = x.reshape(batch, rows, columns, window, window, channels).transpose(2, 3)
        x = x.reshape(batch, height, width, channels)
        return x.roll((half, half), dims=(1, 2)) if self.shifted else x

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        bias = self.relative_position_params.flatten(1)[:, self._relative_index]
        in_steps = self.training and query.device.type == "cpu"
        if not self.shifted:
            return attend(query, key, value, bias, self.fused, in_steps)
        # Four kinds of window share four masks; one mask for each window would take gigabytes on a large picture.
        last_row, last_column = query.shape[1] - 1, query.shape[2] - 1
        row_bands = (slice(0, last_row), slice(last_row, None))
        column_bands = (slice(0, last_column), slice(last_column, None))
        bands = []
        for i, band in enumerate(row_bands):
            parts = []
            for j, part in enumerate(column_bands):
                q, k, v = query[:, band, part], key[:, band, part], value[:, band, part]
                mask = bias + self._shift_masks[i, j]
                parts.append(attend(q, k, v, mask, self.fused, in_steps) if q.numel() else q)
            bands.append(torch.cat(parts, dim=2))
        return torch.cat(bands, dim=1)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, fused: bool, in_steps: bool = False) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v; all (B, rows, columns, heads, p, d), ``bias`` (heads, p, p).

    ``fused``: by a kernel that keeps no scores in memory, where torch has one for the device; else step by step.
    ``in_steps``: by products and a softmax of our own. Torch has no kernel on a CPU that differentiates a bias, and its
    own steps look for rows without a score, which windows never have.
    """
    if in_steps:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2) + bias.to(query.dtype)
        return scores.softmax(-1).to(value.dtype) @ value
    shape = query.shape
    # Four dimensions: the fused kernels take no more. On a CPU they take no mask of three.
    query, key, value = query.flatten(0, 2), key.flatten(0, 2), value.flatten(0, 2)
    mask = bias.to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask[None] if fused else mask).reshape(shape)


class TransformerBlock(nn.Module):
    """Pre-norm window attention and a 4x GELU MLP, both residual: (B, H, W, C) -> the same shape."""

    def __init__(self, channels: int, head_channels: int, window: int, shifted: bool):
        super().__init__()
        self.ln1 = nn.LayerNorm(channels)
        self.msa = WindowAttention(channels, head_channels, window, shifted)
        self.ln2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.msa(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class MixtureBlock(nn.Module):
    """Half of the 2N channels through convolutions, half through a transformer block, joined by a residual."""

    def __init__(self, N: int, head_channels: int, window: int, shifted: bool):
        super().__init__()
        self.trans_block = TransformerBlock(N, min(head_channels, N), window, shifted)
        self.conv1_1 = conv1x1(2 * N, 2 * N)
        self.conv1_2 = conv1x1(2 * N, 2 * N)
        self.conv_block = ResidualBlock(N, N)

    def forward(self, x: Tensor) -> Tensor:
        local, distant = self.conv1_1(x).chunk(2, dim=1)
        local = self.conv_block(local) + local
        distant = self.trans_block(distant.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.conv1_2(torch.cat((local, distant), dim=1))


class SwinPair(nn.Module):
    """A window block and a shifted-window block: (B, C, H, W) -> the same shape."""

    def __init__(self, channels: int, head_channels: int, window: int):
        super().__init__()
        self.block_1 = TransformerBlock(channels, head_channels, window, shifted=False)
        self.block_2 = TransformerBlock(channels, head_channels, window, shifted=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.block_1(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class SwinAttention(AttentionBlock):
    """A residual convolution branch gated by a Swin branch, at ``inner`` channels between two 1x1 convolutions."""

    def __init__(self, channels: int, inner: int, head_channels: int, window: int):
        super().__init__(N=inner)
        self.non_local_block = SwinPair(inner, min(head_channels, inner), window)
        self.in_conv = conv1x1(channels, inner)
        self.out_conv = conv1x1(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.in_conv(x)
        gate = torch.sigmoid(self.conv_b(self.non_local_block(x)))
        return self.out_conv(x + self.conv_a(x) * gate)
