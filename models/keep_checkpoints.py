"""Checkpoint files of a training run: written whole or not at all, often enough, the best one kept."""

import math
import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from icm.errors import UserError

SCORE = "val/loss"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, then renames: a kill at any moment leaves the old checkpoint or the new one.

    Lightning's own writer builds the file in the system's temporary folder, which is often another disk: its last
    step is then a copy that can be cut short.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.part")
        with open(temporary, "wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


class Checkpoints(Checkpoint):
    """Keeps ``last.ckpt`` (every ``every_n_steps`` optimizer steps and after every epoch), ``best.ckpt`` (lowest
    validation loss) and, with ``every_n_epochs``, ``epoch-0005.ckpt`` and so on, in ``directory``. UserError, instead
    of a file, once a weight is not finite.

    ``best`` (the step and validation figures of best.ckpt; empty before the first) travels in the checkpoints, so a
    resumed run does not forget its best score.
    """

    def __init__(self, directory: Path, every_n_steps: int, every_n_epochs: int | None = None):
        for name, value in (("every_n_steps", every_n_steps), ("every_n_epochs", every_n_epochs)):
            if value is not None and value < 1:
                raise UserError(f"checkpoints.{name}={value}: use 1 or more")
        self.directory, self.every_n_steps, self.every_n_epochs = Path(directory), every_n_steps, every_n_epochs
        self.best: dict[str, float] = {}
        self._latest: dict[str, float] = {}
        self._saved_step = 0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # A run that goes on from another run's checkpoint has no best of its own yet, and perhaps another objective.
        self.best = state["best"] if (self.directory / "best.ckpt").is_file() else {}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._saved_step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *args) -> None:
        step = trainer.global_step
        # The last batch of an epoch is followed by validation and the checkpoint that holds its outcome.
        if step % self.every_n_steps == 0 and step != self._saved_step and not trainer.is_last_batch:
            self._save(trainer, "last")

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            figures = {
                name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")
            }
            self._latest = {"step": trainer.global_step, **figures}

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        latest, self._latest = self._latest, {}
        if latest and latest[SCORE] < self.best.get(SCORE, math.inf):
            self.best = latest
            self._save(trainer, "best")
        if self.every_n_epochs and epoch % self.every_n_epochs == 0:
            self._save(trainer, f"epoch-{epoch:04d}")
        self._save(trainer, "last")

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            where = f"hydra.run.dir={self.directory} with the same options"
            print(f"interrupted; {where} goes on from step {self._saved_step}")

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        if not all(parameter.isfinite().all() for parameter in trainer.lightning_module.parameters()):
            raise UserError(
                f"training diverged: at step {trainer.global_step} there are weights that are not finite; what was "
                f"saved up to step {self._saved_step} stays in {self.directory}; use a smaller optimizer.lr"
            )
        trainer.save_checkpoint(self.directory / f"{name}.ckpt", weights_only=False)
        self._saved_step = trainer.global_step
