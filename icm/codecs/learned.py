"""The learned codec: a trained network of `models` behind the codec protocol.

The payload is the network's entropy-coded strings and nothing else, y then z, or both in one (`models.entropy.join`).
The container's parameters say where y ends (``y_bytes``; left out of one string) and which symbols they hold
(``symbols``, a CRC-32): a decoder that lost the encoder's path, on another device or library version, raises instead of
showing a picture. A portable payload (`models.portable`) ends with the list of what its decoder must not decide by
itself, from ``listed_at`` on, and is decoded everywhere. A large
picture is transformed in tiles (`models.tiles`) of side ``tile``, and its decoder does the same; without, whole.
"""

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version as installed
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from icm.codecs import shipped, zoo
from icm.codecs.base import (
    BitstreamError,
    CodecError,
    Container,
    Faces,
    Value,
    check_image,
    choice,
    names,
    pack,
    unpack_for,
)
from icm.files import file_sha256
from icm.images import Pixels
from icm.malloc import keep_large_blocks
from icm.preflight import Problem

if TYPE_CHECKING:
    import torch

    from models.entropy import Checksum, SymbolString
    from models.network import CodecNetwork
    from models.portable import Borders

NAMES = ("sa_icm", "learned")
# Whole pictures up to here, so that what is usually coded has no tiles.
_WHOLE, _TILE = 2048 * 2048, 1024
_LARGEST_TILE = 1 << 16


class LearnedCodec:
    """``sa_icm``: the shipped networks, or a checkpoint trained for edges; ``learned``: any checkpoint.

    Images of any size are padded by edge replication to the network's multiple and cropped after decoding. A stream
    decodes with any number of CPU threads; decoded with another number than it was elsewhere, a few samples may differ
    by 1 (the synthesis rounds its last float bit otherwise).

    A checkpoint of train.py knows what it was trained for, which names it: ``SA-ICM (Hyperprior N=64) lambda 0.05``,
    ``Hyperprior N=64, plain lambda 0.05``. A published one is known by its architecture: ``TCM N=128``. The title of
    either ends with the start of the file's SHA-256, so that no two share one.

    Args:
        name: Which of the two.
        checkpoint: Path of the weights, in any format of `models.checkpoint.load_network`; with ``learned`` also the
            name of a network of CompressAI (`icm.codecs.zoo`); None with ``sa_icm``: a shipped network
            (`icm.codecs.shipped`).
        device: Where the network runs, ``cpu`` or ``cuda``; streams of one device are not promised to decode on
            another unless they are portable. A GPU makes the whole process compute in one way only, for a decoder must
            round as its encoder did: deterministic algorithms, float32 without TF32.
        variant: Of the shipped networks: ``edge``; ``faceless``, which takes nothing inside faces for an edge; or
            ``control``, the same network trained without edges.
        rate: Of the shipped networks: ``low``, ``mid`` or ``high``.
        portable: Whether streams are to decode on any machine; see `models.portable` for the promise.
        tight: Whether a picture is one string, 0.3 to 0.9 % shorter than CompressAI's strings of the same symbols
            (`models.entropy.join`). False: CompressAI's very bytes. None: true for shipped networks alone, so that
            other checkpoints cost what the code that published them makes of them.
        tile: Side of the tiles that a large picture is transformed in, a multiple of 128; memory is then that of a tile
            and a little more. None: 1024 for pictures of more than 4 megapixels; 0: never.
        title, series: Instead of the names that a checkpoint gets, such as ``LIC-TCM``.

    Raises:
        CodecError: There is no such network or device, or ``sa_icm`` is given one trained for something else.
        models.checkpoint.CheckpointError: The checkpoint cannot be read.
    """

    revision = 5
    ceiling = False
    uses_faces = False
    max_workers: int | None = 1

    def __init__(
        self,
        name: str = "sa_icm",
        checkpoint: str | Path | None = None,
        device: str = "cpu",
        variant: str = "edge",
        rate: str = "mid",
        title: str | None = None,
        series: str | None = None,
        portable: bool = False,
        tile: int | None = None,
        tight: bool | None = None,
    ):
        self.name = choice("a learned codec", "name", name, NAMES)
        self.device = str(device)
        if self.device != "cpu":
            _usable(self.device)
            _compute_exactly()
        self.variant: str | None = None
        self.baseline_of = ""
        self.point: dict[str, Value] = {}
        self.parameters: dict[str, Value] = {}
        if not isinstance(portable, bool):
            raise CodecError(f"codec.portable={portable}: {name} takes true or false")
        self.portable = portable
        if tight is not None and not isinstance(tight, bool):
            raise CodecError(f"codec.tight={tight}: {name} takes true, false or null")
        usual = name == "sa_icm" and not checkpoint
        self.tight = usual if tight is None else tight
        if tile is not None and not (type(tile) is int and _is_tile(tile)):
            raise CodecError(f"codec.tile={tile}: {name} takes a multiple of 128, such as 1024, 0 (never) or null")
        self.tile = tile
        self._loaded: dict[bool, tuple[CodecNetwork, str]] = {}  # by whether it is portable
        self._lock = Lock()  # a network codes one picture at a time
        settings: dict[str, Value] = {"device": self.device, "portable": portable, "tight": self.tight}
        settings |= {} if tile is None else {"tile": tile}
        defaults: dict[str, Value] = {"device": "cpu", "portable": False, "tight": usual}
        if not checkpoint and name == "sa_icm":
            network = shipped.find(variant, rate)
            self.checkpoint, digest = network.path, network.card["sha256"]
            self.variant = variant
            self.point = {"rate": rate}
            self.parameters = {"variant": variant}
            self.title, self.series, self.short = names(shipped.VARIANTS[variant], rate, settings, defaults)
            if variant == "control":
                self.baseline_of = names(shipped.VARIANTS["edge"], rate, settings, defaults)[1]
        elif name == "learned" and checkpoint in zoo.FILES and not Path(checkpoint).exists():
            self.checkpoint = zoo.find(str(checkpoint))
            digest = file_sha256(self.checkpoint)
            label, quality = zoo.split(str(checkpoint))
            self.point = {"quality": quality}
            self.title, self.series, self.short = names(label, f"quality {quality}", settings, defaults)
        else:
            self.checkpoint = _existing(name, checkpoint)
            digest = file_sha256(self.checkpoint)
            label, self.point = self._trained_for()
            short = "".join(f"{name} {value:g}" for name, value in self.point.items())
            self.title, self.series, self.short = names(label, short, settings, defaults)
            self.title += f", {digest[:8]}"
        self.title, self.series = title or self.title, series or self.series
        self.parameters |= self.point
        self.parameters |= {"checkpoint_sha256": digest, "device": self.device}
        self.parameters |= {"portable": True} if portable else {}
        self.parameters |= {"tight": True} if self.tight else {}
        self.parameters |= {} if tile is None else {"tile": tile}

    @classmethod
    def for_decoding(cls, weights_id: str, checkpoint: str | Path | None) -> "LearnedCodec":
        """A codec that decodes what either name coded.

        Args:
            weights_id: What the container says of its weights.
            checkpoint: The file of them; None: the shipped network of that id.

        Raises:
            BitstreamError: ``checkpoint`` is None and no shipped network has that id.
        """
        return cls("learned", checkpoint or shipped.path_of(weights_id))

    @property
    def version(self) -> str:
        return f"revision {self.revision} / compressai {installed('compressai')} / torch {installed('torch')}"

    def preflight(self) -> list[Problem]:
        return []

    def encode(self, image: Pixels, faces: Faces = ()) -> bytes:
        from models.entropy import SymbolString
        from models.portable import Borders

        height, width = check_image(image)
        network, weights = self._network(self.portable)
        try:
            tile = self._tile_for(height, width)
            self._check_memory(network, height, width, tile)
            pixels = self._pixels(image, network.multiple)
            borders = Borders(network) if self.portable else None
            string = SymbolString() if self.tight else None
            with self._at_work(network, "encoded", borders, tile, string) as checksum:
                (y_string,), (z_string,) = network.compress(pixels)["strings"]
        except (ValueError, RuntimeError) as error:  # RuntimeError: the device ran out of memory
            raise CodecError(
                f"codec.checkpoint={self.checkpoint}: cannot code this image ({first_line(error)})"
            ) from error
        payload = y_string + z_string if string is None else string.to_bytes()
        parameters: dict[str, Value] = {"symbols": checksum.value}
        if string is None:
            parameters["y_bytes"] = len(y_string)
        if tile:
            parameters["tile"] = tile
        if borders is not None:
            parameters["listed_at"] = len(payload)
            payload += borders.to_bytes()
        return pack(Container(self.name, parameters, width, height, payload, weights))

    def decode(self, bitstream: bytes) -> Pixels:
        from models.entropy import SymbolString
        from models.portable import Borders

        container = unpack_for(bitstream, *NAMES)
        y_bytes, symbols, listed_at = _layout(container)
        tile = container.parameters.get("tile", 0)
        if type(tile) is not int or not _is_tile(tile):
            raise BitstreamError(f"the header makes no sense: tile={tile}")
        network, weights = self._network(listed_at is not None)
        if container.weights_id not in (weights, *shipped.earlier_ids(self.checkpoint)):
            raise BitstreamError(
                f"coded with weights {container.weights_id or '(none)'}, but {self.checkpoint} holds {weights}: "
                "name the checkpoint it was coded with"
            )
        payload = container.payload
        try:
            self._check_memory(network, container.height, container.width, tile)
        except CodecError as error:
            raise BitstreamError(f"cannot be decoded here: {error}") from error
        sides = (padded(side, network.multiple) for side in (container.height, container.width))
        height, width = (side // network.hyper_stride for side in sides)
        try:
            borders = None if listed_at is None else Borders(network, payload[listed_at:])
            if y_bytes is None:
                string, strings = SymbolString(payload[:listed_at], network.symbols((height, width))), [[b""], [b""]]
            else:
                string, strings = None, [[payload[:y_bytes]], [payload[y_bytes:listed_at]]]
            with self._at_work(network, "decoded", borders, tile, string) as checksum:
                x_hat = network.decompress(strings, (height, width))["x_hat"]
        except (RuntimeError, ValueError, OverflowError, TypeError) as error:
            raise BitstreamError(f"damaged: the strings do not decode ({first_line(error)})") from error
        if checksum.value != symbols:
            raise BitstreamError(
                "the decoder lost the encoder's path: the payload is damaged, or it was coded on another device or "
                f"library version than this one ({self.version}, {self.device}); decode it where it was coded"
                + (", or code it with codec.portable=true" if listed_at is None else "")
            )
        return to_image(x_hat[0, :, : container.height, : container.width])

    def estimated_bits(self, image: Pixels) -> float:
        """What an image costs by the network's own probabilities, in bits, its padding included; nothing is coded."""
        import torch

        check_image(image)
        network, _ = self._network()
        with self._lock, torch.inference_mode():
            likelihoods = network(self._pixels(image, network.multiple))["likelihoods"]
        return sum(-float(values.double().log2().sum()) for values in likelihoods.values())

    @contextmanager
    def _at_work(
        self,
        network: "CodecNetwork",
        side: str,
        borders: "Borders | None",
        tile: int,
        string: "SymbolString | None",
    ) -> Iterator["Checksum"]:
        """The network to itself, as a stream of that kind needs it, and the checksum of the symbols it codes."""
        import torch

        from models.entropy import Checksum, join
        from models.tiles import Tiles

        tiles = Tiles(network, tile) if tile else nullcontext()
        joined = join(network, string) if string else nullcontext()
        with (
            self._lock,
            torch.inference_mode(),
            Checksum(network, side) as checksum,
            borders or nullcontext(),
            tiles,
            joined,
        ):
            yield checksum

    def _trained_for(self) -> tuple[str, dict[str, Value]]:
        """The label of a checkpoint's curve, and its point, from the configuration and the architecture inside it."""
        from models.checkpoint import CheckpointError, read_training

        try:
            objective = read_training(self.checkpoint)[1].get("objective", {})
        except CheckpointError:
            objective = {}  # not written by train.py; whether it is a checkpoint at all shows next
        region = objective.get("region")
        if self.name == "sa_icm" and region not in ("edge", None):
            raise CodecError(
                f"codec.checkpoint={self.checkpoint}: trained under objective={region}, so it is no SA-ICM; "
                "use codec=learned"
            )
        network = _describe(self._network()[0])
        point: dict[str, Value] = {"lambda": objective["lmbda"]} if "lmbda" in objective else {}
        if self.name == "sa_icm":
            return f"SA-ICM ({network})", point
        return f"{network}, {region}" if region else network, point

    def _network(self, portable: bool = False) -> tuple["CodecNetwork", str]:
        with self._lock:
            if portable not in self._loaded:
                from models.checkpoint import load_network, weights_id
                from models.portable import make_portable

                if self.device == "cpu":
                    keep_large_blocks()
                network = load_network(self.checkpoint, self.device)
                weights = weights_id(network)
                if portable:
                    try:
                        make_portable(network)
                    except ValueError as error:
                        raise CodecError(f"codec.portable=true: {error}; use codec.portable=false") from error
                self._loaded[portable] = network, weights
            return self._loaded[portable]

    def _tile_for(self, height: int, width: int) -> int:
        """The side of the tiles that a picture is coded in; 0: it is coded whole."""
        tile = (_TILE if height * width > _WHOLE else 0) if self.tile is None else self.tile
        return tile if max(height, width) > tile else 0

    def _check_memory(self, network: "CodecNetwork", height: int, width: int, tile: int) -> None:
        from models.tiles import bytes_needed

        needed = bytes_needed(network, padded(height, network.multiple), padded(width, network.multiple), tile)
        if self.device == "cpu" and needed > physical_memory():
            raise CodecError(
                f"codec.tile={tile}: an image of {width}x{height} takes about {needed / 1e9:.0f} GB of memory with "
                f"this network, the machine has "
                f"{physical_memory() / 1e9:.0f} GB; use codec.tile=512 or scale the image down"
            )

    def _pixels(self, image: Pixels, multiple: int) -> "torch.Tensor":
        import torch

        height, width = image.shape[:2]
        rows, columns = padded(height, multiple) - height, padded(width, multiple) - width
        image = np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="edge")
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()
        return pixels.to(self.device).float().div_(255)


def _existing(name: str, checkpoint: str | Path | None) -> Path:
    if not checkpoint:
        raise CodecError(
            f"codec.checkpoint={checkpoint}: {name} needs one; name it, or use the shipped networks of codec=sa_icm"
        )
    if not Path(checkpoint).is_file():
        raise CodecError(f"codec.checkpoint={checkpoint}: no such file; name a checkpoint, as `python train.py` writes")
    return Path(checkpoint)


def _describe(network: "CodecNetwork") -> str:
    """``TCM N=128``: the class, its width, and whatever else differs from the class's defaults."""
    defaults = inspect.signature(type(network)).parameters
    sizes = {
        name: value
        for name, value in network.architecture().items()
        if name == "N" or value != getattr(defaults.get(name), "default", None)
    }
    return " ".join([type(network).__name__, *(f"{name}={value}" for name, value in sizes.items())])


def padded(side: int, multiple: int) -> int:
    """``side`` rounded up to a multiple of ``multiple``."""
    return -(-side // multiple) * multiple


def physical_memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def to_image(x: "torch.Tensor") -> Pixels:
    """(3, H, W) float RGB in [0, 1] -> (H, W, 3) uint8, rounded."""
    return (x * 255).round_().byte().permute(1, 2, 0).contiguous().cpu().numpy()


def _layout(container: Container) -> tuple[int | None, int, int | None]:
    """Where y ends, the checksum of the symbols, and where the list of a portable payload begins, if it has one."""
    y_bytes, symbols = (container.parameters.get(field) for field in ("y_bytes", "symbols"))
    listed_at = container.parameters.get("listed_at")
    if type(symbols) is not int or (y_bytes is not None and type(y_bytes) is not int):
        raise BitstreamError("the header makes no sense: y_bytes and symbols must be whole numbers")
    if y_bytes is not None and not 0 <= y_bytes <= len(container.payload):
        raise BitstreamError(
            f"the header makes no sense: y_bytes={str(y_bytes)[:20]} of a {len(container.payload)}-byte payload"
        )
    if listed_at is None:
        return y_bytes, symbols, None
    if type(listed_at) is not int or not (y_bytes or 0) <= listed_at <= len(container.payload):
        raise BitstreamError(f"the header makes no sense: listed_at={str(listed_at)[:20]} after y_bytes={y_bytes}")
    return y_bytes, symbols, listed_at


def _is_tile(side: int) -> bool:
    return 0 <= side <= _LARGEST_TILE and side % 128 == 0


def _usable(device: str) -> None:
    """CodecError when torch cannot compute there."""
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise CodecError(
            f"codec.device={device}: not usable here ({first_line(error)}); use codec.device=cpu"
        ) from error


def _compute_exactly() -> None:
    """Let this process compute on GPUs in one way only: the same algorithms every time, in float32 itself.

    A decoder must round as its encoder did. The switches are the whole process's, so they are set once, where a codec
    is made, and not in the threads that code beside other work.
    """
    import torch

    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
