"""A small network trained on a few random batches, as the tests of training share it."""

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from models.hyperprior import Hyperprior
from models.keep_checkpoints import BackgroundCheckpointIO, Checkpoints
from models.lightning import CodecTraining
from models.objective import RateDistortion


def batches(count: int = 3, size: int = 2, filled: bool = True) -> list[dict]:
    generator = torch.Generator().manual_seed(5)
    mask = torch.zeros(size, 1, 64, 64)
    mask[..., 20:40, 20:40] = float(filled)
    return [
        {"image": torch.rand(size, 3, 64, 64, generator=generator), "mask": mask, "name": [str(i)] * size}
        for i in range(count)
    ]


def loader(items: list[dict]) -> DataLoader:
    return DataLoader(items, batch_size=None)


def training(**options) -> CodecTraining:
    torch.manual_seed(0)
    return CodecTraining(Hyperprior(8, 12), RateDistortion(0.05, "edge"), **{"lr": 1e-3, "aux_lr": 1e-2} | options)


def fit(module: CodecTraining, train: list[dict] | None = None, val: list[dict] | None = None, **options) -> pl.Trainer:
    # Without a callback of ours Lightning would add its own, which writes to the current folder.
    ours = any(isinstance(callback, Checkpoints) for callback in options.get("callbacks", ()))
    options = {"logger": False, "max_epochs": 1, "enable_checkpointing": ours} | options
    resume = options.pop("ckpt_path", None)
    trainer = pl.Trainer(
        accelerator="cpu", enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        plugins=[BackgroundCheckpointIO()], log_every_n_steps=1, **options,
    )  # fmt: skip
    trainer.fit(
        module,
        loader(train or batches()),
        None if val is None else loader(val),
        ckpt_path=resume,
        weights_only=True if resume else None,
    )
    return trainer


class Spy(pl.Callback):
    """The network's learning rate at every step."""

    def __init__(self):
        self.rates = []

    def on_train_batch_end(self, trainer, module, *args) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
