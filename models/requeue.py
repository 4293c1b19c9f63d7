"""A training on SLURM that goes back into the queue before its time ends, and goes on at the very step."""

import logging
import os
import signal
import subprocess
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from models.keep_checkpoints import Checkpoints

log = logging.getLogger(__name__)


class StoppedForRequeue(SystemExit):
    """Training has stopped at a signal, and everything is saved. ``requeue()`` puts the job back into the queue."""

    def __init__(self, requeue: Callable[[], None]):
        super().__init__(0)
        self.requeue = requeue


class Requeue(pl.Callback):
    """Under SLURM, SIGUSR1 (``--signal=USR1@300``) stops training after the step at hand, with last.ckpt written.

    So does submitit's own signal in a job of ``hydra/launcher=submitit_slurm``; submitit then requeues the job.

    Args:
        checkpoints: Writes last.ckpt.

    Raises:
        StoppedForRequeue: In every process, once the signal has come to any of them.
    """

    def __init__(self, checkpoints: Checkpoints):
        self._checkpoints = checkpoints
        self._before: dict[int, Any] = {}
        self._received: int | None = None
        self._saved = False

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if "SLURM_JOB_ID" in os.environ:
            for number in (signal.SIGUSR1, signal.SIGUSR2):
                if number == signal.SIGUSR1 or callable(signal.getsignal(number)):
                    self._before[number] = signal.signal(number, self._note)
            # One that came before (`icm.training.processes.hold_back_requeue`) comes now.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
        if not self._before or trainer.is_last_batch:
            return  # the last batch is followed by a validation, whose outcome the checkpoint holds
        if not trainer.strategy.reduce_boolean_decision(self._received is not None, all=False):
            return
        self._checkpoints.save_last(trainer)
        trainer.strategy.checkpoint_io.teardown()
        self._saved = True

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        # Not before: the loggers get a step's figures after the end of its batch.
        if not self._saved:
            return
        trainer.strategy.barrier()
        log.info("stopped after step %d to go back into the queue", trainer.global_step)
        received = self._received
        earlier = self._before.get(received or signal.SIGUSR1)
        raise StoppedForRequeue(
            lambda: earlier(received, None) if callable(earlier) else _requeue(trainer.is_global_zero)
        )

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = number


def _requeue(first: bool) -> None:
    if not first:
        return
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "") or str(error)
        raise SystemExit(
            f"train.py: job {job} was not requeued ({reason.strip()}); submit it again, it resumes"
        ) from None
