"""Pictures of figures in the cache: drawing one takes a second, most of it matplotlib's import."""

from collections.abc import Callable, Sequence
from importlib.metadata import version

from icm import provenance
from icm.evaluation.cache import content_key, shared_cache
from icm.evaluation.results import Run
from icm.files import file_sha256
from icm.report.points import Point
from icm.sweeps import FINISHED


def kept(what: str, points: Sequence[Point], draw: Callable[[], bytes]) -> bytes:
    """What ``draw`` makes of ``points``, from the cache where the same runs have been drawn by the same code.

    Args:
        what: Tells it from everything else that is drawn of the same points.
        points: Of runs whose folders hold their result files.
        draw: Draws it.
    """
    cache = shared_cache()
    key = content_key(
        what=what,
        runs=[[run.summary, _files(run)] for point in points for run in point.runs],
        code=provenance.code_digest(),
        matplotlib=version("matplotlib"),
    )
    picture = cache.get("drawing", key)
    if picture is None:
        picture = draw()
        cache.put("drawing", key, picture)
    return picture


def _files(run: Run) -> list[str]:
    """Digests of the tables and curves of a run, and which crops there are."""
    paths = sorted(path for pattern in ("*.json", "*.csv") for path in run.directory.glob(pattern))
    found = [f"{path.name} {file_sha256(path)}" for path in paths if path.name not in ("summary.json", FINISHED)]
    return found + sorted(path.name for path in run.directory.glob("crops/coded/*"))
