"""The learned codec: a trained network of `models` behind the codec protocol.

The payload is the network's entropy-coded strings and nothing else, y then z. The container's parameters say where y
ends (``y_bytes``) and which symbols both hold (``symbols``, a CRC-32): a decoder that lost the encoder's path, on
another device or library version, raises instead of showing a picture.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version as installed
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from icm.codecs import shipped
from icm.codecs.base import BitstreamError, CodecError, Container, check_image, pack, unpack_for
from icm.files import file_sha256
from icm.malloc import keep_large_blocks

if TYPE_CHECKING:
    import torch

    from models.network import CodecNetwork


class LearnedCodec:
    """``sa_icm``: a network trained by train.py, or a published SA-ICM / LIC-TCM checkpoint.

    checkpoint: path of the weights, in any format of `models.checkpoint.load_network`; None: a shipped network
        (`icm.codecs.shipped`), picked by ``variant``, ``edge`` or ``control``, and ``rate``, ``low``, ``mid`` or
        ``high``.
    device: where the network runs, ``cpu`` or ``cuda``; streams of one device are not promised to decode on another.

    Images of any size are padded by edge replication to the network's multiple and cropped after decoding. The weights
    are read when they are first needed. A stream decodes with any number of CPU threads; decoded with another number
    than it was elsewhere, a few samples may differ by 1 (the synthesis rounds its last float bit otherwise).
    """

    name = "sa_icm"
    max_workers = 1

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        device: str = "cpu",
        variant: str = "edge",
        rate: str = "mid",
    ):
        self.point: dict[str, int | float | str] = {}
        self.parameters: dict[str, int | float | str | bool] = {}
        if checkpoint:
            self.checkpoint = Path(checkpoint)
        else:
            self.checkpoint = shipped.find(variant, rate).path
            self.point = {"rate": rate}
            self.parameters = {"variant": variant, **self.point}
        if not self.checkpoint.is_file():
            raise CodecError(
                f"codec.checkpoint={checkpoint}: no such file; name a checkpoint, as `python train.py` writes"
            )
        self.device = str(device)
        self.parameters |= {"checkpoint_sha256": file_sha256(self.checkpoint), "device": self.device}
        self._loaded: tuple[CodecNetwork, str] | None = None
        self._lock = Lock()  # a network codes one picture at a time

    @property
    def version(self) -> str:
        return f"compressai {installed('compressai')} / torch {installed('torch')}"

    def encode(self, image: np.ndarray) -> bytes:
        from models.entropy import Checksum

        height, width = check_image(image)
        network, weights = self._network()
        try:
            self._check_memory(network, height, width)
            pixels = self._pixels(image, network.multiple)
            with self._lock, _reproducible(self.device), Checksum(network, "encoded") as checksum:
                strings = network.compress(pixels)["strings"]
        except (ValueError, RuntimeError) as error:  # RuntimeError: the device ran out of memory
            raise CodecError(
                f"codec.checkpoint={self.checkpoint}: cannot code this image ({first_line(error)})"
            ) from error
        (y_string,), (z_string,) = strings
        parameters = {"y_bytes": len(y_string), "symbols": checksum.value}
        return pack(Container(self.name, parameters, width, height, y_string + z_string, weights))

    def decode(self, bitstream: bytes) -> np.ndarray:
        from models.entropy import Checksum

        container = unpack_for(self.name, bitstream)
        network, weights = self._network()
        if container.weights_id != weights:
            raise BitstreamError(
                f"coded with weights {container.weights_id or '(none)'}, but {self.checkpoint} holds {weights}: "
                "name the checkpoint it was coded with"
            )
        y_bytes, symbols = _layout(container)
        strings = [[container.payload[:y_bytes]], [container.payload[y_bytes:]]]
        try:
            self._check_memory(network, container.height, container.width)
        except CodecError as error:
            raise BitstreamError(f"cannot be decoded here: {error}") from error
        # z is at 1/64 of the padded picture, in every network.
        shape = tuple(padded(side, network.multiple) // 64 for side in (container.height, container.width))
        try:
            with self._lock, _reproducible(self.device), Checksum(network, "decoded") as checksum:
                x_hat = network.decompress(strings, shape)["x_hat"]
        except (RuntimeError, ValueError, OverflowError, TypeError) as error:
            raise BitstreamError(f"damaged: the strings do not decode ({first_line(error)})") from error
        if checksum.value != symbols:
            raise BitstreamError(
                "the decoder lost the encoder's path: the payload is damaged, or it was coded on another device or "
                f"library version than this one ({self.version}, {self.device}); decode it where it was coded"
            )
        return to_image(x_hat[0, :, : container.height, : container.width])

    def _network(self) -> tuple["CodecNetwork", str]:
        with self._lock:
            if self._loaded is None:
                from models.checkpoint import load_network, weights_id

                if self.device == "cpu":
                    keep_large_blocks()
                network = load_network(self.checkpoint, _device(self.device))
                self._loaded = network, weights_id(network)
            return self._loaded

    def _check_memory(self, network: "CodecNetwork", height: int, width: int) -> None:
        needed = padded(height, network.multiple) * padded(width, network.multiple) * network.bytes_per_pixel
        if self.device == "cpu" and needed > physical_memory():
            raise CodecError(
                f"codec.device=cpu: an image of {width}x{height} takes about {needed / 1e9:.0f} GB of memory with this "
                f"network, the machine has {physical_memory() / 1e9:.0f} GB; scale the image down"
            )

    def _pixels(self, image: np.ndarray, multiple: int) -> "torch.Tensor":
        import torch

        height, width = image.shape[:2]
        rows, columns = padded(height, multiple) - height, padded(width, multiple) - width
        image = np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="edge")
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()
        return pixels.to(self.device).float() / 255


def padded(side: int, multiple: int) -> int:
    """``side`` rounded up to a multiple of ``multiple``."""
    return -(-side // multiple) * multiple


def physical_memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def to_image(x: "torch.Tensor") -> np.ndarray:
    """(3, H, W) float RGB in [0, 1] -> (H, W, 3) uint8, rounded."""
    return (x * 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()


def _layout(container: Container) -> tuple[int, int]:
    values = [container.parameters.get(field) for field in ("y_bytes", "symbols")]
    if any(isinstance(value, bool) or not isinstance(value, int) for value in values):
        raise BitstreamError("the header makes no sense: y_bytes and symbols must be whole numbers")
    y_bytes, symbols = values
    if not 0 <= y_bytes <= len(container.payload):
        raise BitstreamError(f"the header makes no sense: y_bytes={y_bytes} of a {len(container.payload)}-byte payload")
    return y_bytes, symbols


def _device(name: str) -> str:
    import torch

    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise CodecError(f"codec.device={name}: not usable here ({first_line(error)}); use codec.device=cpu") from error
    return name


@contextmanager
def _reproducible(device: str) -> Iterator[None]:
    """Inference with the arithmetic pinned: a decoder must round as its encoder did.

    cuDNN's flags are the whole process's, so they are touched on a GPU alone, where coding is the only work.
    """
    import torch

    exact = torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False)
    with torch.inference_mode(), nullcontext() if device == "cpu" else exact:
        yield
