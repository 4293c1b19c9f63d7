"""The folder of one training run, and when a command may go on in it.

config.yaml    the resolved configuration, written before anything else
run.json       when and with what the run was started
metrics.csv    the curves
last.ckpt, best.ckpt, epoch-*.ckpt
summary.json   written when the run is finished: its presence says so
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import yaml

from icm import provenance
from icm.errors import UserError
from icm.files import atomic_write, remove_abandoned, unwritable

POLICIES = ("resume", "continue", "overwrite")
# They do not shape the result: changing them never makes another run.
_FREE_KEYS = ("run", "existing", "logger")
_OURS = ("config.yaml", "run.json", "metrics.csv", "summary.json", "last.ckpt", "best.ckpt")


class RunFolderError(UserError):
    """A run folder that must not be used as asked; the message names the folder, what is in it and the remedy."""


class FinishedRunError(RunFolderError):
    """The folder holds this very run, finished."""


class RunFolder:
    """The files of one run in ``directory`` (made by `begin`)."""

    def __init__(self, directory: Path):
        self.directory = Path(directory)
        self.config, self.origin, self.metrics, self.summary, self.last, self.best = (
            self.directory / name
            for name in ("config.yaml", "run.json", "metrics.csv", "summary.json", "last.ckpt", "best.ckpt")
        )

    @property
    def finished(self) -> bool:
        return self.summary.is_file()

    def checkpoint_to_resume(self, config: Mapping, policy: str) -> Path | None:
        """The checkpoint a run with ``config`` goes on from, or None to start at step 0. Changes nothing.

        Args:
            config: The resolved configuration.
            policy: "resume" goes on with an unfinished run of the same configuration; "continue" also with a finished
                one or under a changed configuration; "overwrite" starts anew in any folder.

        Raises:
            RunFolderError: The folder is finished, holds other files, or a run of another configuration.
        """
        if policy not in POLICIES:
            raise RunFolderError(f"existing={policy}: choose from {', '.join(POLICIES)}")
        found = self._files()
        if policy == "overwrite" or not found:
            return None
        if not self.config.is_file():
            raise RunFolderError(
                f"{self.directory} holds files that no training run wrote ({', '.join(found[:3])}); "
                "choose another run=NAME, or existing=overwrite to train there all the same"
            )
        if not self.last.is_file() and not self.finished:
            return None
        if policy == "resume":
            if changed := _differences(yaml.safe_load(self.config.read_text()), config):
                raise RunFolderError(
                    f"{self.directory} holds a run with another configuration ({'; '.join(changed)}); choose another "
                    "run=NAME, or existing=continue to go on with the new values, or existing=overwrite to start anew"
                )
            if self.finished:
                raise FinishedRunError(
                    f"{self.directory} holds a finished run; choose another run=NAME, or existing=continue (with a "
                    "larger trainer.max_epochs) to train it longer, or existing=overwrite to start anew"
                )
        if not self.last.is_file():
            raise RunFolderError(f"{self.last} is missing, so the run cannot go on; existing=overwrite starts anew")
        return self.last

    def begin(self, config: Mapping, resuming: bool, init_from: Mapping | None = None) -> None:
        """Make the folder ready for training; for the first process only. A new run removes an earlier one's files.

        Args:
            config: The resolved configuration.
            resuming: Whether the run that is there goes on.
            init_from: What a new run took over from a file of weights, kept in run.json.

        Raises:
            WriteError: The folder takes no files.
        """
        with unwritable(self.directory):
            if not resuming:
                for name in _OURS:
                    (self.directory / name).unlink(missing_ok=True)
                for path in self.directory.glob("epoch-*.ckpt"):
                    path.unlink()
                for name in ("wandb", "tensorboard"):
                    shutil.rmtree(self.directory / name, ignore_errors=True)
            self.summary.unlink(missing_ok=True)
            for path in self.directory.glob(".*.ckpt.part"):  # of `models.keep_checkpoints`, in a run that was killed
                path.unlink()
        remove_abandoned(self.directory)
        atomic_write(self.config, yaml.safe_dump(dict(config), sort_keys=False))
        if not self.origin.is_file():
            started = datetime.now(timezone.utc).isoformat(timespec="seconds")
            origin = {
                "started": started,
                "init_from": init_from,
                "versions": provenance.versions(),
                "git_commit": provenance.git_commit(),
            }
            atomic_write(self.origin, json.dumps(origin, indent=2) + "\n")

    def read_config(self) -> dict:
        """The resolved configuration that the run has now."""
        return yaml.safe_load(self.config.read_text())

    def read_origin(self) -> dict:
        """The content of run.json: when the run began, and with what."""
        return json.loads(self.origin.read_text())

    def init_from(self) -> dict | None:
        """What the run took over from a file of weights when it began."""
        return self.read_origin().get("init_from")

    def identity(self) -> str:
        """A W&B run id: the same whenever this run is resumed, another one for every other run."""
        started = self.read_origin()["started"]
        return hashlib.sha256(f"{self.directory.resolve()} {started}".encode()).hexdigest()[:12]

    def finish(self, summary: Mapping) -> None:
        """Write summary.json, which makes the run a finished one."""
        atomic_write(self.summary, json.dumps(summary, indent=2, allow_nan=False) + "\n")

    def _files(self) -> list[str]:
        if not self.directory.is_dir():
            return []
        return sorted(path.name for path in self.directory.iterdir() if not path.name.startswith("."))


def _differences(before: Mapping, now: Mapping) -> list[str]:
    """What changed between two nested configurations, as "data.crop: 256 -> 128"."""
    old, new = _flat(before), _flat(now)
    keys = [key for key in [*old, *(k for k in new if k not in old)] if key.split(".")[0] not in _FREE_KEYS]
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in keys if old.get(key) != new.get(key)]


def _flat(config: Mapping, prefix: str = "") -> dict:
    flat = {}
    for key, value in config.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
