"""What ``encode`` and ``decode`` share: which files to read and write, and doing many at once."""

import glob
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from icm.errors import UserError
from icm.files import remove_abandoned
from icm.threads import in_threads

Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """One file to read, ``source``, and one to write, ``target``."""

    source: Path
    target: Path


def plan(
    inputs: list[str], output: Path, suffix: str, force: bool, list_folder: Callable[[Path], list[Path]]
) -> list[Job]:
    """One job per input file, in the order given; a file named twice is done once.

    Args:
        inputs: Files, folders or glob patterns. A missing file is left for its job to report.
        output: The folder to write to; subfolders of an input folder are kept below it.
        suffix: Of the files to write.
        force: Overwrite files that exist.
        list_folder: Gives the files of a folder.

    Raises:
        UserError: There is nothing to do, two inputs would write one file, or a file to be written exists and ``force``
            is not set.
    """
    jobs: dict[Path, Job] = {}
    for text in inputs:
        for source, relative in _files(text, list_folder):
            job = Job(source, output / relative.with_suffix(suffix))
            other = jobs.setdefault(job.target, job)
            if other.source.resolve() != source.resolve():
                raise UserError(
                    f"{other.source} and {source} both become {job.target}; code them in two runs, each with its own -o"
                )
    if not jobs:
        raise UserError(f"{', '.join(inputs)}: no files found there")
    remove_abandoned(output)
    existing = [target for target in jobs if target.exists()]
    if existing and not force:
        raise UserError(
            f"{existing[0]} exists ({len(existing)} of them); add --force to overwrite or choose another -o"
        )
    return list(jobs.values())


def _files(text: str, list_folder: Callable[[Path], list[Path]]) -> list[tuple[Path, Path]]:
    path = Path(text)
    if not path.exists() and glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))
        if not matches:
            raise UserError(f"{text}: no file matches this pattern")
        return [(Path(match), Path(Path(match).name)) for match in matches if os.path.isfile(match)]
    if path.is_dir():
        return [(file, file.relative_to(path)) for file in list_folder(path)]
    return [(path, Path(path.name))]


def run_all(
    jobs: list[Job], work: Callable[[Job], Result], workers: int | None, label: str
) -> tuple[list[Result], list[str]]:
    """Do every job in threads, under a progress bar on standard error.

    A job that raises UserError or OSError is named on standard error and the others go on. On Ctrl-C, jobs not begun
    are dropped.

    Args:
        jobs: What to do.
        work: Does one job.
        workers: Jobs at once; None: as many as there are cores.
        label: Names the progress bar.

    Returns:
        The results, in the jobs' order, and the messages of the failed ones.
    """
    from tqdm import tqdm

    results: list[Result] = []
    failures: list[str] = []
    with tqdm(total=len(jobs), desc=label, unit="image", file=sys.stderr) as progress:
        for job, future in in_threads(work, jobs, workers):
            try:
                results.append(future.result())
            except (UserError, OSError) as error:
                message, name = str(error), str(job.source)
                failures.append(message if message.startswith(name) else f"{name}: {message}")
                tqdm.write(f"skipped {failures[-1]}", file=sys.stderr)
            progress.update()
    return results, failures
