"""One part of a list of images, for work that is split over jobs: ``shard=INDEX/COUNT``."""

import os

from icm.errors import UserError


def parse_shard(text: object) -> tuple[int, int]:
    """(index, count) of "index/count" with 0 <= index < count; part i has the images i, i + count, i + 2 count, ...

    Raises:
        UserError: Anything else.
    """
    index, _, count = str(text).partition("/")
    if index.isdecimal() and count.isdecimal() and int(index) < int(count):
        return int(index), int(count)
    raise UserError(f"shard={text}: use INDEX/COUNT with INDEX below COUNT, such as 0/8 for the first of eight parts")


def find_shard(text: object) -> tuple[int, int]:
    """The part that ``text`` names (`parse_shard`); None: that of this task of a SLURM array (`array_shard`)."""
    return array_shard() if text is None else parse_shard(text)


def array_shard() -> tuple[int, int]:
    """The part that falls to this task of a SLURM array (``sbatch --array=0-7``); all images outside of an array.

    Raises:
        UserError: The array does not count from 0 without gaps, so nobody can tell which part is meant.
    """
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    if task is None:
        return 0, 1
    first, last, count = (int(os.environ[f"SLURM_ARRAY_TASK_{name}"]) for name in ("MIN", "MAX", "COUNT"))
    if first != 0 or last + 1 != count:
        raise UserError(
            f"a SLURM array of {count} tasks from {first} to {last}: part {task} of how many? "
            "Use --array=0-7 for eight parts, or say shard=$SLURM_ARRAY_TASK_ID/8"
        )
    return int(task), count
