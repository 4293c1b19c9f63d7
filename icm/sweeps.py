"""The folder of a sweep: one folder for each job, in job order, and what became of jobs that failed."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from icm.errors import UserError, is_interruption
from icm.files import WriteError, atomic_write, remove_abandoned, unwritable

log = logging.getLogger(__name__)
ERROR_FILE = "error.txt"
LOST = "lost: "  # begins the reason of a job that was killed, not of one that failed
FINISHED = "finished.json"  # the last file of a job, which says what it was
EARLIER = "earlier.json"  # what summary.json of an earlier command is called until its job is taken up
_ROOM = 1 << 16  # bytes that a folder must have room for before a job starts


class SweepStop(SystemExit):
    """The folder of a sweep takes nothing any more, not even why a job failed: no other job is worth starting."""


def job_folders(sweep: Path, holding: str) -> list[Path]:
    """The job folders of a sweep that hold a file, in job order: numbered ones first, then the others by name."""
    folders = [path.parent for path in sweep.glob(f"*/{holding}")]
    return sorted(folders, key=lambda folder: (not is_job(folder), int(folder.name) if is_job(folder) else 0, folder))


def is_job(folder: Path) -> bool:
    """Whether a folder is named as Hydra names those of a sweep's jobs: by a number."""
    return folder.name.isascii() and folder.name.isdigit()


def set_aside(sweep: Path) -> None:
    """Forget how the jobs of an earlier sweep in this folder ended; `put_back` takes up one that has not changed."""
    for folder in job_folders(sweep, ERROR_FILE):
        if is_job(folder):
            (folder / ERROR_FILE).unlink(missing_ok=True)
    for folder in job_folders(sweep, "summary.json"):
        if is_job(folder):
            (folder / "summary.json").replace(folder / EARLIER)


def forget_jobs(sweep: Path) -> None:
    """Remove what says how the jobs of an earlier command in this folder ended; what they coded is cached."""
    for folder in sweep.iterdir():
        if is_job(folder):
            (folder / ERROR_FILE).unlink(missing_ok=True)
            forget(folder)


def put_back(folder: Path) -> None:
    """Make the finished run of a job's folder one of this sweep again."""
    if (folder / EARLIER).is_file():
        with unwritable(folder):
            (folder / EARLIER).replace(folder / "summary.json")


def forget(folder: Path) -> None:
    """Remove what says that a job has finished in its folder."""
    with unwritable(folder):
        for name in (FINISHED, "summary.json", EARLIER):
            (folder / name).unlink(missing_ok=True)


def refuse_unwritable(directory: Path) -> None:
    """UserError in one line when results cannot be written to a folder (made when missing), before work is done.

    What writers that were killed have left there is removed.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(os.urandom(_ROOM))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{directory}: no results can be written there ({reason}); name another folder") from error
    remove_abandoned(directory)


def stop_unless_writable(directory: Path) -> None:
    """For a callback of Hydra, which turns every other exception of one into a warning: `refuse_unwritable`, or the end
    of the command with that line. Hydra's own attempt to make the folder would end in a traceback."""
    try:
        refuse_unwritable(directory)
    except UserError as error:
        raise SystemExit(f"{Path(sys.argv[0]).name}: {error}") from None


@contextmanager
def failures_recorded(directory: Path) -> Iterator[None]:
    """Write an exception of the body into ``error.txt`` of the job's folder, log it and go on; remove an earlier one.

    A traceback is logged unless it is a `UserError`; a reason that another job of the sweep has told is not repeated.

    Raises:
        SweepStop: The folder does not take the reason.
    """
    path = directory / ERROR_FILE
    try:
        with unwritable(path):
            path.unlink(missing_ok=True)
        yield
    except Exception as error:
        if is_interruption(error):
            raise KeyboardInterrupt from error
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        if reason in failed_jobs(directory.parent).values():
            log.error("job %s failed for the same reason as an earlier one", directory.name)
        else:
            # A list of what is missing is told once, at the end.
            first, _, rest = reason.partition("\n")
            unexpected = not isinstance(error, UserError)
            log.error("job %s failed: %s%s", directory.name, first, " [...]" if rest else "", exc_info=unexpected)
        try:
            atomic_write(path, reason + "\n")
        except WriteError as unwritten:
            what = f"job {directory.name} failed ({reason}), and its folder takes no word of it"
            raise SweepStop(what) from unwritten


def failed_jobs(sweep: Path) -> dict[str, str]:
    """Job folders with an ``error.txt``, in job order, with the reason that stands in it."""
    return {folder.name: _reason(folder / ERROR_FILE) for folder in job_folders(sweep, ERROR_FILE)}


def print_failures(sweep: Path, failed: dict[str, str]) -> None:
    """List the jobs of a sweep without a result on standard error, each reason once."""
    for reason in dict.fromkeys(failed.values()):
        names = [name for name in failed if failed[name] == reason]
        what = "" if is_pending(reason) or reason.startswith(LOST) else "failed: "
        print(f"job{'s' if len(names) > 1 else ''} {', '.join(names)} {what or 'is '}{reason}", file=sys.stderr)
    if over := [reason for reason in failed.values() if not is_pending(reason)]:
        print(f"{len(over)} job(s) of {sweep} failed; run the same command again to retry", file=sys.stderr)
    if len(over) < len(failed):
        print(f"{len(failed) - len(over)} job(s) are not over; the same command waits for them", file=sys.stderr)


def is_pending(reason: str) -> bool:
    """Whether a job without a result may still have one (`icm.jobs.missing`)."""
    return reason.startswith(("running", "queued"))


def _reason(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() or "unknown reason"
