"""Masks for many images on one or several devices, resumable, with bad images listed and skipped."""

import multiprocessing
import queue
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from icm.errors import UserError
from icm.images import ImageError, read_image
from icm.masks.base import Outcome
from icm.masks.edges import MaskError
from icm.masks.sam_generator import MaskGenerator, SamSettings
from icm.masks.store import MaskStore

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

# How often the parent looks whether a worker process died without a word, seconds.
_PATIENCE = 5


@dataclass(frozen=True)
class Task:
    """The images ``names`` of ``folder``, whose masks go to the store in ``store``."""

    folder: Path
    store: Path
    names: tuple[str, ...]

    def part(self, index: int, count: int) -> "Task":
        return Task(self.folder, self.store, self.names[index::count])


def make(tasks: Sequence[Task], build: Callable[[], "Sam"], settings: SamSettings, device: str) -> Iterator[Outcome]:
    """Make masks on one device. Files that are whole are kept, damaged ones made again.

    Args:
        tasks: The images and where their masks go.
        build: Makes the network; called only when an image needs it.
        settings: What shapes the masks.
        device: Torch device name.

    Yields:
        One outcome per image.
    """
    generator = None
    for task in tasks:
        store = MaskStore(task.store)
        for name in task.names:
            if store.has(name):
                yield Outcome(name, "kept")
                continue
            try:
                image = read_image(task.folder / name)
                generator = generator or MaskGenerator(build(), settings, device)
                masks = generator.generate(image)
            except ImageError as error:
                store.write_failure(name, str(error))
                yield Outcome(name, "failed", str(error))
                continue
            store.write(name, *image.shape[:2], masks)
            yield Outcome(name, "done")


def make_on(
    tasks: Sequence[Task], build: Callable[[], "Sam"], settings: SamSettings, devices: Sequence[str]
) -> Iterator[Outcome]:
    """`make` with one process per device, each taking its share of every task; ``build`` must be picklable.

    Yields:
        One outcome per image, as they happen.

    Raises:
        MaskError: a process failed; what is written stays.
    """
    if len(devices) == 1:
        yield from make(tasks, build, settings, devices[0])
        return
    # A forked process cannot use CUDA.
    context = multiprocessing.get_context("spawn")
    outcomes = context.Queue()
    processes = []
    for index, device in enumerate(devices):
        share = [task.part(index, len(devices)) for task in tasks]
        arguments = (share, build, settings, device, outcomes)
        processes.append(context.Process(target=_work, args=arguments, daemon=True))
    try:
        for process in processes:
            process.start()
        running = len(processes)
        while running:
            message = _next(outcomes, processes)
            if isinstance(message, Outcome):
                yield message
            elif message:
                raise MaskError(message)
            else:
                running -= 1
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()


def _work(
    tasks: list[Task], build: Callable, settings: SamSettings, device: str, outcomes: multiprocessing.Queue
) -> None:
    """A worker process: sends its outcomes, then "" at the end or the reason it failed for."""
    try:
        parent = multiprocessing.parent_process()
        for outcome in make(tasks, build, settings, device):
            if parent and not parent.is_alive():
                return  # killed: its next run makes the rest
            outcomes.put(outcome)
    except UserError as error:
        outcomes.put(str(error))
    except Exception as error:
        outcomes.put(
            f"the process on {device} failed: {type(error).__name__}: {error}; run the command again, it resumes"
        )
        raise
    else:
        outcomes.put("")


def _next(outcomes: multiprocessing.Queue, processes: list) -> Outcome | str:
    while True:
        try:
            return outcomes.get(timeout=_PATIENCE)
        except queue.Empty:
            dead = [process for process in processes if process.exitcode not in (None, 0)]
            if dead:
                return f"a mask process ended with status {dead[0].exitcode}; run the command again, it resumes"
