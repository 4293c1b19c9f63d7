"""Hydra configurations: the objects they describe, and the options there are (``${options:...}`` in help texts)."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict

from icm.errors import UserError
from icm.jobs import sweep_folder

CONF = Path(__file__).parents[1] / "conf"


def build(node: DictConfig, **arguments: Any) -> Any:
    """`hydra.utils.instantiate`, with a UserError instead of Hydra's wrapping of a bad option."""
    try:
        return hydra.utils.instantiate(node, **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, TypeError):
            # An option that the part does not have, or a value of the wrong kind.
            raise UserError(f"{node._get_full_key(None) or 'option'}: {error.__cause__}") from error
        raise


def help_text(entry: str, arguments: Sequence[str]) -> str | None:
    """What ``--help`` prints; None where something else is asked for, or Hydra has to say what is wrong.

    Hydra would first list every group of every package for templates that show them, half of the time it takes.

    Args:
        entry: The name of the entry's configuration, such as ``evaluate``.
        arguments: The command line without the program.
    """
    typed = [argument for argument in arguments if argument not in ("--help", "-h")]
    if len(typed) == len(arguments) or any(argument.startswith("-") for argument in typed):
        return None
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = hydra.compose(entry, typed, return_hydra_config=True)
    except HydraException:
        return None
    template = cfg.hydra.help.template
    with open_dict(cfg):
        del cfg["hydra"]
    return Template(template).substitute(CONFIG=OmegaConf.to_yaml(cfg))


def sweep_jobs(entry: str, params: Mapping[str, Any], typed: Sequence[str]) -> list[DictConfig]:
    """The configuration of every job of a multirun, in job order; Hydra has to be at work.

    Args:
        entry: The name of the entry's configuration, such as ``evaluate``.
        params: What the configuration sweeps over, ``hydra.sweeper.params``.
        typed: The overrides on the command line.
    """
    loader = GlobalHydra.instance().config_loader()
    swept = [f"{key}={value}" for key, value in params.items()]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*swept, *typed])
    # As Hydra's basic sweeper: what is typed replaces what the configuration sweeps over.
    choices = {}
    for override in parsed:
        key = override.get_key_element()
        values = (
            override.sweep_string_iterator() if override.is_sweep_override() else [override.get_value_element_as_str()]
        )
        choices[key] = [f"{key}={value}" for value in values]
    return [hydra.compose(entry, list(overrides)) for overrides in itertools.product(*choices.values())]


def compose_job(**groups: str | Sequence[str]) -> list:
    """The tasks of conf/evaluate.yaml under a choice of options, such as ``embedder=["dlib", "arcface"]``.

    Raises:
        UserError: An option that does not exist; the message lists those that do.
    """
    overrides = []
    for group, chosen in groups.items():
        names = [chosen] if isinstance(chosen, str) else list(chosen)
        known = {path.stem for path in (CONF / group).glob("*.yaml")}
        if unknown := [name for name in names if name not in known]:
            raise UserError(f"{group}={unknown[0]}: no such option; choose from {', '.join(sorted(known))}")
        overrides.append(f"{group}={names[0]}" if len(names) == 1 else f"{group}=[{','.join(names)}]")
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose("evaluate", overrides)
    return [build(task) for task in cfg.task.values()]


def list_options(*groups: str) -> str:
    """``group: option, option``, a line for each group. Hydra's own list has the groups of every entry of conf/."""
    names = {group: sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in groups}
    return "\n".join(f"{group}: {', '.join(found)}" for group, found in names.items())


OmegaConf.register_new_resolver("options", list_options, replace=True)
# The same folder throughout a command, even once its jobs are over.
OmegaConf.register_new_resolver("sweep_folder", sweep_folder, use_cache=True, replace=True)
