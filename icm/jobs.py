"""Jobs of a sweep that run in other processes: which were started, and which of those are still alive.

``jobs.json`` of the sweep folder is written by whoever starts them, and outlives it.
"""

import getpass
import json
import socket
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from icm.files import atomic_write, read_current
from icm.overrides import what_is_swept
from icm.sweeps import FINISHED, LOST, failed_jobs

FILE = "jobs.json"
SLURM, PROCESS = "SLURM job", "process"
# What a job leaves in its folder when it is done (`icm.evaluation.configured`), and a training (`icm.training`).
DONE = (FINISHED, "summary.json")


@dataclass(frozen=True)
class Started:
    """A job of a sweep that runs elsewhere.

    Attributes:
        folder: The name of its folder in the sweep's.
        overrides: All that was typed for it.
        engine: ``SLURM job`` or ``process``.
        id: The job's id (``12_3`` in an array) or the process's; None: it has not been started yet.
        host: The machine that started it.
        over: Whether it has ended by itself: measured, failed, or the repetition of another.
    """

    folder: str
    overrides: tuple[str, ...]
    engine: str
    id: str | None = None
    host: str = socket.gethostname()
    over: bool = False


def read_jobs(sweep: Path) -> list[Started]:
    """The jobs that were started for a sweep; none where nobody started any."""
    try:
        entries = json.loads(read_current(sweep / FILE))["jobs"]
        return [Started(**{**entry, "overrides": tuple(entry["overrides"])}) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def write_jobs(sweep: Path, jobs: Sequence[Started]) -> None:
    """Replace ``jobs.json``, which also says by what command the jobs were started."""
    content = {"command": what_is_swept(sys.argv[1:]), "jobs": [asdict(job) for job in jobs]}
    atomic_write(sweep / FILE, json.dumps(content, indent=1) + "\n")


def sweep_folder(root: str) -> str:
    """Where this command's sweep goes: the newest folder of the same command that has jobs left, else a new one."""
    command = what_is_swept(sys.argv[1:])
    for path in sorted(Path(root).glob(f"*/{FILE}"), reverse=True):
        sweep = path.parent
        try:
            same = json.loads(read_current(path))["command"] == command
        except (OSError, ValueError, TypeError, KeyError):
            continue
        if same and _unfinished(sweep):
            return str(sweep)
    return str(Path(root, datetime.now().strftime("%Y-%m-%d_%H-%M-%S")))


def alive(jobs: Collection[Started]) -> dict[str, str] | None:
    """Folder and state (such as "RUNNING", "PENDING") of the jobs that are running or will.

    Returns:
        None where SLURM cannot be asked now. A process on another machine is taken to be alive.
    """
    found = {job.folder: "RUNNING" for job in jobs if job.engine == PROCESS and job.id and _process_lives(job)}
    if any(job.engine == SLURM and job.id for job in jobs):
        queue = _queue()
        if queue is None:
            return None
        found |= {job.folder: queue[job.id] for job in jobs if job.engine == SLURM and job.id in queue}
    return found


def why_gone(job: Started) -> str:
    """What is known of a job that has left without a result, in one line."""
    state = _last_state(job.id) if job.engine == SLURM and job.id else ""
    return f"{LOST}{job.engine} {job.id} ended without a result{f' ({state})' if state else ''}"


def missing(sweep: Path) -> dict[str, str]:
    """The jobs of a sweep without a result: folder and why, in job order.

    A reason that starts with "running" or "queued" is no failure yet; one with "lost" tells of a job that was killed,
    cancelled or on a machine that went away; the others are what the job itself said (``error.txt``).
    """
    jobs = read_jobs(sweep)
    found = failed_jobs(sweep)
    open_jobs = [job for job in jobs if not job.over and job.folder not in found and not _done(sweep, job.folder)]
    lively = alive(open_jobs)
    for job in open_jobs:
        if job.id is None:
            found[job.folder] = f"{LOST}it was not started yet"
        elif lively is None:
            found[job.folder] = f"running or lost: {job.engine} {job.id}, and SLURM cannot be asked here"
        elif job.folder in lively:
            state = "queued" if lively[job.folder] == "PENDING" else "running"
            found[job.folder] = f"{state}: {job.engine} {job.id} on {job.host}"
        else:
            found[job.folder] = why_gone(job)
    common = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    named = {job.folder: " ".join(word for word in job.overrides if word not in common) for job in jobs}
    order = sorted(found, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))
    return {f"{name} ({named[name]})" if named.get(name) else name: found[name] for name in order}


def is_dry_run(config: Any) -> bool:
    """Whether a sweep, by Hydra's configuration of its command, only lists its jobs (``--dry-run``)."""
    return str(config.hydra.launcher._target_).endswith(".DryRun")


def _unfinished(sweep: Path) -> bool:
    failed = failed_jobs(sweep)
    return any(job.folder in failed or not (job.over or _done(sweep, job.folder)) for job in read_jobs(sweep))


def _done(sweep: Path, folder: str) -> bool:
    return any((sweep / folder / name).is_file() for name in DONE)


def _process_lives(job: Started) -> bool:
    if job.host != socket.gethostname():
        return True
    try:
        # Empty for a killed child that its parent has not waited for. After a restart the id may be another program's.
        return b"python" in Path(f"/proc/{job.id}/cmdline").read_bytes()
    except OSError:
        return False


def _ask(command: list[str]) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _queue() -> dict[str, str] | None:
    """Id and state of this user's jobs that SLURM has not finished with; an array's jobs one by one."""
    listed = _ask(["squeue", "--noheader", "--array", "--user", getpass.getuser(), "--format", "%i %T"])
    return None if listed is None else dict(line.split(maxsplit=1) for line in listed.splitlines() if line.strip())


def _last_state(job: str) -> str:
    """How SLURM remembers a job that has left its queue; empty where it does not any more."""
    shown = _ask(["scontrol", "show", "job", "--oneliner", job]) or ""
    fields = dict(word.split("=", 1) for word in shown.split() if "=" in word)
    if state := fields.get("JobState", ""):
        return state
    listed = _ask(["sacct", "--noheader", "--parsable2", "-X", "-j", job, "-o", "State"]) or ""
    return listed.splitlines()[0] if listed else ""
