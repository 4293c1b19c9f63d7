"""Optional files of a run folder: ``curves.json`` (what a figure draws), ``replicates.json``, ``timings.json``."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from icm.evaluation.measures import Subject
from icm.evaluation.results import ResultsError, Run

KINDS = ("det", "cmc", "genuine", "impostor")


@dataclass(frozen=True)
class Curve:
    """A curve of one recogniser under one attack.

    Attributes:
        kind: ``det``: x is the false match rate, y the false non-match rate. ``cmc``: x is the rank, y the
            identification rate. ``genuine`` and ``impostor``: x are the len(y) + 1 edges of the bins of a histogram of
            similarities, y its densities.
    """

    kind: str
    embedder: str
    attack: str
    x: tuple[float, ...]
    y: tuple[float, ...]


def curves_of(run: Run) -> list[Curve]:
    """The curves of a run; none without the file, `ResultsError` for a damaged one."""
    path = run.directory / "curves.json"
    return [_curve(path, entry) for entry in _read(path, [])]


def replicates_of(run: Run) -> dict[tuple[str, Subject], np.ndarray]:
    """Bootstrap replicates, (resamples,) float64, by the key of the measure and the subject.

    A resample that gave no number is NaN. Runs of equal ``data`` have the same resamples in the same order. Empty
    without the file, `ResultsError` for a damaged one.
    """
    path = run.directory / "replicates.json"
    found: dict[tuple[str, Subject], np.ndarray] = {}
    for name, values in _read(path, {}).items():
        measure, *subject = name.split("|")
        if len(subject) != len(Subject._fields):
            raise _damaged(path, f"{name!r} is not measure|embedder|attack|model")
        try:
            found[measure, Subject(*subject)] = np.array(values, dtype=np.float64).reshape(-1)
        except (ValueError, TypeError):
            raise _damaged(path, f"{name!r} holds no list of numbers") from None
    return found


def timings_of(run: Run) -> dict[str, float]:
    """Seconds on the clock by stage of the run (``choosing``, ``coding``, ``measuring``); empty without the file."""
    return {str(stage): float(seconds) for stage, seconds in _read(run.directory / "timings.json", {}).items()}


def _curve(path: Path, entry: Any) -> Curve:
    try:
        curve = Curve(entry["kind"], entry["embedder"], entry["attack"],
                      tuple(map(float, entry["x"])), tuple(map(float, entry["y"])))  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"a curve lacks or spoils {error}") from None
    edges = len(curve.y) + (curve.kind in ("genuine", "impostor"))
    if curve.kind not in KINDS or len(curve.x) != edges or not all(map(math.isfinite, curve.x + curve.y)):
        raise _damaged(path, f"a curve of kind {curve.kind!r} with {len(curve.x)} x and {len(curve.y)} y")
    return curve


def _read(path: Path, empty: Any) -> Any:
    """The JSON value of a file, of the type of ``empty``, which stands for a missing file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return empty
    except (OSError, ValueError) as error:
        raise _damaged(path, f"not JSON: {error}") from None
    if not isinstance(content, type(empty)):
        raise _damaged(path, f"not a JSON {'object' if isinstance(empty, dict) else 'list'}")
    return content


def _damaged(path: Path, what: str) -> ResultsError:
    return ResultsError(f"{path}: damaged ({what}); run the evaluation of this folder again")
