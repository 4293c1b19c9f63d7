"""Which sample comes when, and with which randomness: the same for any number of workers and processes."""

import contextlib
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch.utils.data import DistributedSampler

Key = tuple[int, int]


class EpochSampler(DistributedSampler):
    """Yields (index, epoch) keys, so that a dataset can derive a sample's randomness from them.

    It is torch's DistributedSampler (one process is the case of one replica): Lightning leaves it in place and tells it
    the epoch, each of n processes takes every n-th key of one shared order, and n processes with batch b see together
    the very samples that one process with batch n x b sees.

    Args:
        *args: Of DistributedSampler.
        skip: Samples of this process to leave out at the front of the first pass alone: those that an interrupted run
            had already taken in that epoch.
        **kwargs: Of DistributedSampler.
    """

    def __init__(self, *args, skip: int = 0, **kwargs):
        super().__init__(*args, **kwargs)
        self.skip = skip

    def __iter__(self) -> Iterator[Key]:
        skip, self.skip = self.skip, 0
        return ((index, self.epoch) for index in islice(super().__iter__(), skip, None))


class FixedSampler(EpochSampler):
    """Every sample of epoch 0 once, in order: validation gives the same figures whatever the number of processes.

    Torch's own repeats samples so that all processes get equally many; here only a process that would have none, and
    so would not take part in the sums, repeats the first.
    """

    def __iter__(self) -> Iterator[Key]:
        return ((index, 0) for index in self._own())

    def __len__(self) -> int:
        return len(self._own())

    def _own(self) -> range:
        return range(self.rank, len(self.dataset), self.num_replicas) or range(1)


def sample_rng(seed: int, key: Key, attempt: int = 0) -> np.random.Generator:
    """The generator of one sample.

    Args:
        seed: Of the training.
        key: Index of the sample, and epoch.
        attempt: How many unusable images it has replaced.
    """
    index, epoch = key
    return np.random.default_rng([seed, epoch, index, attempt])


class Counter:
    """A number that a dataset's worker processes raise and the main process reads."""

    def __init__(self) -> None:
        self._value = torch.zeros((), dtype=torch.int64)
        with contextlib.suppress(RuntimeError):  # a machine without shared memory, which has no worker processes either
            self._value.share_memory_()

    def add(self) -> None:
        # Not locked: two workers may rarely count one event for two; the number is for a log line.
        self._value += 1

    @property
    def value(self) -> int:
        return int(self._value)
