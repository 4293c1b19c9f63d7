"""A mirror of finished runs in Weights & Biases. The CSV and JSON files stay the source of truth.

Every job is a run of type ``evaluate`` in the group of its sweep, which has a run of type ``sweep`` for all of them.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from icm.evaluation.results import Run
from icm.report.comparisons import compare
from icm.report.equal_rate import privacy_measures
from icm.report.mirror import TABLE_FACES, finite, headline, job_pictures, metrics, sweep_pictures
from icm.report.points import Point, collect_points, measures_of, subject_title
from icm.report.tables import difference_table, table
from icm.report.wandb_session import record
from icm.wandb_mode import checkpoint_alias, checkpoint_artifact
from icm.wandb_mode import print_where as print_where

TAG = 64  # characters that W&B takes


def ready() -> None:
    """Nothing is missing: what W&B cannot do is a warning."""


def log_run(
    run: Run, config: dict, project: str = "icm", entity: str | None = None, group: str | None = None
) -> str | None:
    """Log a finished run: config, summary metrics, tables of images and faces with crops, figures, result files.

    Offline unless the user is logged in (an API key in WANDB_API_KEY or in the netrc file); WANDB_MODE overrides both.

    Args:
        run: A run whose directory may be written to.
        config: The resolved configuration as plain containers.
        project, entity: Where the run appears (entity None: the user's default).
        group: The sweep that the run is a job of, if any.

    Returns:
        The W&B run id, or None when W&B failed, which is a logged warning.
    """
    summary = run.summary

    def fill(mirror) -> None:
        (point,) = collect_points([run])
        mirror.summary.update(metrics(run))
        with _pictures(job_pictures(point)) as pictures:
            mirror.log({**_tables(point), **pictures})
        named = config.get("codec", {}).get("checkpoint")
        use_checkpoint(mirror, summary["parameters"].get("checkpoint_sha256"), Path(named) if named else None)
        mirror.log_artifact(_result_files(run, mirror.id))

    return record(
        run.directory,
        fill,
        commit=summary.get("git_commit"),
        project=project,
        entity=entity,
        group=group,
        job_type="evaluate",
        name=f"{summary['title']}, {summary['source']}",
        tags=_tags(summary["codec"], summary["source"], *summary["tasks"]),
        notes=f"{summary['label']} on {summary['source']}: {summary['images']} images; data {summary['data']}",
        config={**config, "checkpoint_sha256": summary["parameters"].get("checkpoint_sha256")},
    )


def log_sweep(runs: Sequence[Run], directory: Path, project: str = "icm", entity: str | None = None) -> str | None:
    """Log one run for a whole sweep: its answer, table, paired differences, figures, and report.html.

    Args:
        runs: Of the sweep, at least one.
        directory: The sweep's folder, which holds its report.
        project, entity: Where the run appears.

    Returns:
        As `log_run`.
    """
    points = collect_points(runs)
    answer = headline(points)

    def fill(mirror) -> None:
        import wandb

        mirror.summary.update({"answer": answer, "points": len(points), "jobs": len(runs)})
        with _pictures(sweep_pictures(points)) as pictures:
            mirror.log({"table": _long_table(runs), **_differences(points), **pictures})
        report = directory / "report.html"
        mirror.log({"report": wandb.Html(report.read_text(encoding="utf-8"), inject=False)})
        artifact = wandb.Artifact(f"sweep-{mirror.id}", "sweep", description=answer)
        for name in ("table.csv", "table.md", "report.html"):
            artifact.add_file(str(directory / name), policy="mutable")
        mirror.log_artifact(artifact)

    codecs = dict.fromkeys(run.summary["codec"] for run in runs)
    sources = dict.fromkeys(run.summary["source"] for run in runs)
    tasks = dict.fromkeys(task for run in runs for task in run.summary["tasks"])
    return record(
        directory,
        fill,
        commit=runs[0].summary.get("git_commit"),
        project=project,
        entity=entity,
        group=directory.name,
        job_type="sweep",
        name=f"{directory.name}: all {len(points)} points",
        tags=_tags(*codecs, *sources, *tasks),
        notes=answer,
        config={"jobs": [run.summary["label"] for run in runs]},
    )


def use_checkpoint(mirror: Any, sha256: str | None, path: Path | None) -> None:
    """Link the run to the training whose checkpoint it measured.

    Online, to the artifact that the training left, where there is one. Offline nobody can ask for it: the file itself
    is named as what the run uses, and its upload finds the same version, or makes it.

    Args:
        mirror: The open `wandb.Run`.
        sha256: Digest of the checkpoint; None: the codec has none.
        path: Its file, where the user named one.
    """
    if sha256 is None:
        return
    alias = checkpoint_alias(sha256)
    if mirror.offline:
        if path is not None and path.is_file():
            artifact = checkpoint_artifact(path, sha256, {})
            # What `use_artifact` does with a new artifact, which it refuses while offline.
            mirror._log_artifact(artifact, aliases=[alias], is_user_created=True, use_after_commit=True)
        return
    import wandb

    try:
        mirror.use_artifact(f"checkpoint:{alias}", type="model")
    except (wandb.errors.CommError, ValueError):  # trained elsewhere
        mirror.summary["checkpoint"] = f"checkpoint:{alias} is not in this project"


def _tags(*names: str) -> list[str]:
    return [name[:TAG] for name in dict.fromkeys(names) if name]


# Tables --------------------------------------------------------------------------------------------------------------


def _tables(point: Point) -> dict:
    tables = {"images": _image_table(point)}
    return {**tables, "faces": _face_table(point)} if point.face_keys() else tables


def _image_table(point: Point):
    """The rows of images.csv; what is infinite, the PSNR of a lossless picture, is empty."""
    import wandb

    rows = point.runs[0].images
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return wandb.Table(columns=columns, data=[[finite(row.get(name)) for name in columns] for row in rows])


def _face_table(point: Point):
    """A row per face: image, face, box, original and coded crop, and a column per measure of faces and recogniser."""
    import wandb

    scores = {
        f"{measure.title}, {subject_title([point], subject)}": point.scores(measure, subject)
        for measure, subjects in measures_of([point]).items()
        if measure.of == "faces"
        for subject in subjects
    }
    sizes = {(row["image"], row["face"]): (row["width"], row["height"]) for run in point.runs for row in run.faces}
    rows = wandb.Table(columns=["image", "face", "width", "height", "original", "coded", *scores])
    for key in point.face_keys()[:TABLE_FACES]:
        crops = [point.crop(kind, key) for kind in ("original", "coded")]
        pictures = [None if path is None else wandb.Image(str(path)) for path in crops]
        rows.add_data(*key, *sizes[key], *pictures, *(found.get(key) for found in scores.values()))
    return rows


def _long_table(runs: Sequence[Run]):
    import wandb

    rows = table(runs)
    return wandb.Table(columns=list(rows[0]), data=[[finite(value) for value in row.values()] for row in rows])


def _differences(points: Sequence[Point]) -> dict:
    """A table of paired differences for the headline measure."""
    import wandb

    comparisons = compare(points)
    for measure in privacy_measures(points):
        if any(comparison.of(measure) for comparison in comparisons):
            heading, rows = difference_table(points, comparisons, measure)
            return {f"differences/{measure.key}": wandb.Table(columns=heading, data=rows)}
    return {}


# Pictures and files --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _pictures(drawn: dict[str, bytes]) -> Iterator[dict]:
    """PNG files for W&B to take as they are, which it does while they are logged."""
    import wandb

    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for number, (name, picture) in enumerate(drawn.items()):
            path = Path(folder, f"{number}.png")
            path.write_bytes(picture)
            found[f"figures/{name}"] = wandb.Image(str(path))
        yield found


def _result_files(run: Run, identity: str):
    """The result files as an artifact: what the other tables here are made from."""
    import wandb

    checkpoint = run.summary["parameters"].get("checkpoint_sha256")
    artifact = wandb.Artifact(
        f"results-{identity}",
        "results",
        description=run.summary["title"],
        metadata={"cell": run.summary["cell"], "data": run.summary["data"], "checkpoint_sha256": checkpoint},
    )
    for path in sorted(run.directory.iterdir()):
        if path.is_file() and path.suffix in (".json", ".csv", ".yaml"):
            artifact.add_file(str(path), policy="immutable")
    return artifact
