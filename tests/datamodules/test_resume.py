"""A killed and resumed run sees the samples of an uninterrupted one, wherever it was killed."""

import pytest
import pytorch_lightning as pl
import torch

from datamodules.coco import CocoEdges
from icm.masks.base import NoMasks
from tests.datamodules.test_coco import fill

EPOCH = 6  # steps: 12 images, batch 2


class Recorder(pl.LightningModule):
    """Writes down its batches; saves and dies after ``stop`` steps, ``at_end``: after the epoch that ends there."""

    def __init__(self, path, stop=None, at_end=False):
        super().__init__()
        self.path, self.stop, self.at_end, self.seen = path, stop, at_end, []
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def training_step(self, batch, index):
        self.seen.append((self.current_epoch, index, tuple(batch["name"]), float(batch["image"].sum())))
        return (self.weight * batch["image"].mean()).sum()

    def on_train_batch_end(self, *args):
        if not self.at_end:
            self._die()

    def on_train_epoch_end(self):
        if self.at_end:
            self._die()

    def _die(self):
        if self.trainer.global_step == self.stop:
            self.trainer.save_checkpoint(self.path)
            raise RuntimeError("killed")


def run(root, module, workers, checkpoint=None):
    data = CocoEdges(str(root), NoMasks(), crop=32, batch_size=2, workers=workers)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = pl.Trainer(max_epochs=3, limit_val_batches=0, enable_model_summary=False, **options)
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    return module.seen


@pytest.mark.filterwarnings("ignore:You're resuming")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("stop", "at_end"), [(4, False), (EPOCH, False), (EPOCH, True), (EPOCH + 2, False), (2 * EPOCH, True)]
)
def test_a_resumed_run_goes_on_with_the_next_samples(tmp_path, workers, stop, at_end):
    for split, count in (("train2017", 12), ("val2017", 1)):
        fill(tmp_path / split, count)
    path = tmp_path / "last.ckpt"
    whole = run(tmp_path, Recorder(path), 0)
    assert len(whole) == 3 * EPOCH
    killed = Recorder(path, stop, at_end)
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path, killed, workers)
    assert killed.seen + run(tmp_path, Recorder(path), workers, path) == whole
