"""The failed jobs of a sweep: each leaves its reason in its folder, and none takes the others along."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icm.errors import UserError
from icm.files import atomic_write

log = logging.getLogger(__name__)
ERROR_FILE = "error.txt"


@contextmanager
def recorded(directory: Path) -> Iterator[None]:
    """Write an exception of the body into ``error.txt`` of the job's folder, log it and go on; remove an earlier one.

    A traceback is logged unless it is a `UserError`; a reason that another job of the sweep has told is not repeated.
    """
    path = directory / ERROR_FILE
    path.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        if reason in failed_jobs(directory.parent).values():
            log.error("job %s failed for the same reason as an earlier one", directory.name)
        else:
            log.error("job %s failed: %s", directory.name, reason, exc_info=not isinstance(error, UserError))
        atomic_write(path, reason + "\n")


def failed_jobs(sweep: Path) -> dict[str, str]:
    """Job folders with an ``error.txt``, in job order, with the reason that stands in it."""
    folders = [path.parent for path in sweep.glob(f"*/{ERROR_FILE}")]
    folders.sort(key=lambda folder: (not folder.name.isdigit(), folder.name.zfill(9)))
    return {folder.name: _reason(folder / ERROR_FILE) for folder in folders}


def print_failures(sweep: Path, failed: dict[str, str]) -> None:
    """List the failed jobs of a sweep on standard error, each reason once."""
    for reason in dict.fromkeys(failed.values()):
        names = [name for name in failed if failed[name] == reason]
        print(f"job{'s' if len(names) > 1 else ''} {', '.join(names)} failed: {reason}", file=sys.stderr)
    if failed:
        print(f"{len(failed)} job(s) of {sweep} failed; run the same command again to retry", file=sys.stderr)


def _reason(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() or "unknown reason"
