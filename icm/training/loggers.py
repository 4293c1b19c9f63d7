"""Where the curves of a training go besides metrics.csv: ``logger=`` of train.py."""

import sys
from collections.abc import Callable
from typing import Any

from icm.training.processes import is_first_process
from icm.training.run_folder import RunFolder


def make_loggers(options: dict[str, Any], folder: RunFolder, sweep: str | None) -> list[Any]:
    """Lightning loggers for the options of conf/logger; ``sweep`` is the name of the sweep a job belongs to, if any."""
    make = _LOGGERS[options["name"]]
    return [make(options, folder, sweep)] if make else []


def close_loggers() -> None:
    """End what a logger keeps open in this process: each job of a sweep is a W&B run of its own."""
    # Where wandb was not imported there is nothing to close.
    if "wandb" in sys.modules:
        sys.modules["wandb"].finish()


def _wandb(options: dict[str, Any], folder: RunFolder, sweep: str | None) -> Any:
    """W&B: offline unless the user is logged in, and one W&B run however often it is resumed."""
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    from icm.wandb_mode import default_mode

    mode = default_mode()
    settings = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True)
    # `mode`, not Lightning's `offline`, which would change the environment of every later job too.
    return WandbLogger(
        # The folder name of a job of a sweep is a mere number.
        name=f"{sweep}-{folder.directory.name}" if sweep else folder.directory.name,
        id=folder.identity() if is_first_process() else None,
        save_dir=folder.directory,
        mode=mode,
        resume="allow" if mode == "online" else None,
        group=sweep,
        settings=settings,
        project=options.get("project"),
        entity=options.get("entity"),
    )


_LOGGERS: dict[str, Callable[..., Any] | None] = {"csv": None, "wandb": _wandb}
