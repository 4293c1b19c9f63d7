"""Large pictures through tiles, so that the memory of a network's transforms is bounded by the tile.

Only what stands between picture and latent is computed tile by tile. The latent, at 1/16 of the picture, is coded as a
whole: tiles cost no rate, and any decoder can decode the stream. Each tile is computed with some of the picture around
it, which is cut away again; where that is more than a transform sees (all convolutions here), the result is the whole
picture's up to float rounding.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from models.network import CodecNetwork

MULTIPLE = 128
"""Sides of tiles are multiples of it: attention windows then lie as they do in the whole picture."""


_BYTES_PER_PIXEL = 100  # the picture and its latent, estimated: float32, some copies, 320 channels at 1/16


class Tiles:
    """While attached, a network transforms pictures tile by tile (`CodecNetwork.overlaps`).

    Args:
        network: In eval mode; it may code within the context, and nothing else.
        side: Of a tile, in pixels without the overlap; a multiple of `MULTIPLE`.
    """

    def __init__(self, network: CodecNetwork, side: int):
        self._network, self._side = network, side

    def __enter__(self) -> "Tiles":
        for name, (stride, overlap) in self._network.overlaps.items():
            module = self._network.get_submodule(name)
            tiled = partial(by_tiles, module.forward, side=self._side // stride, overlap=overlap // stride)
            module.forward = tiled
        return self

    def __exit__(self, *exception: object) -> None:
        for name in self._network.overlaps:
            del self._network.get_submodule(name).forward


def by_tiles(transform: Callable[[Tensor], Tensor], x: Tensor, side: int, overlap: int) -> Tensor:
    """``transform(x)``, computed on tiles of x (B, C, H, W) with up to ``overlap`` more on every side.

    Args:
        transform: Changes height and width by one whole factor, or one whole divisor of every tile's.
        x: Its input.
        side: Of a tile, in positions of x.
        overlap: Likewise.
    """
    height, width = x.shape[-2:]
    y = None
    for top in range(0, height, side):
        for left in range(0, width, side):
            rows = slice(max(top - overlap, 0), min(top + side + overlap, height))
            columns = slice(max(left - overlap, 0), min(left + side + overlap, width))
            part = transform(x[..., rows, columns].contiguous())
            before, after = columns.stop - columns.start, part.shape[-1]

            def moved(position: int, before: int = before, after: int = after) -> int:
                return position * after // before

            if y is None:
                y = part.new_empty(*part.shape[:2], moved(height), moved(width))
            bottom, right = min(top + side, height), min(left + side, width)
            y[..., moved(top) : moved(bottom), moved(left) : moved(right)] = part[
                ...,
                moved(top - rows.start) : moved(bottom - rows.start),
                moved(left - columns.start) : moved(right - columns.start),
            ]
    assert y is not None
    return y


def bytes_needed(network: CodecNetwork, height: int, width: int, side: int) -> int:
    """Peak memory of coding a picture in tiles of ``side``, or whole for 0, on a CPU."""
    if not side:
        return height * width * network.bytes_per_pixel
    # A gate sees farther, at a quarter of the resolution.
    reach = 2 * max(overlap for _, overlap in network.overlaps.values() if overlap <= MULTIPLE)
    tile = min(side + reach, height) * min(side + reach, width)
    return tile * network.bytes_per_pixel + height * width * _BYTES_PER_PIXEL
