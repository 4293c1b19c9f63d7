"""A mirror of one finished run in Weights & Biases. The CSV and JSON files stay the source of truth."""

import contextlib
import hashlib
import io
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from icm.evaluation.results import Run
from icm.report import figures
from icm.report.points import Point, collect_points, measures_of, subject_title
from icm.wandb_mode import default_mode

log = logging.getLogger(__name__)

# Crops are uploaded one by one: enough rows to look at, not a copy of a whole data set.
TABLE_FACES = 200
CONNECT_SECONDS = 30


def log_run(
    run: Run, config: dict, project: str = "icm", entity: str | None = None, group: str | None = None
) -> str | None:
    """Log a finished run: config, summary metrics, the per-face table with crops, and figures.

    Offline unless the user is logged in (an API key in WANDB_API_KEY or in the netrc file); WANDB_MODE overrides both.
    Everything that W&B writes goes to ``run.directory/wandb``. The id follows from the run directory, and an earlier
    offline copy of the same id is replaced, so that a rerun shows as one W&B run.

    Args:
        run: a run whose directory may be written to.
        config: the resolved configuration as plain containers.
        project, entity: where the run appears (entity None: the user's default).
        group: the sweep that the run is a job of, if any.

    Returns:
        The W&B run id, or None when W&B failed: that is a logged warning with the reason, since the results are on
        disk already.
    """
    try:
        with _data_kept_in(run.directory):
            return _log_run(run, config, project, entity, group)
    except Exception as error:  # whatever W&B raises must not cost a finished measurement
        log.warning("Weights & Biases did not record %s: %s", run.directory, _without_key(error))
        return None


@contextlib.contextmanager
def _data_kept_in(directory: Path) -> Iterator[None]:
    """Stage the pictures of tables below the run directory rather than in the user's home, unless told where."""
    if "WANDB_DATA_DIR" in os.environ:
        yield
        return
    os.environ["WANDB_DATA_DIR"] = str((directory / "wandb" / "data").resolve())
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]


def run_id(directory: Path | str) -> str:
    """A stable id of 16 hexadecimal digits for a run directory."""
    return hashlib.sha256(str(Path(directory).resolve()).encode()).hexdigest()[:16]


def _without_key(error: Exception) -> str:
    text = " ".join(str(error).split()) or error.__class__.__name__
    key = os.environ.get("WANDB_API_KEY")
    return text.replace(key, "<key>") if key else text


def _log_run(run: Run, config: dict, project: str, entity: str | None, group: str | None) -> str:
    mode = default_mode()
    identity = run_id(run.directory)
    # wandb creates this folder only where it may write, and says so on the console when it is absent.
    folder = run.directory / "wandb"
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in (*folder.glob(f"offline-run-*-{identity}"), *folder.glob("data")):
        shutil.rmtree(earlier)

    import wandb

    settings = wandb.Settings(
        silent=True,
        console="off",
        init_timeout=CONNECT_SECONDS,
        x_disable_stats=True,
        disable_git=True,
        disable_code=True,
        disable_job_creation=True,
    )

    def begin(mode: str):
        return wandb.init(
            project=project, entity=entity, group=group, name=run.summary["title"], id=identity,
            dir=str(run.directory), mode=mode, config=config, settings=settings,
            resume="allow" if mode == "online" else None, reinit="finish_previous",
        )  # fmt: skip

    try:
        mirror = begin(mode)
    except Exception as error:  # no network, a refused key
        if mode != "online":
            raise
        log.warning("%s; recorded offline, upload it with: wandb sync %s", _without_key(error), folder)
        # Nor will the other jobs of this command wait for it.
        os.environ["WANDB_MODE"] = "offline"
        mirror = begin("offline")
    exit_code = 1
    try:
        point = collect_points([run])[0]
        mirror.summary.update(_metrics(run))
        tables = {"faces": _face_table(point)} if point.face_keys() else {}
        mirror.log({**tables, **_figures(point)})
        exit_code = 0
    finally:
        mirror.finish(exit_code=exit_code)
    return identity


def _metrics(run: Run) -> dict:
    """Summary numbers with flat names: ``bpp``, ``cosine_similarity/dlib``, ``cosine_similarity/dlib/low``."""
    summary = run.summary
    names = ("codec", "title", "series", "label", "images", "faces", "bpp", "bpp_total", "bpp_pooled", "data")
    metrics = {name: summary.get(name) for name in names}
    metrics |= {f"point/{name}": value for name, value in summary["point"].items()}
    metrics["skipped"] = len(summary["skipped"])
    for (measure, subject), estimate in run.estimates.items():
        name = "/".join([measure, *(part for part in subject if part not in ("", "none"))])
        metrics |= {name: estimate.value, f"{name}/low": estimate.low, f"{name}/high": estimate.high}
    return {name: value for name, value in metrics.items() if value is not None}


def _face_table(point: Point):
    """A row per face: image, face, original and coded crop, and a column per measure of faces and recogniser."""
    import wandb

    scores = {
        f"{measure.title}, {subject_title([point], subject)}": point.scores(measure, subject)
        for measure, subjects in measures_of([point]).items()
        if measure.of == "faces"
        for subject in subjects
    }
    table = wandb.Table(columns=["image", "face", "original", "coded", *scores])
    for key in point.face_keys()[:TABLE_FACES]:
        crops = [point.crop(kind, key) for kind in ("original", "coded")]
        pictures = [None if path is None else wandb.Image(str(path)) for path in crops]
        table.add_data(*key, *pictures, *(found.get(key) for found in scores.values()))
    return table


def _figures(point: Point) -> dict:
    import wandb
    from PIL import Image

    drawn = {
        f"spread/{measure.key}": figures.spread_figure(point, measure)
        for measure in measures_of([point])
        if measure.of == "faces"
    }
    if point.face_keys():
        drawn["strip"] = figures.strip_figure([point], point.face_keys()[:4])
    pictures = {}
    for name, figure in drawn.items():
        pictures[f"figures/{name}"] = wandb.Image(Image.open(io.BytesIO(figures.png_bytes(figure))))
    return pictures
