"""Many pictures through one job: memory does not grow with their number."""

import time
from pathlib import Path

import pytest

from icm.images import write_png
from tests.conftest import natural_image
from tests.soak import commands
from tests.soak.conftest import LONG

pytestmark = pytest.mark.skipif(not LONG, reason="takes long: make soak")


def test_ten_thousand_pictures(amount, note, tmp_path):
    count = amount(500, 10_000)
    tiles = [natural_image(96, 96, seed) for seed in range(20)]
    for number in range(count):  # no two are alike: a copy would be taken from the cache
        tile = tiles[number % 20].copy()
        tile[0, 0], tile[0, 1] = (number % 256, number // 256, 0), 0
        write_png(tmp_path / "pictures" / f"{number}.png", tile)
    what = ["codec=jpeg", "task=quality", "task.quality.lpips=false", "faces=folder", f"faces.path={tmp_path}/pictures"]
    arguments = ["evaluate.py", *what, "logger=csv", "hydra.run.dir=results"]
    process = commands.start(arguments, tmp_path, {"ICM_CACHE": str(tmp_path / "cache")}, tmp_path / "output.txt")
    coded, at = tmp_path / "cache" / "bitstream", {}
    while process.exitcode is None:
        done = sum(1 for _ in coded.glob("*/*"))
        at[done * 10 // count * count // 10] = _megabytes(process.pid) or at.get(done, 0)
        time.sleep(2)
        process.join(0)
    assert process.exitcode == 0, (tmp_path / "output.txt").read_text()[-2000:]
    note(pictures=count, megabytes_when_so_many_were_coded=at, peak=max(at.values()))
    middle, end = at[min(at, key=lambda done: abs(done - count // 5))], max(list(at.values())[-3:])
    assert end - middle < 200


def _megabytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(lines[0].split()[1]) // 1024 if lines else 0
