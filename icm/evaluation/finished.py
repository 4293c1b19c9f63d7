"""finished.json of a job's folder: which job has finished there, under which pictures, and what files it left.

A later command takes up the job only if it is the very same one (`icm.evaluation.job.Job.cell`), no picture was added,
removed or changed since, and its files are those it wrote, by their SHA-256. One in another folder takes a copy of what
it left, if the code is the same too.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from icm import provenance
from icm.errors import UserError
from icm.evaluation.cache import Cache, content_key
from icm.evaluation.job import Job
from icm.evaluation.results import ResultsError, Run, load_run
from icm.faces.sources import Shard
from icm.files import atomic_write, file_sha256, look_again, read_current
from icm.jobs import FILE as JOBS
from icm.sweeps import EARLIER, FINISHED

Mark = dict[str, Any]
# JSON and CSV files of a job's folder that the job itself did not write.
_OF_OTHERS = (FINISHED, EARLIER, JOBS, "table.csv", "bd.csv")


def mark(job: Job) -> Mark:
    """What tells a job and its pictures: every file by its size and time, every label."""
    source = job.source.whole if isinstance(job.source, Shard) else job.source
    pictures = [
        [image.name, image.person, [vars(face) for face in image.known_faces], _state(image.path)]
        for image in source.images()
    ]
    shard = job.source.title if isinstance(job.source, Shard) else None
    return {"cell": job.cell, "pictures": content_key(pictures=pictures), "shard": shard}


def write_mark(directory: Path, found: Mark) -> dict[str, str]:
    """Say that a job has finished in a folder, and what files it left there; the last thing that it does.

    Returns:
        The SHA-256 of each file, by its path inside the folder.
    """
    paths = [path for pattern in ("*.json", "*.csv", "crops/*/*") for path in directory.glob(pattern)]
    files = {path.relative_to(directory).as_posix(): file_sha256(path) for path in paths if path.name not in _OF_OTHERS}
    atomic_write(directory / FINISHED, json.dumps({**found, "files": files}) + "\n")
    return files


def is_finished(job: Job, directory: Path) -> bool:
    """Whether a folder holds this very job finished, and its pictures and result files are as they were.

    One part of the pictures has not finished where all parts are there, but nobody made the run of all of them.
    """
    found = _read(directory)
    if not found or {**found, **mark(job)} != found or not _is_intact(directory, found, _summary(directory)):
        return False
    if isinstance(job.source, Shard):
        return not all_parts(directory.parent, found) or any(
            _same(entry := _read(path.parent), found) and _is_intact(path.parent, entry, path.name)
            for name in ("summary.json", EARLIER)
            for path in directory.parent.glob(f"*/{name}")
        )
    try:
        load_run(directory, _summary(directory))
    except ResultsError:
        return False
    return True


def run_key(job: Job) -> str | None:
    """Names a job with its pictures and all code, for `remember`.

    None where something is missing, which preflight says.
    """
    try:
        return content_key(**mark(job), versions=provenance.versions(), code=provenance.code_digest())
    except UserError:
        return None


def remember(key: str, directory: Path, files: Mapping[str, str], cache: Cache) -> None:
    """Note in the cache what files a job has left in a folder (`write_mark`), so that `find_earlier` finds them."""
    entry = {"directory": str(directory.resolve()), "files": files}
    cache.put("run", key, json.dumps(entry).encode())


def find_earlier(key: str, cache: Cache) -> tuple[Path, list[str]] | None:
    """The folder in which the job of a `run_key` has finished, and the names of the files that it left there.

    None where there is none, or any of the files is not as it was.
    """
    stored = cache.get("run", key)
    if stored is None:
        return None
    entry = json.loads(stored)
    directory = Path(entry["directory"])
    return (directory, list(entry["files"])) if _is_intact(directory, entry) else None


def reuse(source: Path, names: Sequence[str], directory: Path) -> Run:
    """The run of another folder (`find_earlier`), its files copied, the summary last."""
    if source != directory.resolve():
        for name in sorted(names, key=lambda name: name == "summary.json"):
            atomic_write(directory / name, (source / name).read_bytes())
    return load_run(directory)


def all_parts(sweep: Path, one: Mark) -> bool:
    """Whether every part of the pictures has finished in a sweep, given the mark of one of them."""
    count = int(str(one["shard"]).partition("/")[2])
    for folder in sweep.iterdir():
        look_again(folder)  # two parts that end at once on two machines must not miss each other
    found = [_read(path.parent) for path in sweep.glob(f"*/{FINISHED}")]
    return {entry["shard"] for entry in found if _same(entry, one)} >= {f"{index}/{count}" for index in range(count)}


def _same(found: Mark, other: Mark) -> bool:
    return (found.get("cell"), found.get("pictures")) == (other["cell"], other["pictures"])


def _summary(directory: Path) -> str:
    """What summary.json is called at the moment."""
    return "summary.json" if (directory / "summary.json").is_file() else EARLIER


def _is_intact(directory: Path, entry: Mark, summary: str = "summary.json") -> bool:
    """Whether every file that a job left in a folder is as it was; earlier versions did not say which there were."""
    files = entry.get("files")
    if not isinstance(files, dict):
        return False
    for name, digest in files.items():
        # Whoever writes to the cache names files inside the folder, and nothing else.
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            return False
        path = directory / (summary if name == "summary.json" else name)
        if not path.is_file() or file_sha256(path) != digest:
            return False
    return True


def _read(directory: Path) -> Mark:
    try:
        return dict(json.loads(read_current(directory / FINISHED)))
    except (OSError, ValueError, TypeError):
        return {}


def _state(path: Path | None) -> list[int]:
    if path is None:
        return []
    try:
        status = path.stat()
    except OSError:
        return [-1]
    return [status.st_size, status.st_mtime_ns]
