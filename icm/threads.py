"""Work on many items in threads, with results in order and bounded memory."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Generator[tuple[Item, "Future[Result]"], None, None]:
    """Call ``function`` on every item, ``workers`` at once (None: as many as cores).

    ``function`` must change nothing that belongs to the whole process (environment, warning filters, working folder,
    random state). At most ``workers`` results wait to be taken, whatever the number of items. Once the caller stops
    taking, after Ctrl-C for example, nothing more starts, and what is under way ends before this does.

    Yields:
        Each item, in order, with its finished future: ``future.result()`` is the result or raises what the call raised.
    """
    count = workers or cores()
    executor = ThreadPoolExecutor(count)
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            waiting.append((item, executor.submit(function, item)))
            if len(waiting) > 2 * count - 1:
                yield _finished(waiting)
        while waiting:
            yield _finished(waiting)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _finished(waiting: "deque[tuple[Item, Future[Result]]]") -> tuple[Item, "Future[Result]"]:
    item, future = waiting.popleft()
    future.exception()
    return item, future
