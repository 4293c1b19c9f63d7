"""Building the objects a Hydra configuration describes."""

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from icm.errors import UserError


def build(node: DictConfig):
    """`hydra.utils.instantiate`, with the UserError of a part itself instead of Hydra's wrapping of it."""
    try:
        return hydra.utils.instantiate(node)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise
