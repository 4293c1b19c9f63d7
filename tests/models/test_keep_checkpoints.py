"""Checkpoint files: which there are, what they hold, how they are written and gone on from."""

import subprocess
import threading
from typing import ClassVar

import pytest
import pytorch_lightning as pl
import torch

from datamodules.coco import CocoEdges
from icm.errors import UserError
from icm.masks.base import NoMasks
from models.hyperprior import Hyperprior
from models.keep_checkpoints import BackgroundCheckpointIO, Checkpoints
from models.last_step import LastStep
from models.lightning import CodecTraining
from models.objective import RateDistortion
from tests.datamodules.test_coco import fill
from tests.models.fitting import Spy, batches, fit, training

pytestmark = pytest.mark.usefixtures("one_thread")


class Validations(CodecTraining):
    """Validation gives ``scores`` by step."""

    scores: dict

    def on_validation_epoch_end(self) -> None:
        self.log("val/loss", self.scores[self.trainer.global_step])


def validations(scores: dict, **options) -> CodecTraining:
    torch.manual_seed(0)
    module = Validations(Hyperprior(8, 12), RateDistortion(0.05, "edge"), **{"lr": 1e-3, "aux_lr": 1e-3} | options)
    module.scores = scores
    return module


def test_a_failed_save_leaves_the_checkpoint_that_was_there_and_is_raised(tmp_path, monkeypatch):
    path, writer = tmp_path / "last.ckpt", BackgroundCheckpointIO()
    writer.save_checkpoint({"step": 1}, path)
    writer.teardown()
    save = torch.save

    def half_written(content, file):
        save(content, file)
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", half_written)
    writer.save_checkpoint({"big": torch.zeros(10), "step": 2}, path)
    with pytest.raises(UserError, match=r"last.ckpt: not written \(.*enforce fail.*what was there before stays"):
        writer.teardown()
    monkeypatch.undo()
    assert torch.load(path, weights_only=True) == {"step": 1}
    writer.save_checkpoint({"step": 2}, path)
    writer.teardown()
    assert torch.load(path, weights_only=True) == {"step": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_disk_that_becomes_read_only_is_one_line(small_disk, monkeypatch):
    disk, writer, save = small_disk(64), BackgroundCheckpointIO(), torch.save

    def then_read_only(content, file):
        save(content, file)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

    monkeypatch.setattr(torch, "save", then_read_only)
    writer.save_checkpoint({"step": 1}, disk / "last.ckpt")
    with pytest.raises(UserError, match=r"last.ckpt: not written \(.*Read-only file system"):
        writer.teardown()


def test_a_checkpoint_is_written_beside_training_and_holds_the_moment_it_was_saved(tmp_path, monkeypatch):
    begun, go_on, save = threading.Event(), threading.Event(), torch.save

    def slowly(content, file):
        begun.set()
        assert go_on.wait(20)
        save(content, file)

    monkeypatch.setattr(torch, "save", slowly)
    path, writer, weights = tmp_path / "last.ckpt", BackgroundCheckpointIO(), torch.zeros(3)
    writer.save_checkpoint({"state_dict": {"w": weights}, "step": 1}, path)
    assert begun.wait(20)
    weights += 1  # the training thread goes on
    assert not path.exists()
    go_on.set()
    writer.teardown()
    assert torch.load(path, weights_only=True)["state_dict"]["w"].tolist() == [0, 0, 0]


def test_best_is_the_lowest_validation_loss_and_outlives_a_restart(tmp_path):
    def run(epochs: int, ckpt_path=None) -> Checkpoints:
        keeper = Checkpoints(tmp_path, every_n_steps=2, every_n_epochs=2)
        module = validations({3: 3.0, 6: 1.0, 9: float("nan"), 12: 2.0, 15: 0.5})
        fit(module, batches(3), batches(1), callbacks=[keeper], max_epochs=epochs, ckpt_path=ckpt_path)
        return keeper

    def step(name: str) -> int:
        return torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["global_step"]

    assert run(2).best == {"step": 6, "val/loss": 1.0}
    assert run(4, tmp_path / "last.ckpt").best == {"step": 6, "val/loss": 1.0}
    assert (step("best"), step("last")) == (6, 12)
    assert run(5, tmp_path / "last.ckpt").best == {"step": 15, "val/loss": 0.5}
    assert (step("best"), step("last"), step("epoch-0002"), step("epoch-0004")) == (15, 15, 6, 12)


def test_the_best_of_several_validations_in_an_epoch_is_kept_with_its_own_weights(tmp_path):
    class Weights(pl.Callback):
        seen: ClassVar[dict] = {}

        def on_validation_end(self, trainer, module) -> None:
            self.seen[trainer.global_step] = module.ema.g_a[0].weight.detach().clone()

    keeper, weights = Checkpoints(tmp_path, 100), Weights()
    module = validations({4: 14.27, 8: 8.82, 12: 13.61}, ema_decay=0.9)
    fit(module, batches(15), batches(1), callbacks=[keeper, weights], val_check_interval=4)
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert keeper.best == {"step": 8, "val/loss": pytest.approx(8.82)}
    assert best["global_step"] == 8
    assert torch.equal(best["state_dict"]["ema.g_a.0.weight"], weights.seen[8])
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 15


@pytest.mark.parametrize("options", [{}, {"check_val_every_n_epoch": 5}, {"val_check_interval": 4}])
def test_a_training_that_ends_within_an_epoch_ends_with_a_validation(tmp_path, options):
    keeper = Checkpoints(tmp_path, 100)
    module = validations({4: 3.0, 5: 2.0, 7: 1.0})
    fit(module, batches(5), batches(1), callbacks=[LastStep(7), keeper], max_epochs=-1, **options)
    assert keeper.best == {"step": 7, "val/loss": 1.0}
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["global_step"] == 7


def test_without_validation_a_training_that_ends_within_an_epoch_keeps_its_last_step(tmp_path):
    fit(training(), batches(5), callbacks=[LastStep(7), Checkpoints(tmp_path, 100)], max_epochs=-1)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 7
    spy = Spy()
    resume = {"ckpt_path": tmp_path / "last.ckpt"}
    fit(training(), batches(5), callbacks=[spy, LastStep(7), Checkpoints(tmp_path, 100)], max_epochs=-1, **resume)
    assert not spy.rates, "the last step is reached already"


class Recording(Validations):
    """Writes down the names of the images it is trained on."""

    def training_step(self, batch: dict, index: int):
        self.names.append((self.current_epoch, tuple(batch["name"])))
        return super().training_step(batch, index)


@pytest.mark.parametrize(("stop", "checkpoint"), [(7, "last"), (7, "best"), (6, "best"), (6, "last")])
def test_a_training_goes_on_with_the_next_images_from_any_checkpoint(tmp_path, stop, checkpoint):
    """Of epochs of six batches."""
    for split, count in (("train2017", 12), ("val2017", 1)):
        fill(tmp_path / split, count)

    def run(steps: int, ckpt_path=None, folder="other") -> list:
        torch.manual_seed(0)
        scores = {step: abs(step - stop) for step in range(20)}
        module = Recording(Hyperprior(8, 12), RateDistortion(0.05, "edge"), lr=1e-3, aux_lr=1e-3)
        module.scores, module.names = scores, []
        pl.Trainer(
            max_epochs=3, logger=False, enable_progress_bar=False, enable_model_summary=False,
            accelerator="cpu", callbacks=[LastStep(steps), Checkpoints(tmp_path / folder, 100)],
            plugins=[BackgroundCheckpointIO()], num_sanity_val_steps=0,
        ).fit(
            module,
            CocoEdges(str(tmp_path), NoMasks(), crop=64, val_crop=64, batch_size=2, workers=0),
            ckpt_path=ckpt_path,
            weights_only=True if ckpt_path else None,
        )  # fmt: skip
        return module.names

    whole = run(-1)
    assert run(stop, folder="run") == whole[:stop]
    path = tmp_path / "run" / f"{checkpoint}.ckpt"
    assert run(15, path) == whole[stop:15]


def test_going_on_in_the_middle_of_an_epoch_takes_every_remaining_step_once(tmp_path):
    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
            if trainer.global_step == 8:
                raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fit(training(), batches(5), batches(1), callbacks=[Stop(), Checkpoints(tmp_path, 3)], max_epochs=3)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 6
    spy = Spy()
    keeper = Checkpoints(tmp_path, 3)
    trainer = fit(
        training(), batches(5), batches(1), callbacks=[spy, keeper], max_epochs=3, ckpt_path=tmp_path / "last.ckpt"
    )
    assert (trainer.global_step, trainer.current_epoch, len(spy.rates)) == (15, 3, 9)
