"""The result files of a run: written once per job, read back by reports. CSV and JSON are the source of truth."""

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from icm.errors import UserError
from icm.files import atomic_write

IMAGE_COLUMNS = (
    "image", "width", "height", "payload_bytes", "bytes", "bpp", "bpp_total", "psnr", "faces", "encode_seconds",
    "decode_seconds",
)  # fmt: skip
FACE_COLUMNS = (
    "image", "face", "x", "y", "width", "height", "detector_confidence", "identity", "embedder", "cosine_similarity",
    "calibrated_similarity",
)  # fmt: skip
_TEXT_COLUMNS = {"image", "identity", "embedder"}


class ResultsError(UserError):
    """A result file is missing or damaged."""


@dataclass(frozen=True)
class Run:
    """What one evaluation job found.

    ``summary`` is summary.json, ``images`` and ``faces`` the rows of images.csv and faces.csv (columns
    `IMAGE_COLUMNS` and `FACE_COLUMNS`; an empty cell is None).
    """

    directory: Path
    summary: dict
    images: list[dict]
    faces: list[dict]


def crop_name(image: str, face: int) -> str:
    """File name of a face crop below a run's ``crops/original`` and ``crops/coded``: one name per image and face."""
    # Names may be of any length and script: the end is there to be read, the digest tells one from another.
    end = re.sub(r"[^A-Za-z0-9.-]+", "_", image)[-40:]
    return f"{end}_{hashlib.sha256(image.encode()).hexdigest()[:12]}_{face}.png"


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def rows_to_csv(columns: Iterable[str], rows: Iterable[dict]) -> str:
    """CSV text with a header line: floats to six decimals, None and NaN as empty cells, ``\\n`` line ends."""
    columns = list(columns)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)
    return text.getvalue()


def _parse(column: str, text: str) -> object:
    if text == "":
        return None
    if column in _TEXT_COLUMNS:
        return text
    try:
        return int(text)
    except ValueError:
        return float(text)


def _read_csv(path: Path) -> list[dict]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [{key: _parse(key, value) for key, value in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise ResultsError(f"{path}: missing; run the evaluation of this folder again") from None
    except (ValueError, TypeError, AttributeError, csv.Error) as error:
        raise ResultsError(f"{path}: not a result table ({error}); run the evaluation of this folder again") from None


def write_run(run: Run) -> None:
    """Write images.csv, faces.csv and, last, summary.json, whose presence marks a finished run."""
    atomic_write(run.directory / "images.csv", rows_to_csv(IMAGE_COLUMNS, run.images))
    atomic_write(run.directory / "faces.csv", rows_to_csv(FACE_COLUMNS, run.faces))
    atomic_write(run.directory / "summary.json", json.dumps(run.summary, indent=2, allow_nan=False) + "\n")


def load_run(directory: Path | str) -> Run:
    """Read one finished run; `ResultsError` names a missing or damaged file."""
    directory = Path(directory)
    path = directory / "summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(f"{path}: missing; {directory} holds no finished run") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise ResultsError(f"{path}: not JSON ({error}); run the evaluation of this folder again") from None
    return Run(directory, summary, _read_csv(directory / "images.csv"), _read_csv(directory / "faces.csv"))


def _job_order(directory: Path) -> tuple[int, str]:
    return (int(directory.name), "") if directory.name.isdigit() else (1 << 30, directory.name)


def load_runs(directory: Path | str) -> list[Run]:
    """The finished runs of a run folder or a sweep folder, in job order, each distinct cell once."""
    directory = Path(directory)
    if (directory / "summary.json").is_file():
        return [load_run(directory)]
    folders = sorted((path.parent for path in directory.glob("*/summary.json")), key=_job_order)
    runs: dict[str, Run] = {}
    for folder in folders:
        run = load_run(folder)
        runs.setdefault(run.summary["cell"], run)
    return list(runs.values())
