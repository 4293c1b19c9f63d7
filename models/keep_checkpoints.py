"""Checkpoint files of a training run: written whole or not at all, often enough, the best one kept."""

import contextlib
import math
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.exceptions import SIGTERMException

from icm.errors import UserError

SCORE = "val/loss"
# Each waiting checkpoint is a copy of weights and optimizer in memory: last.ckpt and best.ckpt of one moment.
_WAITING = 2


class BackgroundCheckpointIO(TorchCheckpointIO):
    """Copies a checkpoint to memory and writes it in a thread of its own, so that training goes on meanwhile.

    A file is written beside its target, then renamed: a kill at any moment leaves the old checkpoint or the new one.
    (Lightning's own writer builds the file in the system's temporary folder, which is often another disk: its last
    step is then a copy that can be cut short.) Files appear in the order in which they were saved. What goes wrong in
    the thread is raised by the next `save_checkpoint`, or by `teardown`, which Lightning calls at the end.
    """

    def __init__(self) -> None:
        self._writer = ThreadPoolExecutor(1, "checkpoints")
        self._writing: deque[Future] = deque()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        self._finish(_WAITING - 1)
        copy = apply_to_collection(checkpoint, torch.Tensor, lambda tensor: tensor.detach().to("cpu", copy=True))
        self._writing.append(self._writer.submit(_write, copy, Path(path)))

    def teardown(self) -> None:
        """Return once everything saved is on disk; raise what kept it from there."""
        self._finish(0)

    def _finish(self, left: int) -> None:
        while len(self._writing) > left or (self._writing and self._writing[0].done()):
            self._writing.popleft().result()


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(checkpoint, temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError where the disk is full
        with contextlib.suppress(OSError):  # a disk that has become read-only
            temporary.unlink()
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not written ({reason}); what was there before stays; make room and resume") from error


class Checkpoints(Checkpoint):
    """Keeps checkpoints in ``directory``.

    - ``last.ckpt``: every ``every_n_steps`` optimizer steps, after every epoch, and after the step SIGTERM came at
    - ``best.ckpt``: the weights of the validation with the lowest loss, whether it came within an epoch or at its end
    - with ``every_n_epochs``, ``epoch-0005.ckpt`` and so on

    Attributes:
        best: The step and validation figures of best.ckpt; empty before the first. It travels in the checkpoints, so
            a resumed run does not forget its best score.

    Raises:
        UserError: An interval out of range; and, instead of a file, once a weight is not finite.
    """

    def __init__(self, directory: Path, every_n_steps: int, every_n_epochs: int | None = None):
        for name, value in (("every_n_steps", every_n_steps), ("every_n_epochs", every_n_epochs)):
            if value is not None and value < 1:
                raise UserError(f"checkpoints.{name}={value}: use 1 or more")
        self.directory, self.every_n_steps, self.every_n_epochs = Path(directory), every_n_steps, every_n_epochs
        self.best: dict[str, float] = {}
        self._last_step = 0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # A run that goes on from another run's checkpoint has no best of its own yet, and perhaps another objective.
        self.best = state["best"] if (self.directory / "best.ckpt").is_file() else {}

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._last_step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *args) -> None:
        step = trainer.global_step
        # Of several processes, one may not have got the signal yet: their last checkpoint has to do.
        ending = trainer.should_stop or (trainer.received_sigterm and trainer.world_size == 1)
        due = step != self._last_step and (step % self.every_n_steps == 0 or ending)
        # The last batch is followed by a validation and the checkpoint that holds its outcome.
        if due and not trainer.is_last_batch and not (trainer.should_stop and trainer.enable_validation):
            self._save(trainer, "last")

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        if figures[SCORE] < self.best.get(SCORE, math.inf):
            self.best = {"step": trainer.global_step, **figures}
            self._save(trainer, "best")
        if trainer.should_stop and not trainer.is_last_batch:
            # Here, and not when Lightning ends the epoch: a run that goes on takes the rest of its batches.
            self._save(trainer, "last")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.is_last_batch:
            return
        epoch = trainer.current_epoch + 1
        if self.every_n_epochs and epoch % self.every_n_epochs == 0:
            self._save(trainer, f"epoch-{epoch:04d}")
        self._save(trainer, "last")

    def save_last(self, trainer: pl.Trainer) -> None:
        """Write last.ckpt at the step at hand."""
        self._save(trainer, "last")

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt | SIGTERMException) and trainer.is_global_zero:
            trainer.strategy.checkpoint_io.teardown()
            where = f"hydra.run.dir={self.directory} with the same options"
            print(f"interrupted; {where} goes on from step {self._last_step}", flush=True)

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        if not all(parameter.isfinite().all() for parameter in trainer.lightning_module.parameters()):
            raise UserError(
                f"training diverged: at step {trainer.global_step} there are weights that are not finite; what was "
                f"saved up to step {self._last_step} stays in {self.directory}; use a smaller optimizer.lr"
            )
        trainer.save_checkpoint(self.directory / f"{name}.ckpt", weights_only=False)
        if name == "last":
            self._last_step = trainer.global_step
