"""Bitstreams that decode on every machine, though no two machines round alike.

What decides the entropy coding is (1) the row of the scale table that each latent value is coded with, and (2) the
frequencies in the rows. Float32 sums come out differently on other processors, numbers of threads and library versions,
and one row off is a stream lost (Balle, Johnston, Minnen, "Integer Networks for Data Compression with Latent-Variable
Models", ICLR 2019, and CompressAI's issue 279). A network made portable

- computes everything from the hyper-latent to the scales in float64, where machines differ by about 1e-13 of a value;
- lists, as side information of a few bytes, every scale nearer to a border between two rows than `MARGIN`, and which
  side it is on: the decoder asks its own arithmetic only where an error of `MARGIN` would change nothing;
- makes its frequencies in float64 and rounds them once.

So a stream decodes wherever scales come out within `MARGIN` of the encoder's, relative to their size. The synthesis
stays in float32: samples of the picture may differ by 1 between machines, as ever.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.entropy import EntropyBottleneck, GaussianConditional
from models.network import CodecNetwork

MARGIN = 1e-6
"""How far, relative to its size, a scale may differ from the encoder's: ten million times what float64 errs."""

_LEAST, _GREATEST, _LEVELS = 0.11, 256, 64  # CompressAI's scale table


def make_portable(network: CodecNetwork) -> CodecNetwork:
    """Turn ``network``, in eval mode, into one whose streams decode everywhere; its other streams no longer do.

    Raises:
        ValueError: Its class does not say what predicts its scales (`CodecNetwork.entropy_path`).
    """
    if not network.entropy_path:
        raise ValueError(f"{type(network).__name__} has no portable form")
    for name in network.entropy_path:
        network.get_submodule(name).double().register_forward_pre_hook(_to_double)
    network.g_a.register_forward_hook(lambda module, inputs, output: output.double())
    for analysis_or_synthesis in (network.h_a, network.g_s):
        analysis_or_synthesis.register_forward_pre_hook(_to_single)
    for module in network.modules():
        if isinstance(module, EntropyBottleneck):
            module.double().update(force=True)
        elif isinstance(module, GaussianConditional):
            module.double()
            step = (math.log(_GREATEST) - math.log(_LEAST)) / (_LEVELS - 1)
            levels = [math.exp(math.log(_LEAST) + step * level) for level in range(_LEVELS)]
            module.scale_table = module.scale_table.new_tensor(levels, dtype=torch.float64)
            module.update()
    return network


class Borders:
    """While attached to a portable network: lists the scales near a border, or settles them as a list says.

    Args:
        network: The network.
        listed: What `to_bytes` gave on the encoder's side; None: list them.

    Raises:
        ValueError: ``listed`` is damaged. While decoding: it names a scale that is near no border here.
    """

    def __init__(self, network: nn.Module, listed: bytes | None = None):
        self._models = [module for module in network.modules() if isinstance(module, GaussianConditional)]
        self._known = None if listed is None else _positions(listed)
        self._found: list[tuple[int, bool]] = []
        self._passed = 0  # scales seen so far

    def __enter__(self) -> "Borders":
        for module in self._models:
            module.borders = self
        return self

    def __exit__(self, *exception: object) -> None:
        for module in self._models:
            module.borders = None

    def settle(self, scales: Tensor, indexes: Tensor, borders: Tensor) -> Tensor:
        """``indexes`` as the encoder had them.

        Args:
            scales: float64, of any shape; calls come in the same order on both sides.
            indexes: int32, the rows that they have here.
            borders: (levels - 1,) float64, ascending: the greatest scale of each row but the last.
        """
        flat, rows = scales.flatten(), indexes.flatten()
        below, above = borders[(rows - 1).clamp(min=0)], borders[rows.clamp(max=len(borders) - 1)]
        margin = MARGIN if self._known is None else 2 * MARGIN
        just_above = (rows > 0) & (flat <= below * (1 + margin))
        just_below = (rows < len(borders)) & (flat >= above * (1 - margin))
        first, self._passed = self._passed, self._passed + len(flat)
        if self._known is None:
            near = (just_above | just_below).nonzero().flatten().tolist()
            self._found += [(first + place, bool(just_above[place])) for place in near]
            return indexes
        here = [(place - first, is_above) for place, is_above in self._known if first <= place < self._passed]
        for place, is_above in here:
            if not (just_above[place] or just_below[place]):
                raise ValueError("a listed scale is near no border")
            rows[place] += int(is_above and not just_above[place]) - int(not is_above and bool(just_above[place]))
        return rows.reshape(indexes.shape)

    def to_bytes(self) -> bytes:
        """The list: for each scale, twice the scales since the last, plus 1 if it is above its border, as LEB128."""
        coded, last = bytearray(), -1
        for place, is_above in self._found:
            value, last = 2 * (place - last - 1) + is_above, place
            while value > 0x7F:
                coded.append(value & 0x7F | 0x80)
                value >>= 7
            coded.append(value)
        return bytes(coded)


def _positions(listed: bytes) -> list[tuple[int, bool]]:
    found: list[tuple[int, bool]] = []
    value, shift, last = 0, 0, -1
    for byte in listed:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            last += value // 2 + 1
            found.append((last, bool(value % 2)))
            value, shift = 0, 0
        elif shift > 56:
            raise ValueError("the list of scales near a border is damaged")
    if shift:
        raise ValueError("the list of scales near a border is cut off")
    return found


def _to_double(module: nn.Module, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(value.double() for value in inputs)


def _to_single(module: nn.Module, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(value.float() for value in inputs)
