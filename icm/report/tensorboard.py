"""A mirror of finished runs in TensorBoard: its files lie in the folder ``tensorboard`` of every run and sweep."""

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icm.evaluation.results import Run
from icm.report.mirror import TABLE_FACES, headline, job_pictures, metric_name, metrics, sweep_pictures
from icm.report.points import Point, collect_points, series_of
from icm.report.tables import to_markdown
from icm.tensorboard_files import without_tensorflow

FOLDER = "tensorboard"
# Steps are whole numbers: a rate is written in thousandths of a bit per pixel.
STEPS_A_BIT = 1000


def ready() -> None:
    """It needs no account and nothing that is not installed."""


def log_run(run: Run, config: dict, group: str | None = None) -> None:
    """Write a finished run: its numbers, table, figures, and crops of faces, the original beside the coded.

    Args:
        run: A run whose directory may be written to.
        config: Not written: config.yaml has it.
        group: The sweep that the run is a job of; its curves are in the sweep's own files.
    """
    (point,) = collect_points([run])
    writer = _writer(run.directory / FOLDER)
    found = metrics(run)
    for name, value in found.items():
        if isinstance(value, int | float):
            writer.add_scalar(name, value)
    writer.add_text("run", _listed({name: value for name, value in found.items() if isinstance(value, str)}))
    writer.add_text("table", to_markdown([point]))
    _add_figures(writer, job_pictures(point))
    for image, face in point.face_keys()[:TABLE_FACES]:
        crops = [point.crop(kind, (image, face)) for kind in ("original", "coded")]
        if None not in crops:
            writer.add_image(f"faces/{image}/{face}", _side_by_side(crops), dataformats="HWC")
    writer.close()


def log_sweep(runs: Sequence[Run], directory: Path) -> None:
    """Write what a sweep found: answer, table and figures, and every codec's measures as curves over its rate."""
    points = collect_points(runs)
    shutil.rmtree(directory / FOLDER, ignore_errors=True)
    writer = _writer(directory / FOLDER)
    if answer := headline(points):
        writer.add_text("answer", answer)
    writer.add_text("table", to_markdown(points))
    _add_figures(writer, sweep_pictures(points))
    writer.close()
    for number, (series, members) in enumerate(series_of(points).items()):
        _log_curve(directory / FOLDER / f"{number}_{_file_name(series)}", members)


def print_where(directory: Path) -> None:
    """Say how the files are looked at."""
    print(f"TensorBoard: tensorboard --logdir {directory}")


def _log_curve(folder: Path, members: Sequence[Point]) -> None:
    writer = _writer(folder)
    for point in members:
        step = round(point.bpp * STEPS_A_BIT)
        for (measure, subject), estimate in point.estimates.items():
            if estimate.value is not None:
                writer.add_scalar(f"by_rate/{metric_name(measure, *subject)}", estimate.value, step)
    writer.close()


def _writer(folder: Path) -> Any:
    without_tensorflow()
    from torch.utils.tensorboard import SummaryWriter

    for earlier in folder.glob("events.*"):
        earlier.unlink()
    return SummaryWriter(str(folder))


def _file_name(text: str) -> str:
    return "".join(character if character.isalnum() or character in "-." else "_" for character in text)


def _listed(texts: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {text}" for name, text in texts.items())


def _add_figures(writer: Any, drawn: dict[str, bytes]) -> None:
    for name, picture in drawn.items():
        writer.add_image(f"figures/{name}", _pixels(io.BytesIO(picture)), dataformats="HWC")


def _side_by_side(crops: Sequence[Any]) -> np.ndarray:
    return np.concatenate([_pixels(path) for path in crops], axis=1)


def _pixels(file: Any) -> np.ndarray:
    from PIL import Image

    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))
