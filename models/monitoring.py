"""What is watched during training: curves in metrics.csv, pictures of the validation images, missing gradients."""

import csv
import io
import math
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from icm.errors import UserError
from icm.files import atomic_write
from models.keep_checkpoints import Checkpoints

_TRAIN = (
    "loss", "bpp", "bpp_y", "bpp_z", "distortion", "mse", "masked_mse", "psnr", "masked_psnr", "aux_loss",
    "mask_coverage", "gate_coverage", "gate_in_faces", "matcher_loss", "matcher_rank1", "gradient_norm",
    "images_per_second", "empty_masks",
)  # fmt: skip
_VAL = (
    "loss", "bpp", "distortion", "psnr", "masked_psnr", "selectivity", "empty_masks", "real_bpp", "estimated_bpp",
)  # fmt: skip
COLUMNS = ("step", "epoch", "lr", *(f"train/{name}" for name in _TRAIN), *(f"val/{name}" for name in _VAL))


class MetricsFile(Logger):
    """Appends a row to a CSV file for everything logged; columns are `COLUMNS`, blank where a row has no such figure.

    - step: optimizer steps done; lr: of the network
    - loss: bpp + lambda * distortion, and the cross-entropy of predicted edges where there are any
    - distortion: 255^2 * masked_mse, or 1 - MS-SSIM
    - psnr: dB, mean over images; masked_psnr, selectivity: inside the mask, and inside minus outside
    - bpp_y, bpp_z: the parts of bpp, by latent
    - mask_coverage, gate_coverage: the share of pixels in the mask, and the mean of the edge gate (blank without one);
      gate_in_faces: its mean inside faces, where data knows them
    - matcher_loss, matcher_rank1: of the recogniser that is trained along: its cross-entropy, and the share of the
      batch's coded faces whose original it finds (blank without one; with fewer than two faces 0 and blank)
    - gradient_norm: of the network, before it is clipped
    - images_per_second: of all processes, over the steps since the last row; validations do not count
    - empty_masks: images without a masked pixel (training: in the epoch)
    - real_bpp, estimated_bpp: of whole pictures coded to real bits (`models.bitstreams`)

    train/ rows are of one batch of the first process, val/ rows of the validation set.

    Args:
        path: The file.
        resume_step: The step of the checkpoint that a resumed run goes on from: rows after it are dropped, for they
            are about to be made again. None: a new file.
    """

    def __init__(self, path: Path, resume_step: int | None = None):
        super().__init__()
        self.path = Path(path)
        self.resume_step = resume_step

    @property
    def name(self) -> None:
        return None

    @property
    def version(self) -> None:
        return None

    @rank_zero_only
    def begin(self) -> None:
        """Write the header of a new file, or cut the file of a resumed run back to its checkpoint."""
        rows = []
        if self.resume_step is not None and self.path.is_file():
            with open(self.path, newline="") as file:
                rows = [row for row in csv.DictReader(file) if None not in row.values()]
        kept = [row for row in rows if int(row["step"]) <= self.resume_step]
        atomic_write(self.path, ",".join(COLUMNS) + "\n" + "".join(_line(row) for row in kept))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        # Lightning counts steps from 0 when it logs; the file says how many were done.
        row = {**metrics, "step": (step or 0) + 1, "epoch": int(metrics.get("epoch", 0))}
        try:
            with open(self.path, "a", newline="") as file:
                file.write(_line(row))
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(f"{self.path}: cannot be written ({reason}); make room and resume") from error

    @rank_zero_only
    def log_hyperparams(self, *args, **kwargs) -> None:
        """The run folder's config.yaml has them."""


def _line(row: Mapping) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([_text(row.get(name, "")) for name in COLUMNS])
    return buffer.getvalue()


def _text(value: float | int | str) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)


class ValidationPictures(pl.Callback):
    """Logs the first validation images after every validation: original, mask and coded, in a row.

    They go to every logger with a method ``log_image(key, images, step, caption)``, images (H, W, 3) uint8.

    Args:
        count: How many images.
    """

    def __init__(self, count: int = 4):
        self.count = count

    @rank_zero_only
    @torch.no_grad()
    def on_validation_batch_end(self, trainer, module, outputs, batch, batch_idx, dataloader_idx=0) -> None:
        loggers = [logger for logger in trainer.loggers if hasattr(logger, "log_image")]
        if batch_idx or trainer.sanity_checking or not loggers:
            return
        x, mask = batch["image"][: self.count], batch["mask"][: self.count]
        coded = module.coder(x)["x_hat"].float().clamp(0, 1)
        rows = torch.cat([x, mask.expand_as(x), coded], dim=3).cpu()
        pictures = [row.permute(1, 2, 0).mul(255).round().byte().numpy() for row in rows]
        names = list(batch["name"][: self.count])
        for logger in loggers:
            logger.log_image("validation", pictures, step=trainer.global_step, caption=names)


class Progress(pl.Callback):
    """Logs the norm of the network's gradient, before it is clipped, and how many images are trained on in a second."""

    def __init__(self) -> None:
        self._done: deque[tuple[float, int]] = deque()

    def on_before_optimizer_step(self, trainer: pl.Trainer, module: pl.LightningModule, optimizer) -> None:
        gradients = [p.grad for p in optimizer.param_groups[0]["params"] if p.grad is not None]
        module.log("train/gradient_norm", torch.nn.utils.get_total_norm(gradients))

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._begin(trainer)

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._begin(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs, batch, batch_idx) -> None:
        images = len(batch["image"])
        self._done.append((time.monotonic(), images * trainer.world_size))
        first, last = self._done[0][0], self._done[-1][0]
        done = sum(count for _, count in self._done) - self._done[0][1]
        module.log("train/images_per_second", done / max(last - first, 1e-9), batch_size=images)

    def _begin(self, trainer: pl.Trainer) -> None:
        # The moment before the first of the steps, and the steps that a row is made of.
        self._done = deque([(time.monotonic(), 0)], maxlen=trainer.log_every_n_steps + 1)


class CheckpointCopies(pl.Callback):
    """After training, shows its checkpoints to every logger with a method ``log_checkpoint(path, alias, figures)``.

    The alias is ``best`` or ``last``; figures are the step and what validation found.
    """

    def __init__(self, checkpoints: Checkpoints):
        self.checkpoints = checkpoints

    @rank_zero_only
    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        # The trainer has closed what writes checkpoints: they are on disk.
        latest = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        figures = {"best": self.checkpoints.best, "last": {"step": trainer.global_step, **latest}}
        for logger in trainer.loggers:
            for alias, found in figures.items():
                path = self.checkpoints.directory / f"{alias}.ckpt"
                if hasattr(logger, "log_checkpoint") and path.is_file():
                    logger.log_checkpoint(path, alias, {name: x for name, x in found.items() if math.isfinite(x)})


class GradientCheck(pl.Callback):
    """Raises UserError naming the trainable parameters that a backward pass leaves without a gradient."""

    def on_after_backward(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        trainable = [(name, p.grad) for name, p in module.named_parameters() if p.requires_grad]
        if missing := [name for name, gradient in trainable if gradient is None]:
            raise UserError(f"{len(missing)} of {len(trainable)} parameters receive no gradient: {', '.join(missing)}")
