"""Weights on disk: reading every format a network of this project comes in, writing the ones that leave it.

Accepted: a Lightning checkpoint of train.py, a published SA-ICM / LIC-TCM ``.pth.tar``, a ``.safetensors`` file written
by `save_safetensors`. The network and its sizes are read off the tensors' names and shapes (`models.networks`), so no
file needs a config beside it.
"""

import hashlib
import io
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from icm.errors import UserError
from icm.files import atomic_write
from models.entropy import TABLE_BUFFERS, current_name
from models.network import CodecNetwork, first
from models.networks import NETWORKS, network_class

log = logging.getLogger(__name__)
ACCEPTED = "a Lightning checkpoint of train.py, a published .pth.tar, or a shipped .safetensors file"
# Wrappers that training puts around a network: DDP, torch.compile.
_WRAPPER = re.compile(r"^(module\.|_orig_mod\.)+")
# A file of which less than this share of the network's weights fits is a file of another network.
_LEAST_SHARE = 0.01


class CheckpointError(UserError):
    """A file that is no checkpoint, or whose weights fit no network of this project."""


@dataclass(frozen=True)
class Initialised:
    """What `initialise` took over.

    Attributes:
        path: The file.
        loaded: How many of the network's parameters (tensors) it gave.
        left: The names of those that keep their initial values: it lacks them, or has them in another shape.
    """

    path: str
    loaded: int
    left: list[str]


def load_network(path: Path | str, device: str = "cpu") -> CodecNetwork:
    """The network in ``path``, float32, in eval mode, its coding tables made: ready for compress and decompress.

    A Lightning checkpoint that holds averaged weights (names that start with ``ema.``) gives those. Nothing in the file
    is executed (``weights_only``).

    Raises:
        CheckpointError: The file is missing, no checkpoint, truncated, of no known architecture, holds tensors that do
            not fit (the first few by name), or is not finite; the message names it.
    """
    path = Path(path)
    network = _build(path, _network_state(path, _read(path)))
    # Tables follow from the weights; those in a file may be stale. On the CPU always: erfc differs between devices.
    network.update(force=True)
    return network.to(device).eval()


def initialise(network: CodecNetwork, path: Path | str) -> Initialised:
    """Give ``network`` the weights in ``path`` that fit it by name and shape; the others keep their initial values.

    Takes what `load_network` takes, of the same network or of one that shares parts with it. Logs what was not found.

    Raises:
        CheckpointError: As in `load_network`, or hardly anything in the file fits the network.
    """
    path = Path(path)
    state = _network_state(path, _read(path))
    parameters = dict(network.named_parameters())
    loaded = [name for name, value in parameters.items() if name in state and state[name].shape == value.shape]
    share = sum(parameters[name].numel() for name in loaded) / sum(value.numel() for value in parameters.values())
    if share < _LEAST_SHARE:
        raise CheckpointError(
            f"checkpoint {path}: does not fit {type(network).__name__} {network.architecture()}: "
            f"{network.misfit(state)}; choose the network= options it was trained with"
        )
    network.load_state_dict({name: state[name] for name in loaded}, strict=False)
    left = [name for name in parameters if name not in set(loaded)]
    if left:
        log.warning("%s gave %d parameters, %d stay as initialised: %s", path, len(loaded), len(left), ", ".join(left))
    else:
        log.info("%s gave all parameters", path)
    return Initialised(str(path), len(loaded), left)


def read_training(path: Path | str) -> tuple[int, dict]:
    """The optimizer steps done in a checkpoint of train.py, and the configuration it was trained with.

    Raises:
        CheckpointError: It is any other file.
    """
    path = Path(path)
    content = _read(path)
    if not isinstance(content, Mapping) or not {"global_step", "hyper_parameters"} <= set(content):
        raise CheckpointError(
            f"checkpoint {path}: not one that train.py can go on from; give a last.ckpt or best.ckpt that it wrote"
        )
    return content["global_step"], content["hyper_parameters"]


def save_safetensors(network: CodecNetwork, path: Path | str, half: bool = True) -> Path:
    """Write the weights of ``network`` for shipping.

    The entropy bottleneck stays float32 (it is small, and codes every symbol of the hyper-latent); buffers and coding
    tables are left out, they are made anew.

    Args:
        network: Any network of this project.
        path: The file, replaced whole when it exists.
        half: Whether the transforms' parameters are stored in float16.

    Returns:
        The path.
    """
    tensors = {name: value.cpu() for name in network.settings if (value := getattr(network, name)) is not None}
    for name, value in network.named_parameters():
        narrow = half and not name.startswith("entropy_bottleneck.")
        tensors[name] = value.detach().cpu().to(torch.float16 if narrow else torch.float32).contiguous()
    return atomic_write(path, safetensors.torch.save(tensors))


def save_published(network: CodecNetwork, path: Path | str) -> Path:
    """Write ``network`` as SA-ICM, LIC-TCM and CompressAI publish theirs: ``{"state_dict": {name: float32 tensor}}``.

    Names and shapes are those of ``state_dict()`` of a network whose coding tables are not made: whoever loads it
    calls ``update()``, as the published code does. Returns the path.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    state |= {name: value.new_empty(0) for name, value in state.items() if name.endswith(TABLE_BUFFERS)}
    buffer = io.BytesIO()
    torch.save({"state_dict": state}, buffer)
    return atomic_write(path, buffer.getvalue())


def weights_id(network: CodecNetwork | Path | str) -> str:
    """16 hexadecimal digits that name the weights: the start of a SHA-256 over the parameters' names and float32 bytes.

    The same weights have the same id in every file format. A path is read as `load_network` reads it.
    """
    if not isinstance(network, torch.nn.Module):
        network = load_network(network)
    digest = hashlib.sha256()
    for name, value in sorted(network.named_parameters()):
        digest.update(f"{name} {list(value.shape)}\n".encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _read(path: Path) -> Mapping:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"checkpoint {path}: {what}; name {ACCEPTED}")
    try:
        with open(path, "rb") as file:
            if file.read(9)[8:] == b"{":
                return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"checkpoint {path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # torch raises half a dozen kinds for bytes that are no checkpoint
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"checkpoint {path}: damaged, truncated or not {ACCEPTED} ({reason[:160]})") from error


def _network_state(path: Path, content: Mapping) -> dict[str, Tensor]:
    """The tensors of the network alone, without coding tables, under today's names, floats as float32."""
    state = content.get("state_dict", content) if isinstance(content, Mapping) else {}
    groups: dict[str, dict[str, Tensor]] = {"": {}, "network.": {}, "ema.": {}}
    for name, value in state.items() if isinstance(state, Mapping) else ():
        if isinstance(value, Tensor):
            name = _WRAPPER.sub("", str(name))
            prefix = next((prefix for prefix in ("network.", "ema.") if name.startswith(prefix)), "")
            groups[prefix][_current(_WRAPPER.sub("", name.removeprefix(prefix)))] = value
    # The average may hold parameters only: what it lacks is the network's.
    tensors = {**groups["network."], **groups["ema."]} or groups[""]
    if not tensors:
        raise CheckpointError(f"checkpoint {path}: holds no weights; name {ACCEPTED}")
    state = {
        name: value.float() if value.is_floating_point() else value
        for name, value in tensors.items()
        if not name.endswith((*TABLE_BUFFERS, "n_averaged"))
    }
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckpointError(f"checkpoint {path}: {broken[0]} holds values that are not finite: training diverged")
    return state


def _current(name: str) -> str:
    name = name.replace(".downsample.", ".skip.")  # CompressAI's first releases
    bottleneck = "entropy_bottleneck."
    return bottleneck + current_name(name.removeprefix(bottleneck)) if name.startswith(bottleneck) else name


def _build(path: Path, state: Mapping[str, Tensor]) -> CodecNetwork:
    try:
        kind = network_class(state)
        if kind is None:
            known = ", ".join(network.__name__ for network in NETWORKS)
            raise CheckpointError(
                f"checkpoint {path}: holds {first(list(state))}: none of the networks {known}; name {ACCEPTED}"
            )
        return kind.from_state_dict(state)
    except KeyError as error:
        raise CheckpointError(f"checkpoint {path}: lacks {error.args[0]}; it is not a whole network") from error
    except (IndexError, ValueError, TypeError, ZeroDivisionError, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {path}: {error}; name {ACCEPTED}") from error
