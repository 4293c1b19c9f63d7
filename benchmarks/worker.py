"""One side of a case in a process of its own, on one thread unless told otherwise.

What one side sets for its whole process (allocator, threads) is then not set for the other; and the processor time of
one thread is what a quiet machine's clock would show, whatever else runs.
"""

import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Tasks = dict[str, Callable[[], Any]]


class Worker:
    """Runs the tasks that ``make(*arguments)`` gives, by name, in a process that starts with the first of them.

    Args:
        make: A function of a module, so that the process can import it.
        arguments: Plain data.
        threads: PyTorch's, of the process; None: as many as it takes by itself.
    """

    def __init__(self, make: Callable[..., Tasks], *arguments: Any, threads: int | None = 1):
        self._make, self._arguments, self._threads = make, arguments, threads
        self._connection: Connection | None = None

    def __call__(self, task: str) -> Any:
        """What the task returns."""
        return self._run(task)[1]

    def seconds(self, task: str) -> float:
        """Processor time that it takes."""
        return self._run(task)[0]

    def end(self) -> None:
        """Let the process go; it ends by itself when this one does."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, task: str) -> tuple[float, Any]:
        if self._connection is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            arguments = (theirs, self._threads, self._make, self._arguments)
            context.Process(target=_serve, args=arguments, daemon=True).start()
            theirs.close()
        self._connection.send(task)
        return self._connection.recv()


def added_megabytes(make: Callable[..., Tasks], *arguments: Any) -> float:
    """What the task ``run`` adds, at its peak, to the memory of a fresh process that has everything loaded (Linux)."""
    worker = Worker(make, *arguments)
    before = worker("resident")
    worker("run")
    added = worker("peak") - before
    worker.end()
    return added


def _serve(connection: Connection, threads: int | None, make: Callable[..., Tasks], arguments: tuple) -> None:
    if threads:
        import torch

        torch.set_num_threads(threads)
    tasks = {"resident": partial(_megabytes, "VmRSS"), "peak": partial(_megabytes, "VmHWM")} | make(*arguments)
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        start = time.process_time()
        result = tasks[task]()
        connection.send((time.process_time() - start, result))


def _megabytes(field: str) -> float:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) * 1024 / 1e6
