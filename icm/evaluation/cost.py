"""What a job will take: what the last one of its codec took that found none of its work in the cache."""

import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone

from icm.evaluation.cache import Cache, content_key
from icm.evaluation.job import Job
from icm.threads import cores

_KIND = "throughput"


@dataclass(frozen=True)
class Cost:
    """The work of one job.

    Attributes:
        title: The codec's.
        pictures: How many its source has.
        seconds: Of one machine, all of its cores; None where no such job has been timed.
        measured: On what that figure rests.
    """

    title: str
    pictures: int
    seconds: float | None
    measured: str


@contextmanager
def timed(job: Job, cache: Cache) -> Iterator[None]:
    """Time a job, and remember it unless the cache had pictures of it: then its time says nothing."""
    begin, before = time.monotonic(), cache.added["bitstream"]
    yield
    coded = cache.added["bitstream"] - before
    pictures = len(job.source.images())
    # Pictures without a face are looked at, but not coded.
    if coded and cache.added["boxes"] + coded >= pictures:
        record = {
            "title": job.codec.title,
            "pictures": pictures,
            "seconds": time.monotonic() - begin,
            "machine": f"{platform.node()}, {cores()} cores",
            "day": datetime.now(timezone.utc).date().isoformat(),
        }
        cache.put(_KIND, _key(job), json.dumps(record).encode())


def cost(job: Job, cache: Cache) -> Cost:
    """What a job will take, at most: nothing is known of what the cache has of it."""
    pictures = len(job.source.images())
    stored = cache.get(_KIND, _key(job))
    if stored is None:
        return Cost(job.codec.title, pictures, None, f"no job of codec={job.codec.name} with these tasks was timed yet")
    found = json.loads(stored)
    pace = found["seconds"] / found["pictures"]
    measured = f"{found['title']}, {found['pictures']} pictures on {found['machine']}, {found['day']}"
    return Cost(job.codec.title, pictures, pace * pictures, f"{pace:.2g} s a picture ({measured})")


def _key(job: Job) -> str:
    # All points of a codec together; what is done with its pictures counts too.
    tasks = [[task.name, [part.name for part in task.parts]] for task in job.tasks]
    return content_key(codec=job.codec.name, tasks=tasks)
