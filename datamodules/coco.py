"""Images with masks from a COCO folder or any folder of images, as a LightningDataModule."""

import hashlib
import logging
import math
import signal
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules import transforms
from datamodules.sampling import Counter, EpochSampler, FixedSampler, Key, sample_rng
from icm.images import ImageError, read_image
from icm.masks.base import MaskReader, Masks
from icm.masks.edges import MaskError
from icm.splits import DataError, Split, find_split

log = logging.getLogger(__name__)

# An image that cannot be read is replaced by another; after this many in a row the data set itself is at fault.
_MAX_REPLACEMENTS = 20
# Seconds that a loading process goes on after SIGTERM; clusters wait that long before they kill.
_GRACE = 30


class MaskedImages(Dataset):
    """Images of one split with their masks.

    ``dataset[index, epoch]`` is {"image": float32 (3, crop, crop) in [0, 1], "mask": float32 (1, crop, crop) of 0 and
    1, "valid": the same, 0 in the padding of a picture smaller than the crop, "name": str}. An unreadable image is
    named in a warning and replaced by another one drawn at random.

    Args:
        folder: Where the images lie.
        names: Their paths below it.
        reader: Their masks.
        crop: Side of the square crops, pixels.
        seed: With epoch and index, all that a sample's randomness depends on.
        augment: Random crops (after the optional resize, before the flip); otherwise the middle.
        flip: Mirror half of the augmented samples.
        scale: [low, high], the range of the random resize; None: none.
        min_edge: Least share (below 1) or number (from 1 on) of set mask pixels of a random crop, as far as drawing it
            again brings that (`transforms.random_crop`).

    Attributes:
        samples: How many were taken.
        damaged: How many images were replaced.
        bare: How many samples had an empty mask.
    """

    def __init__(
        self,
        folder: Path,
        names: list[str],
        reader: MaskReader,
        crop: int,
        seed: int,
        augment: bool,
        flip: bool = True,
        scale: Sequence[float] | None = None,
        min_edge: float = 0,
    ):
        self.folder, self.names, self.reader = folder, names, reader
        self.crop, self.seed, self.augment, self.flip = crop, seed, augment, flip
        self.least = math.ceil(min_edge * crop**2 if min_edge < 1 else min_edge)
        self.scale = tuple(scale) if scale else None
        self.samples, self.damaged, self.bare = Counter(), Counter(), Counter()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, key: int | Key) -> dict[str, torch.Tensor | str]:
        key = key if isinstance(key, tuple) else (key, 0)
        index = key[0]
        for attempt in range(_MAX_REPLACEMENTS):
            rng = sample_rng(self.seed, key, attempt)
            if attempt:
                index = int(rng.integers(len(self.names)))
            try:
                image, mask = self.load(self.names[index])
            except (ImageError, MaskError) as error:
                log.warning("replaced by another image: %s", error)
                self.damaged.add()
                continue
            return self._sample(image, mask, self.names[index], rng)
        raise DataError(
            f"{self.folder}: {_MAX_REPLACEMENTS} images in a row could not be read, last {self.names[index]}"
        )

    def load(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """One whole image, (H, W, 3) uint8 RGB, and its mask, (H, W) uint8 of 0 and 1.

        Raises:
            ImageError: the image cannot be read.
            MaskError: its mask cannot.
        """
        image = read_image(self.folder / name)
        return image, self.reader.read(name, *image.shape[:2])

    def _sample(self, image: np.ndarray, mask: np.ndarray, name: str, rng: np.random.Generator) -> dict:
        # The second mask is the picture itself: 0 in the padding of what is smaller than a crop.
        mask = np.dstack([mask, np.ones_like(mask)])
        if self.augment:
            if self.scale:
                image, mask = transforms.random_resize(image, mask, *self.scale, rng)
            image, mask = transforms.random_crop(image, mask, self.crop, rng, self.least)
            if self.flip:
                image, mask = transforms.random_flip(image, mask, rng)
        else:
            image, mask = transforms.centre_crop(image, mask, self.crop)
        self.samples.add()
        if not mask[..., 0].any():
            self.bare.add()
        pixels, (weights, valid) = transforms.to_tensors(image, mask)
        return {"image": pixels, "mask": weights[None], "valid": valid[None], "name": name}


class MaskedDataModule(pl.LightningDataModule):
    """The loaders of a training and a validation set, which subclasses make in `setup`.

    A batch is {"image": float32 (B, 3, H, W) in [0, 1], "mask": float32 (B, 1, H, W) of 0 and 1, "name": list[str]},
    and "valid", like the mask, where pictures may be padded: 0 in the padding.
    A sample depends on the seed, the epoch and its place in the set only: not on workers, processes or restarts.

    Attributes:
        train_set: What is trained on; None before `setup`.
        val_set: What validates.
        masks: The ``masks`` option, set by subclasses; its ``region`` says which pixels the masks set.
    """

    def __init__(self, batch_size: int, val_batch_size: int, workers: int, seed: int):
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("val_batch_size", val_batch_size, 1),
            ("workers", workers, 0),
        ):
            if value < least:
                raise DataError(f"data.{name}={value}: use {least} or more")
        self.batch_size, self.val_batch_size, self.workers, self.seed = batch_size, val_batch_size, workers, seed
        self.train_set: Dataset | None = None
        self.val_set: Dataset | None = None

    def train_dataloader(self) -> DataLoader:
        # A smaller last batch would weigh its images more; it is kept only where there is no full one.
        epoch, batches = self._progress()
        skip = batches * self.batch_size
        sampler = EpochSampler(self.train_set, *self._processes(), shuffle=True, seed=self.seed, skip=skip)
        # Worker processes begin to load before Lightning tells the sampler its epoch.
        sampler.set_epoch(epoch)
        return self._loader(self.train_set, self.batch_size, sampler, drop_last=len(sampler) >= self.batch_size)

    def val_dataloader(self) -> DataLoader:
        sampler = FixedSampler(self.val_set, *self._processes(), shuffle=False)
        return self._loader(self.val_set, self.val_batch_size, sampler, drop_last=False)

    def held_out_set(self) -> MaskedImages:
        """The validation images alone, made ready: what training never sees."""
        self.prepare_data()
        self.setup()
        assert isinstance(self.val_set, MaskedImages)
        return self.val_set

    def teardown(self, stage: str) -> None:
        for name, dataset in (("training", self.train_set), ("validation", self.val_set)):
            if dataset is None or not dataset.samples.value:
                continue
            counts = (dataset.samples.value, dataset.bare.value, dataset.damaged.value)
            log.info("%s data: %d samples, %d without any edge, %d unreadable images replaced", name, *counts)

    def _processes(self) -> tuple[int, int]:
        trainer = self.trainer
        return (trainer.world_size, trainer.global_rank) if trainer is not None else (1, 0)

    def _progress(self) -> tuple[int, int]:
        """The epoch in which a run begins or goes on, and how many of its batches a resumed run has behind it."""
        if self.trainer is None:
            return 0, 0
        epochs = self.trainer.fit_loop.epoch_progress.current.ready
        batches = self.trainer.fit_loop.epoch_loop.batch_progress
        if batches.is_last_batch or not batches.current.processed:
            return epochs, 0
        return epochs - 1, batches.current.processed

    def _loader(self, dataset: Dataset, batch_size: int, sampler: EpochSampler, drop_last: bool) -> DataLoader:
        # OpenCV's threads do not survive the fork of a worker, which would then wait for them for ever. One thread is
        # also the right number, since each worker is one of many.
        cv2.setNumThreads(1)
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            drop_last=drop_last,
            worker_init_fn=_outlast_signals,
        )


def _outlast_signals(worker: int) -> None:
    """Clusters signal all processes of a job at once, but training still finishes its step, and asks these to end."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE))


class CocoEdges(MaskedDataModule):
    """A COCO folder (``train2017``, ``val2017``, ``annotations``), or any folder of images.

    Args:
        path: The data set's folder.
        masks: A ``masks`` option.
        train: Folder of training images below ``path``, searched recursively.
        val: That of validation; None holds ``val_images`` images of ``train`` out of training, drawn by ``seed``.
        annotations: COCO instance file, below ``path`` or absolute; ``{split}`` stands for the split's folder.
        crop: Side of the square training crops, pixels.
        val_crop: That of validation.
        flip: Mirror half of the samples.
        scale: [low, high], the range of the random resize before the crop; None: none.
        val_images: How many images validation uses (the first by name, or those held out); None: all, or 5 % when held
            out.
        min_edge: Least share (below 1) or number (from 1 on) of set mask pixels of a training crop: others are drawn
            again a few times. 0: every crop is taken as it comes.
        batch_size: Samples of one training batch of one process.
        val_batch_size: That of validation.
        workers: Processes that load.
        seed: What the random choices depend on.

    Raises:
        DataError: an option is out of range; in `setup` also, a folder is missing or holds no image.
        MaskError: in `setup`, the masks cannot be used.
    """

    def __init__(
        self,
        path: str,
        masks: Masks,
        train: str = "train2017",
        val: str | None = "val2017",
        annotations: str | None = "annotations/instances_{split}.json",
        crop: int = 256,
        val_crop: int = 256,
        flip: bool = True,
        scale: Sequence[float] | None = None,
        val_images: int | None = None,
        min_edge: float = 0,
        batch_size: int = 8,
        val_batch_size: int = 8,
        workers: int = 4,
        seed: int = 0,
    ):
        super().__init__(batch_size, val_batch_size, workers, seed)
        for name, value in (("crop", crop), ("val_crop", val_crop)):
            if value < 1:
                raise DataError(f"data.{name}={value}: use the side of a crop in pixels, such as 256")
        if scale and not 0 < scale[0] <= scale[1]:
            raise DataError(f"data.scale={list(scale)}: use [low, high] with 0 < low <= high, such as [0.5, 1.0]")
        if not isinstance(min_edge, int | float) or not 0 <= min_edge <= crop**2:
            raise DataError(
                f"data.min_edge={min_edge}: use a share below 1 or a number of pixels up to {crop**2}, 0 for any crop"
            )
        self.min_edge = min_edge
        self.path, self.masks, self.train, self.val, self.annotations = path, masks, train, val, annotations
        self.crop, self.val_crop, self.flip, self.scale, self.val_images = crop, val_crop, flip, scale, val_images

    def setup(self, stage: str | None = None) -> None:
        if self.train_set is not None:
            return
        training = find_split(self.path, self.train, self.annotations, "data.train")
        validation = training if self.val is None else find_split(self.path, self.val, self.annotations, "data.val")
        names, val_names = training.images(), validation.images()
        reader = self.masks.open(training)
        names = reader.usable(names)
        if self.val is None:
            val_reader = reader
            names, val_names = _hold_out(names, self.val_images, self.seed, training.folder)
        else:
            val_reader = self.masks.open(validation)
            val_names = val_reader.usable(val_names)[: self.val_images]
        self.train_set = self._dataset(training, names, reader, augment=True)
        self.val_set = self._dataset(validation, val_names, val_reader, augment=False)

    def _dataset(self, split: Split, names: list[str], reader: MaskReader, augment: bool) -> MaskedImages:
        crop = self.crop if augment else self.val_crop
        log.info("%s: %d images for %s", split.folder, len(names), "training" if augment else "validation")
        options = (self.flip, self.scale, self.min_edge)
        return MaskedImages(split.folder, names, reader, crop, self.seed, augment, *options)


def _hold_out(names: list[str], count: int | None, seed: int, folder: Path) -> tuple[list[str], list[str]]:
    """(training names, validation names), each in the order of ``names``.

    Drawn by a hash of seed and name, so that the same image falls on the same side whatever else the folder holds.
    """
    count = max(1, len(names) // 20) if count is None else count
    if not 0 < count < len(names):
        raise DataError(
            f"data.val_images={count}: {folder} has {len(names)} usable images; leave at least 1 for training"
        )
    order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    chosen = set(order[:count])
    return [name for name in names if name not in chosen], [name for name in names if name in chosen]
