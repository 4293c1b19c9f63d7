"""Advice on what was typed, where Hydra's own ("use +quality=10") would mislead.

It reads the files of conf/ alone, and only speaks where it is sure; everything else is left to Hydra.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

CONF = Path(__file__).parents[1] / "conf"
_OVERRIDE = re.compile(r"(?P<key>[A-Za-z_][\w.]*)=(?P<value>.*)", re.DOTALL)


def advice(entry: str, arguments: Sequence[str]) -> str | None:
    """What is wrong with an override and what to write instead, in one line; None where nothing is known to be wrong.

    Args:
        entry: The configuration of the entry, ``evaluate`` or ``train``.
        arguments: The command line without the program.
    """
    config = _read(CONF / f"{entry}.yaml")
    chosen = _chosen(config, arguments)
    for argument in arguments:
        found = _OVERRIDE.fullmatch(argument)
        if not found:
            continue
        first, _, rest = found["key"].partition(".")
        if not rest and first not in config and first not in chosen:
            homes = [group for group in chosen if any(first in options for options in _options(group).values())]
            if homes:
                return f"{argument}: write {homes[0]}.{argument}"
        elif rest and first in chosen:
            options = _options(first)
            key = rest.partition(".")[0]
            others = [name for name, keys in options.items() if key in keys]
            if others and chosen[first] in options and key not in options[chosen[first]]:
                return f"{argument}: {first}={chosen[first]} has no {key}; add {first}=NAME, one of {', '.join(others)}"
    return None


def dry_run(arguments: Sequence[str]) -> list[str]:
    """The command line with ``--dry-run`` as Hydra takes it: the cost, and a launcher that only lists the jobs."""
    if "--dry-run" not in arguments:
        return list(arguments)
    return ["-m", *what_is_swept(arguments), "cost=true", "hydra/launcher=dry_run"]


def what_is_swept(arguments: Sequence[str]) -> list[str]:
    """A command line without what only says where its jobs run and what they cost: the same work has the same."""
    where = ("hydra/launcher=", "hydra.launcher.", "cost=")
    flags = ("-m", "--multirun", "--dry-run")
    return [argument for argument in arguments if argument not in flags and not argument.startswith(where)]


def _chosen(config: dict, arguments: Sequence[str]) -> dict[str, str]:
    """The option of every group: as typed, else by the experiment typed, else the default. Lists are left out."""
    by_experiment: dict[str, str] = {}
    typed = dict(argument.split("=", 1) for argument in arguments if _OVERRIDE.fullmatch(argument))
    experiment = CONF / "experiment" / f"{typed.get('experiment')}.yaml"
    while experiment.is_file():
        content = _read(experiment)
        by_experiment = _defaults(content) | by_experiment  # its own choice before its base's
        base = next(
            (entry for entry in content.get("defaults", []) if isinstance(entry, str) and entry != "_self_"), ""
        )
        experiment = experiment.with_name(f"{base}.yaml")
    chosen = _defaults(config) | by_experiment
    return chosen | {group: value for group, value in typed.items() if group in chosen}


def _defaults(config: dict) -> dict[str, str]:
    entries = [entry for entry in config.get("defaults", []) if isinstance(entry, dict)]
    pairs = [
        (key.removeprefix("override").strip().strip("/"), value) for entry in entries for key, value in entry.items()
    ]
    return {
        key: value for key, value in pairs if isinstance(value, str) and (CONF / key).is_dir() and "hydra" not in key
    }


def _options(group: str) -> dict[str, set[str]]:
    """The keys of every option of a group."""
    return {path.stem: set(_read(path)) - {"_target_", "name", "defaults"} for path in (CONF / group).glob("*.yaml")}


def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
