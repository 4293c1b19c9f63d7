"""How a Weights & Biases run is opened and closed: offline unless the user is logged in, in one folder, never fatal."""

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from icm.wandb_mode import commit_settings, default_mode

log = logging.getLogger(__name__)
CONNECT_SECONDS = 30


def run_id(directory: Path | str) -> str:
    """A stable id of 16 hexadecimal digits for a folder, so that a rerun shows as one W&B run."""
    return hashlib.sha256(str(Path(directory).resolve()).encode()).hexdigest()[:16]


def record(directory: Path, fill: Callable[[Any], None], commit: str | None = None, **options: Any) -> str | None:
    """Record one W&B run, whose files all lie in ``directory/wandb``.

    An earlier offline copy of it is replaced.

    Args:
        directory: May be written to; the id follows from it.
        fill: Called with the open `wandb.Run`.
        commit: The commit that the results were made with, which is not that of the code that records them.
        options: Of `wandb.init`: project, entity, group, name, job_type, tags, notes, config.

    Returns:
        The W&B run id, or None when W&B failed: that is a logged warning with the reason, for the results are on disk.
    """
    try:
        with _data_kept_in(directory):
            return _record(directory, fill, commit, options)
    except Exception as error:  # whatever W&B raises must not cost a finished measurement
        log.warning("Weights & Biases did not record %s: %s", directory, _without_key(error))
        return None


@contextlib.contextmanager
def _data_kept_in(directory: Path) -> Iterator[None]:
    """Stage pictures and artifacts below the folder rather than in the user's home, unless told where."""
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str((directory / "wandb" / "data").resolve())
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


def _without_key(error: Exception) -> str:
    text = " ".join(str(error).split()) or error.__class__.__name__
    key = os.environ.get("WANDB_API_KEY")
    return text.replace(key, "<key>") if key else text


def _record(directory: Path, fill: Callable[[Any], None], commit: str | None, options: dict[str, Any]) -> str:
    mode = default_mode()
    identity = run_id(directory)
    # wandb creates this folder only where it may write, and says so on the console when it is absent.
    folder = directory / "wandb"
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in (*folder.glob(f"offline-run-*-{identity}"), *folder.glob("data")):
        shutil.rmtree(earlier)

    import wandb

    # To ask whether a number is a data frame it would import pandas; without, it goes by the name of the type.
    wandb.util.pd_available = False
    settings = wandb.Settings(
        silent=True,
        console="off",
        init_timeout=CONNECT_SECONDS,
        **commit_settings(commit),
        disable_code=True,
        disable_job_creation=True,
        x_save_requirements=False,  # the run's own record has the versions that count
    )

    def begin(mode: str):
        return wandb.init(id=identity, dir=str(directory), mode=mode, settings=settings, reinit="finish_previous",
                          resume="allow" if mode == "online" else None, **options)  # fmt: skip

    try:
        mirror = begin(mode)
    except Exception as error:  # no network, a refused key
        if mode != "online":
            raise
        log.warning("%s; recorded offline instead", _without_key(error))
        # Nor will the other jobs of this command wait for it.
        os.environ["WANDB_MODE"] = "offline"
        mirror = begin("offline")
    exit_code = 1
    try:
        fill(mirror)
        exit_code = 0
    finally:
        mirror.finish(exit_code=exit_code)
    return identity
