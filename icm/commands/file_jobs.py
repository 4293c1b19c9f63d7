"""What ``encode`` and ``decode`` share: which files to read and write, and doing many at once."""

import glob
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from icm.errors import UserError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    source: Path
    target: Path


def plan(
    inputs: list[str], output: Path, suffix: str, force: bool, list_folder: Callable[[Path], list[Path]]
) -> list[Job]:
    """One job per input file, in the order given; a file named twice is done once.

    An input is a file, a folder (``list_folder`` gives its files, whose subfolders are kept below ``output``) or a glob
    pattern. Raises UserError when there is nothing to do, when two inputs would write one file, or when a file to be
    written exists and ``force`` is not set. A missing file is left for its job to report.
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
    """Do every job, ``workers`` at once (None: as many as cores), under a progress bar on standard error.

    A job that raises UserError or OSError is named on standard error and the others go on. Returns the results, in the
    jobs' order, and the messages of the failed ones. On Ctrl-C, jobs not begun are dropped.
    """
    from tqdm import tqdm

    results: dict[int, Result] = {}
    failures: list[str] = []
    executor = ThreadPoolExecutor(workers or cores())
    try:
        futures = {executor.submit(work, job): number for number, job in enumerate(jobs)}
        with tqdm(total=len(jobs), desc=label, unit="image", file=sys.stderr) as progress:
            for future in as_completed(futures):
                number = futures[future]
                try:
                    results[number] = future.result()
                except (UserError, OSError) as error:
                    message = str(error)
                    name = str(jobs[number].source)
                    failures.append(message if message.startswith(name) else f"{name}: {message}")
                    tqdm.write(f"skipped {failures[-1]}", file=sys.stderr)
                progress.update()
    finally:
        executor.shutdown(cancel_futures=True)
    return [results[number] for number in sorted(results)], failures


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
