"""Weights on disk: reading every format a network of this project comes in, writing the one that ships.

Accepted: a Lightning checkpoint of train.py, a published SA-ICM / LIC-TCM ``.pth.tar``, a ``.safetensors`` file written
by `save_safetensors`. The architecture is read off the tensors' names and shapes, so no file needs a config beside it.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from icm.errors import UserError
from icm.files import atomic_write
from models.entropy import TABLE_BUFFERS, current_name
from models.gated import GatedHyperprior
from models.hyperprior import Hyperprior
from models.network import CodecNetwork
from models.tcm import TCM

ACCEPTED = "a Lightning checkpoint of train.py, a published .pth.tar, or a shipped .safetensors file"
# Wrappers that training puts around a network: DDP, torch.compile.
_WRAPPER = re.compile(r"^(module\.|_orig_mod\.)+")
_SHOWN = 3


class CheckpointError(UserError):
    """A file that is no checkpoint, or whose weights fit no network of this project."""


def load_network(path: Path | str, device: str = "cpu") -> CodecNetwork:
    """The network in ``path``, float32, in eval mode, its coding tables made: ready for compress and decompress.

    A Lightning checkpoint that holds averaged weights (names that start with ``ema.``) gives those. Nothing in the file
    is executed (``weights_only``). Raises CheckpointError naming the file and what is wrong with it: missing, not a
    checkpoint, truncated, no known architecture, tensors that do not fit (the first few by name), or not finite.
    """
    path = Path(path)
    state = _network_state(path, _read(path))
    network = _build(path, state)
    _check_fit(path, network, state)
    network.load_state_dict(state, strict=False)
    # Tables follow from the weights; those in a file may be stale. On the CPU always: erfc differs between devices.
    network.update(force=True)
    return network.to(device).eval()


def read_training(path: Path | str) -> tuple[int, dict]:
    """The optimizer steps done in a checkpoint of train.py, and the configuration it was trained with.

    Raises CheckpointError for any other file.
    """
    path = Path(path)
    content = _read(path)
    if not isinstance(content, Mapping) or not {"global_step", "hyper_parameters"} <= set(content):
        raise CheckpointError(
            f"checkpoint {path}: not one that train.py can go on from; give a last.ckpt or best.ckpt that it wrote"
        )
    return content["global_step"], content["hyper_parameters"]


def save_safetensors(network: CodecNetwork, path: Path | str, half: bool = True) -> Path:
    """Write the weights of ``network`` for shipping; ``half`` stores the transforms' parameters in float16.

    The entropy bottleneck stays float32 (it is small, and codes every symbol of the hyper-latent); buffers and coding
    tables are left out, they are made anew. Returns the path.
    """
    tensors = {}
    for name, value in network.named_parameters():
        narrow = half and not name.startswith("entropy_bottleneck.")
        tensors[name] = value.detach().cpu().to(torch.float16 if narrow else torch.float32).contiguous()
    return atomic_write(path, safetensors.torch.save(tensors))


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
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in tensors.items()
        if not name.endswith((*TABLE_BUFFERS, "n_averaged"))
    }


def _current(name: str) -> str:
    bottleneck = "entropy_bottleneck."
    return bottleneck + current_name(name.removeprefix(bottleneck)) if name.startswith(bottleneck) else name


def _build(path: Path, state: Mapping[str, Tensor]) -> CodecNetwork:
    try:
        if "g_a.0.conv1.weight" in state:
            return TCM(**_tcm_arguments(state))
        if "g_a.0.weight" in state and "h_s.0.weight" in state:
            sizes = {"N": len(state["g_a.0.weight"]), "M": len(state["g_a.6.weight"])}
            if "gate.out.weight" in state:
                return GatedHyperprior(**sizes, gate=state["gate.out.weight"].shape[1])
            return Hyperprior(**sizes)
    except KeyError as error:
        raise CheckpointError(f"checkpoint {path}: lacks {error.args[0]}; it is not a whole network") from error
    except (IndexError, ValueError, TypeError, ZeroDivisionError, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {path}: its shapes make no network of this project ({error})") from error
    names = ", ".join(list(state)[:_SHOWN])
    raise CheckpointError(f"checkpoint {path}: holds {names}, ...: neither a TCM nor a hyperprior; name {ACCEPTED}")


def _tcm_arguments(state: Mapping[str, Tensor]) -> dict:
    layers = {int(name.split(".")[1]) for name in state if name.startswith("g_a.")}
    return {
        "N": len(state["g_a.0.conv1.weight"]) // 2,
        "M": state["h_a.0.conv1.weight"].shape[1],
        "hyper": len(state["entropy_bottleneck.quantiles"]),
        "slices": len({name.split(".")[1] for name in state if name.startswith("cc_mean_transforms.")}),
        "depth": max(layers) // 3 - 1,  # three stages, each of `depth` blocks and the layer that closes it
        "attention": len(state["atten_mean.0.0.in_conv.weight"]),
        "context": tuple(len(state[f"cc_mean_transforms.0.{i}.weight"]) for i in (0, 2)),
    }


def _check_fit(path: Path, network: CodecNetwork, state: Mapping[str, Tensor]) -> None:
    expected = {name: value for name, value in network.state_dict().items() if not name.endswith(TABLE_BUFFERS)}
    # Buffers are constants of the layers: a file may leave them out.
    missing = [name for name, _ in network.named_parameters() if name not in state]
    unexpected = [name for name in state if name not in expected]
    misshapen = [
        f"{name} {list(state[name].shape)} instead of {list(value.shape)}"
        for name, value in expected.items()
        if name in state and state[name].shape != value.shape
    ]
    faults = [
        f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if names
    ]
    if faults:
        kind = type(network).__name__
        raise CheckpointError(f"checkpoint {path}: tensors do not fit {kind}: {'; '.join(faults)}; name {ACCEPTED}")
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckpointError(f"checkpoint {path}: {broken[0]} holds values that are not finite: training diverged")
