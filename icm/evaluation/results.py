"""The result files of a run: written once per job, read back by reports. CSV and JSON are the source of truth.

What each file and column holds is said in docs/results.md.
"""

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from icm.errors import UserError
from icm.evaluation.measures import Estimate, Subject
from icm.files import atomic_write

Row = dict[str, Any]
# Cells of these columns are text even when they look like numbers.
TEXT_COLUMNS = frozenset({"image", "identity", "embedder", "attack", "model", "codec", "label", "category"})


class ResultsError(UserError):
    """A result file is missing or damaged."""


class FoundByTasks(TypedDict, total=False):
    """The fields of summary.json that tasks add (`icm.evaluation.task.Outcome.summary`)."""

    faces: int
    detector: str
    notes: list[str]
    failures_to_acquire: dict[str, int]
    titles: dict[str, str]
    similarity: dict[str, dict[str, Any]]


class Summary(FoundByTasks):
    """summary.json; docs/results.md explains every field."""

    codec: str
    title: str
    series: str
    short: str
    variant: str | None
    baseline_of: str
    ceiling: bool
    label: str
    point: dict[str, Any]
    qp: Any
    parameters: dict[str, Any]
    codec_version: str
    source: str
    images: int
    bpp: float
    bpp_total: float
    bpp_pooled: float
    psnr: float | None
    lossless_images: int
    skipped: list[dict[str, str]]
    tasks: list[str]
    data: str
    cell: str
    parts: list[dict[str, Any]]
    seed: int
    estimates: list[dict[str, Any]]
    versions: dict[str, str]
    git_commit: str | None


@dataclass(frozen=True)
class Run:
    """What one evaluation job found.

    Attributes:
        directory: The job's folder.
        summary: The content of summary.json.
        tables: The rows of every CSV file of the folder, by its name without suffix; an empty cell is None.
    """

    directory: Path
    summary: Summary
    tables: dict[str, list[Row]]

    @property
    def images(self) -> list[Row]:
        """The rows of images.csv: one for each coded picture."""
        return self.tables.get("images", [])

    @property
    def faces(self) -> list[Row]:
        """The rows of faces.csv: one for each face, recogniser and attack."""
        return self.tables.get("faces", [])

    @property
    def estimates(self) -> dict[tuple[str, Subject], Estimate]:
        """Every estimate by the key of its measure and its subject."""
        fields = Subject._fields
        return {
            (entry["measure"], Subject(*(entry.get(name, "") for name in fields))): Estimate(
                entry["value"], entry["low"], entry["high"], entry["n"], entry["units"], entry.get("note", "")
            )
            for entry in self.summary["estimates"]
        }


def estimate_entries(estimates: Mapping[tuple[str, Subject], Estimate]) -> list[dict[str, Any]]:
    """Estimates as they stand in summary.json: one object each, empty fields left out."""
    entries = []
    for (measure, subject), estimate in estimates.items():
        whose = {name: value for name, value in subject._asdict().items() if value}
        numbers = {name: getattr(estimate, name) for name in ("value", "low", "high", "n", "units")}
        note = {"note": estimate.note} if estimate.note else {}
        entries.append({"measure": measure, **whose, **numbers, **note})
    return entries


def crop_name(image: str, face: int) -> str:
    """File name of a face crop below a run's ``crops/original`` and ``crops/coded``: one name per image and face."""
    # Names may be of any length and script: the end is there to be read, the digest tells one from another.
    end = re.sub(r"[^A-Za-z0-9.-]+", "_", image)[-40:]
    return f"{end}_{hashlib.sha256(image.encode()).hexdigest()[:12]}_{face}.png"


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def rows_to_csv(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV text with a header line: floats to six decimals, None and NaN as empty cells, ``\\n`` line ends."""
    columns = list(columns)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def _parse(column: str, text: str) -> object:
    if text == "":
        return None
    if column in TEXT_COLUMNS:
        return text
    try:
        return int(text)
    except ValueError:
        return float(text)


def _read_csv(path: Path) -> list[Row]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [{key: _parse(key, value) for key, value in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise ResultsError(f"{path}: missing; run the evaluation of this folder again") from None
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise ResultsError(f"{path}: not a result table ({error}); run the evaluation of this folder again") from None


def write_run(run: Run, files: Mapping[str, Any] | None = None, exports: Mapping[str, list[Row]] | None = None) -> None:
    """Write every table as CSV and, last, summary.json, whose presence marks a finished run.

    Args:
        run: What was found.
        files: The content of further JSON files, by name without suffix.
        exports: The rows of further CSV files that `load_run` does not read.

    Raises:
        WriteError: The folder cannot be written to.
    """
    for name, content in (files or {}).items():
        atomic_write(run.directory / f"{name}.json", json.dumps(content, allow_nan=False) + "\n")
    for name, rows in {**run.tables, **(exports or {})}.items():
        columns = dict.fromkeys(column for row in rows for column in row)
        atomic_write(run.directory / f"{name}.csv", rows_to_csv(columns, rows))
    text = json.dumps({**run.summary, "tables": list(run.tables)}, indent=2, allow_nan=False)
    atomic_write(run.directory / "summary.json", text + "\n")


def load_run(directory: Path | str, summary_file: str = "summary.json") -> Run:
    """Read one finished run; `ResultsError` names a missing or damaged file."""
    directory = Path(directory)
    path = directory / summary_file
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        names = [str(name) for name in summary.pop("tables")]
        missing = sorted(Summary.__required_keys__ - set(summary))
        list([] if missing else Run(directory, summary, {}).estimates)  # all can be read
    except FileNotFoundError:
        raise ResultsError(f"{path}: missing; {directory} holds no finished run") from None
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path}: not JSON ({error}); run the evaluation of this folder again") from None
    except (KeyError, TypeError, AttributeError, RecursionError):
        what = "damaged, or not written by this version"
        raise ResultsError(f"{path}: {what}; run the evaluation of this folder again") from None
    if missing or any("/" in name or name.startswith(".") for name in names):
        what = f"it lacks {missing[0]}" if missing else "it names tables outside its folder"
        raise ResultsError(f"{path}: {what}; run the evaluation of this folder again")
    return Run(directory, summary, {name: _read_csv(directory / f"{name}.csv") for name in names})


def load_runs(directory: Path | str) -> list[Run]:
    """The finished runs of a run folder or a sweep folder, in job order, each distinct cell once."""
    from icm.sweeps import job_folders

    directory = Path(directory)
    if (directory / "summary.json").is_file():
        return [load_run(directory)]
    runs: dict[str, Run] = {}
    for folder in job_folders(directory, "summary.json"):
        run = load_run(folder)
        runs.setdefault(run.summary["cell"], run)
    return list(runs.values())
