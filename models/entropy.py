"""CompressAI's two entropy models, made fit for mixed precision, for reproducible steps and for faster coding.

State-dict names, numbers and bitstreams are CompressAI's own (``compressai.entropy_models``); what differs:

- likelihoods are computed in float32 under autocast, where half precision would lose whole bits;
- ``noise = False`` leaves the quantisation noise out of training (see `models.network.CodecNetwork.noise`);
- symbols go to the range coder as Python lists with each probability table trimmed to its own length and kept between
  calls: the same bytes, coded in about half the time;
- all symbols of a picture may go into one string, a little shorter than CompressAI's two (`join`);
- a damaged string cannot make the range decoder read outside its buffer.
"""

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from compressai import ans, entropy_models
from torch import Tensor, nn

if TYPE_CHECKING:
    from models.portable import Borders

# The range decoder does not know where its input ends, so it is given room to run on. It reads at most one 4-byte word
# for a symbol and 4 bits for each nibble of an escaped value. Beyond the string it reads zeros, where a run of
# escape-length nibbles cannot outlast the decoder's 64-bit state; inside it, escapes cost at most 16 times its length.
_SPARE_PER_SYMBOL = 16
_SPARE_PER_BYTE = 16
_SPARE = 1 << 16

# The coder writes what its tables lack in nibbles, and never ends on a value that needs more than 7 of them.
_LARGEST_SYMBOL = 1 << 26
# What update() fills: derived from the weights, empty in a checkpoint or not.
TABLE_BUFFERS = ("_quantized_cdf", "_offset", "_cdf_length", "scale_table")
# entropy_bottleneck._matrices.0 in CompressAI's first releases, _matrix0 before 1.2.7, now matrices.0.
_OLD_NAME = re.compile(r"_(matrix|matrices|bias|biases|factor|factors)\.?(\d+)$")
_NEW_NAME = {"matrix": "matrices", "bias": "biases", "factor": "factors"}


@dataclass(frozen=True)
class Tables:
    """Cumulative frequencies (16 bit) of every table, the length of each, and the symbol its first entry stands for."""

    cdfs: list[list[int]]
    lengths: list[int]
    offsets: list[int]


class _Coding:
    """What both entropy models share: the noise switch and coding with cached tables."""

    noise: bool = True
    observer: Callable[[str, Tensor], None] | None = None  # is shown all symbols, see `Checksum`
    joined: "SymbolString | None" = None  # takes the symbols of every entropy model, see `join`
    _tables: Tables | None = None

    def quantize(self, inputs: Tensor, mode: str, means: Tensor | None = None) -> Tensor:
        if mode == "noise" and not self.noise:
            return inputs
        return super().quantize(inputs, mode, means)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        # The tables are buffers whose size is unknown before update(): take the size that is coming.
        self._tables = None
        for name in TABLE_BUFFERS:
            coming, here = state_dict.get(prefix + name), getattr(self, name, None)
            if coming is not None and here is not None and coming.shape != here.shape:
                setattr(self, name, here.new_empty(coming.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _pmf_to_cdf(self, pmf: Tensor, tail_mass: Tensor, pmf_length: Tensor, max_length: int) -> Tensor:
        if pmf.dtype == torch.float64:  # of a portable network: CompressAI's single precision would round a second time
            steps = 1 << self.entropy_coder_precision
            pmf, tail_mass = (torch.round(mass * steps) / steps for mass in (pmf, tail_mass))
        return super()._pmf_to_cdf(pmf, tail_mass, pmf_length, max_length)

    def tables(self) -> Tables:
        """The coding tables as lists; ValueError before ``update()``."""
        if self._tables is None:
            self._check_cdf_size()
            self._check_cdf_length()
            self._check_offsets_size()
            lengths = self._cdf_length.tolist()
            rows = [row[:length] for row, length in zip(self._quantized_cdf.tolist(), lengths, strict=True)]
            self._tables = Tables(rows, lengths, self._offset.tolist())
        return self._tables

    def encode(self, symbols: Tensor, indexes: Tensor) -> list[bytes]:
        """One string for each item of the batch; both tensors are integers of one shape (B, ...).

        Where strings are joined, the batch has one item and its string is empty.
        """
        if self.joined is not None:
            self.joined.put(self, symbols, indexes)
            return [b""]
        strings = []
        for symbol, index in zip(symbols.split(1), indexes.split(1), strict=True):
            string = SymbolString()
            string.put(self, symbol, index)
            strings.append(string.to_bytes())
        return strings

    def decode(self, strings: Sequence[bytes], indexes: Tensor) -> Tensor:
        """Inverse of `encode`: int32 symbols of the shape and device of ``indexes``. A damaged string gives wrong
        symbols, never a wrong memory access."""
        if len(strings) != len(indexes):
            raise ValueError(f"{len(strings)} strings for a batch of {len(indexes)}")
        if self.joined is not None:
            return self.joined.get(self, indexes)
        items = zip(strings, indexes.split(1), strict=True)
        return torch.cat([SymbolString(string, index.numel()).get(self, index) for string, index in items])

    def observe(self, side: str, symbols: Tensor) -> None:
        """Show symbols ("encoded" or "decoded") to the observer, if there is one."""
        if self.observer is not None:
            self.observer(side, symbols)


class SymbolString:
    """One string of the range coder, written or read piece by piece, by one entropy model or by several.

    Args:
        string: What `to_bytes` gave, to read it; None: write one.
        symbols: At least as many as will be read.
    """

    def __init__(self, string: bytes | None = None, symbols: int = 0):
        self._encoder = ans.BufferedRansEncoder()
        self._decoder: ans.RansDecoder | None = None
        if string is not None:
            self._decoder = ans.RansDecoder()
            spare = _SPARE_PER_SYMBOL * symbols + _SPARE_PER_BYTE * len(string) + _SPARE
            self._decoder.set_stream(string + bytes(spare))

    def put(self, model: _Coding, symbols: Tensor, indexes: Tensor) -> None:
        """Write ``symbols`` (1, ...) with the tables of ``model`` that ``indexes``, of the same shape, name.

        Raises:
            ValueError: A value that the coder would choke on.
        """
        model.observe("encoded", symbols)
        least, greatest = (int(value) for value in symbols.aminmax())
        if max(-least, greatest) > _LARGEST_SYMBOL:
            raise ValueError(f"the network's latent reaches {least}..{greatest}: its weights are not a codec's")
        tables, rows = model.tables(), indexes.flatten().tolist()
        self._encoder.encode_with_indexes(symbols.flatten().tolist(), rows, tables.cdfs, tables.lengths, tables.offsets)
        self._written = symbols.int()

    def get(self, model: _Coding, indexes: Tensor) -> Tensor:
        """The next symbols, int32 of the shape (1, ...) of ``indexes``. While writing: those written last."""
        if self._decoder is None:
            return self._written
        tables, rows = model.tables(), indexes.flatten().tolist()
        values = self._decoder.decode_stream(rows, tables.cdfs, tables.lengths, tables.offsets)
        # Numpy reads lists in a third of the time that torch takes.
        symbols = torch.from_numpy(np.array(values, dtype=np.int32)).reshape(indexes.shape).to(indexes.device)
        model.observe("decoded", symbols)
        return symbols

    def to_bytes(self) -> bytes:
        """What was written."""
        return self._encoder.flush()


@contextmanager
def join(network: nn.Module, string: SymbolString) -> Iterator[None]:
    """Within, ``network`` codes a picture into ``string`` alone, each scale as the level of its table that is nearest.

    CompressAI writes one string for each latent, and the end of each costs 5 bytes or so; it rounds every scale up to
    the next of levels that are 13 % apart. Without both a picture takes 0.3 to 0.9 % less.
    """
    models = [module for module in network.modules() if isinstance(module, _Coding)]
    for module in models:
        module.joined = string
    try:
        yield
    finally:
        for module in models:
            module.joined = None


class Checksum:
    """CRC-32 over all symbols that a network encodes, or decodes, while it is attached; ``value`` is 32 bits.

    The same number on both sides means that the decoder followed the encoder symbol by symbol. On other hardware a
    scale that falls just across a table's border is enough to lose it.
    """

    def __init__(self, network: nn.Module, side: str):
        self.value = 0
        self._side = side
        self._models = [module for module in network.modules() if isinstance(module, _Coding)]

    def __enter__(self) -> "Checksum":
        for module in self._models:
            module.observer = self._add
        return self

    def __exit__(self, *exception) -> None:
        for module in self._models:
            module.observer = None

    def _add(self, side: str, symbols: Tensor) -> None:
        if side == self._side:
            self.value = zlib.crc32(symbols.int().cpu().contiguous().numpy().tobytes(), self.value)


def current_name(name: str) -> str:
    """A state-dict name of this CompressAI for one that may come from an earlier release; others stay."""
    return _OLD_NAME.sub(lambda match: f"{_NEW_NAME.get(match[1], match[1])}.{match[2]}", name)


class EntropyBottleneck(_Coding, entropy_models.EntropyBottleneck):
    """Learned factorised prior of the hyper-latent (Balle et al. 2018), one density for each channel."""

    def forward(self, x: Tensor, training: bool | None = None) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> values with noise (training) or rounded about the medians, and likelihoods; both float32."""
        training = self.training if training is None else training
        with torch.autocast(x.device.type, enabled=False):
            values = x.float().transpose(0, 1)
            shape = values.shape
            values = values.reshape(shape[0], 1, -1)
            values = self.quantize(values, "noise" if training else "dequantize", self._get_medians())
            likelihood = self.likelihood_lower_bound(self._likelihood(values)[0])
            return values.reshape(shape).transpose(0, 1).contiguous(), likelihood.reshape(shape).transpose(0, 1)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        for key in [key for key in state_dict if key.startswith(prefix)]:
            state_dict[prefix + current_name(key.removeprefix(prefix))] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def loss(self) -> Tensor:
        """The auxiliary loss, in float32: half precision cannot tell the far quantiles from their targets."""
        with torch.autocast(self.quantiles.device.type, enabled=False):
            return super().loss()

    def update(self, force: bool = False, update_quantiles: bool = False) -> bool:
        self._tables = None
        return super().update(force=force, update_quantiles=update_quantiles)

    def compress(self, x: Tensor) -> list[bytes]:
        """One string for each item of the batch x (B, C, H, W)."""
        return self.encode(self.quantize(x, "symbols", self.medians()), self._channels(x.shape, x.device))

    def decompress(self, strings: Sequence[bytes], size: Sequence[int]) -> Tensor:
        """The rounded values (B, C, *size), exactly those that `forward` gives in eval mode."""
        medians = self.medians()
        indexes = self._channels((len(strings), self.channels, *size), medians.device)
        return self.dequantize(self.decode(strings, indexes), medians)

    def medians(self) -> Tensor:
        """(1, C, 1, 1), without gradient: the auxiliary loss alone moves the quantiles."""
        return self._get_medians().detach().reshape(1, -1, 1, 1)

    def _channels(self, shape: Sequence[int], device: torch.device) -> Tensor:
        return torch.arange(self.channels, dtype=torch.int32, device=device).reshape(1, -1, 1, 1).expand(tuple(shape))


class GaussianConditional(_Coding, entropy_models.GaussianConditional):
    """Gaussian of predicted mean and scale for each latent value, integrated over a unit interval.

    Attributes:
        borders: Settles scales near a border of the table, see `models.portable`; None: nothing does.
    """

    borders: "Borders | None" = None

    def forward(
        self, inputs: Tensor, scales: Tensor, means: Tensor | None = None, training: bool | None = None
    ) -> tuple[Tensor, Tensor]:
        """Values with noise (training) or rounded about the means, and likelihoods; both float32, the inputs' shape."""
        with torch.autocast(inputs.device.type, enabled=False):
            return super().forward(inputs.float(), scales.float(), means if means is None else means.float(), training)

    def update(self) -> None:
        self._tables = None
        super().update()

    def build_indexes(self, scales: Tensor) -> Tensor:
        """Row of the scale table for every scale: the first level that is not below it (int32), or the nearest.

        The nearest, by ratio, where strings are joined (`join`).
        """
        least = self.scale_table[:-1]  # of the scales that a row is too narrow for
        if self.joined is not None:
            least = (least * self.scale_table[1:]).sqrt()
        indexes = torch.bucketize(self.lower_bound_scale(scales).contiguous(), least, out_int32=True)
        return self.borders.settle(scales, indexes, least) if self.borders else indexes

    def _standardized_cumulative(self, inputs: Tensor) -> Tensor:
        # A portable network's table is float64, and so are its frequencies; `update` of CompressAI would narrow them.
        return super()._standardized_cumulative(inputs.to(self.scale_table.dtype))

    def compress(self, inputs: Tensor, indexes: Tensor, means: Tensor | None = None) -> list[bytes]:
        return self.encode(self.quantize(inputs, "symbols", means), indexes)

    def decompress(
        self,
        strings: Sequence[bytes],
        indexes: Tensor,
        dtype: torch.dtype = torch.float,
        means: Tensor | None = None,
    ) -> Tensor:
        return self.dequantize(self.decode(strings, indexes), means, dtype)
