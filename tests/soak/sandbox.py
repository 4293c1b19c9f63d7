"""Many cases in a child process that may crash, hang or eat memory without harm to the test."""

import mmap
import os
import resource
import signal
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

_STATE = struct.Struct("q")  # the case at work, then the peak of memory in KiB


@dataclass
class Survey:
    """What many cases came to.

    Attributes:
        outcomes: How many had which outcome.
        faults: Case numbers and what went wrong there: the ones to look at.
        peak_mb: The greatest memory that the children held, in MB.
    """

    outcomes: Counter = field(default_factory=Counter)
    faults: dict[int, str] = field(default_factory=dict)
    peak_mb: int = 0


def check_message(error: Exception) -> str:
    """That an error speaks in one line that can be read; then the outcome is "refused"."""
    assert "\n" not in str(error), error
    assert len(str(error)) < 1500, error
    return "refused"


def survey(attempt: Callable[[int], str], count: int, seconds: float, memory: int, first: int = 0) -> Survey:
    """Call ``attempt(number)`` for ``count`` numbers in children forked from this process.

    Case number -1 comes first in each child and is to be an ordinary one: it warms up, and is not counted.

    Args:
        attempt: Returns what happened; raises where something happened that must not.
        count: How many cases.
        seconds: Time allowed for one.
        memory: Bytes of address space that a child may take beyond what it has after case -1.
        first: The first number.
    """
    found, position = Survey(), first
    while position < first + count:
        position = _child(attempt, position, first + count, seconds, memory, found)
    return found


def _child(attempt: Callable[[int], str], start: int, end: int, seconds: float, memory: int, found: Survey) -> int:
    """Run one child from case ``start`` on; the number of the next case to run."""
    shared = mmap.mmap(-1, 2 * _STATE.size)
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        os._exit(_work(attempt, start, end, memory, shared, writing))
    os.close(writing)
    os.set_blocking(reading, False)
    seen, since, text, status = None, time.monotonic(), b"", None
    while status is None:
        ended, state = os.waitpid(pid, os.WNOHANG)
        status = state if ended else None
        text += _read(reading)
        current = _STATE.unpack_from(shared)[0]
        if current != seen:
            seen, since = current, time.monotonic()
        # The first case of a child also loads libraries.
        elif status is None and time.monotonic() - since > seconds + (600 if current <= start else 0):
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            found.faults[current] = f"no end after {seconds:.0f} s"
        if status is None:
            time.sleep(0.01)
    text += _read(reading)
    os.close(reading)
    for line in text.decode().splitlines():
        number, kind, what = line.split("\t", 2)
        if kind == "fault":
            found.faults[int(number)] = what
        found.outcomes[kind if kind == "fault" else what] += 1
    found.peak_mb = max(found.peak_mb, _STATE.unpack_from(shared, _STATE.size)[0] // 1024)
    if current < 0 and status:
        raise RuntimeError(f"the sound case failed: status {os.waitstatus_to_exitcode(status)}")
    if status == 0:
        return end
    found.faults.setdefault(current, f"the process ended with status {os.waitstatus_to_exitcode(status)}")
    found.outcomes["fault"] += 1
    return max(current, start) + 1


def _read(descriptor: int) -> bytes:
    text = b""
    try:
        while block := os.read(descriptor, 1 << 16):
            text += block
    except BlockingIOError:
        pass
    return text


def _work(attempt: Callable[[int], str], start: int, end: int, memory: int, shared: mmap.mmap, writing: int) -> int:
    _STATE.pack_into(shared, 0, -1)
    try:
        attempt(-1)
        with open("/proc/self/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + memory, size + memory))
        for number in range(start, end):
            _STATE.pack_into(shared, 0, number)
            try:
                line = f"{number}\tok\t{attempt(number)}"
            except BaseException as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                text = " ".join(str(error).split())[:300]
                line = f"{number}\tfault\t{type(error).__name__}: {text} ({where.filename}:{where.lineno})"
            os.write(writing, (line + "\n").encode("utf-8", "backslashreplace"))
            usage = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            _STATE.pack_into(shared, _STATE.size, max(usage))
    except BaseException:
        traceback.print_exc()
        return 3
    return 0
