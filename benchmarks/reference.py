"""The published TCM network, imported at run time from the checkout that ``--reference`` names."""

import importlib.util
import sys
import types
from pathlib import Path

import torch

from benchmarks.case import Unavailable


def find(directory: Path | None) -> Path:
    """The file of the network; Unavailable when there is none."""
    if directory is None:
        raise Unavailable("name a checkout of the published code by --reference DIR (github.com/jmliu206/LIC_TCM)")
    path = Path(directory, "models", "tcm.py")
    if not path.is_file():
        raise Unavailable(f"--reference {directory} holds no models/tcm.py")
    return path


def network(path: Path, N: int) -> torch.nn.Module:
    """The published ``TCM(N=N)`` of `find`'s file, as it is."""
    if importlib.util.find_spec("timm") is None:
        # Of timm it takes an initialisation, which torch has, too, and a layer that is never made.
        layers = types.ModuleType("timm.models.layers")
        vars(layers).update(trunc_normal_=torch.nn.init.trunc_normal_, DropPath=torch.nn.Identity)
        sys.modules |= {"timm": types.ModuleType("timm"), "timm.models": types.ModuleType("timm.models")}
        sys.modules["timm.models.layers"] = layers
    # Under a name of its own: its package is called models, as ours is.
    spec = importlib.util.spec_from_file_location("published_tcm", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TCM(N=N)
