"""What commands that take ``key=value`` share: their configuration from conf/."""

from pathlib import Path
from typing import TYPE_CHECKING

from icm.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


class OptionError(UserError):
    """A key or value of a command that cannot be used."""


def compose(command: str, overrides: list[str]) -> "DictConfig":
    """The configuration conf/COMMAND.yaml under some overrides.

    Raises:
        OptionError: One of them is no good, in one line.
    """
    from hydra import compose as compose_config
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    folder = Path(__file__).resolve().parents[2] / "conf"
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            return compose_config(command, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split())
        raise OptionError(f"{reason}; python -m icm {command} --help lists the keys") from error
