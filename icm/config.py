"""Hydra configurations: the objects they describe, and the options there are (``${options:...}`` in help texts)."""

from pathlib import Path

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from icm.errors import UserError

CONF = Path(__file__).parents[1] / "conf"


def build(node: DictConfig):
    """`hydra.utils.instantiate`, with the UserError of a part itself instead of Hydra's wrapping of it."""
    try:
        return hydra.utils.instantiate(node)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise


def list_options(*groups: str) -> str:
    """``group: option, option``, a line for each group. Hydra's own list has the groups of every entry of conf/."""
    names = {group: sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in groups}
    return "\n".join(f"{group}: {', '.join(found)}" for group, found in names.items())


OmegaConf.register_new_resolver("options", list_options, replace=True)
