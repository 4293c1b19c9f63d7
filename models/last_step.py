"""Where a training ends, when it is told by a number of steps."""

import pytorch_lightning as pl

from icm.errors import UserError


class LastStep(pl.Callback):
    """Ends a training after ``max_steps`` optimizer steps, wherever in an epoch that is, with a validation.

    Lightning's own ``max_steps`` ends without one, and a run that goes on from the end of an epoch under it loses most
    of the next epoch.

    Args:
        max_steps: Steps since the network's first; -1: no limit.

    Raises:
        UserError: Another number.
    """

    def __init__(self, max_steps: int):
        if not isinstance(max_steps, int) or max_steps < -1:
            raise UserError(f"trainer.max_steps={max_steps}: use a number of steps, or -1 for no limit")
        self.max_steps = max_steps

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._stop(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *args) -> None:
        self._stop(trainer)

    def _stop(self, trainer: pl.Trainer) -> None:
        if trainer.global_step >= self.max_steps > -1:
            trainer.should_stop, trainer.check_val_every_n_epoch = True, 1
