"""Commands that are killed, starved of disk or robbed of their files: run again, they give what others give.

Real commands on small inputs. Only in `make soak`: the tests of each command have the quick versions.
"""

import gzip
import os
import random
import re
import shutil
import signal
import subprocess
import time
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from icm.images import write_png
from tests.conftest import natural_image
from tests.soak import commands
from tests.soak.conftest import LONG

pytestmark = pytest.mark.skipif(not LONG, reason="takes long: make soak")

PATIENCE = 900
TRACEBACK = "Traceback (most recent call last)"


def printed(folder: Path, name: str) -> Path:
    """The file of what a command in ``folder`` printed: beside it, but on no disk that is to fill up."""
    place = folder.parent.parent if folder.parent.name == "disk" else folder.parent
    return place / f"{folder.name}-{name}.txt"


@dataclass(frozen=True)
class Command:
    """A command on a working folder of its own.

    Attributes:
        arguments: The command line.
        results: The folder below the working folder whose files are compared.
        varying: What differs between any two runs: file names, and beginnings of lines.
        done: A file below ``results`` that says that nothing is left to do, where the command then refuses to run.
    """

    arguments: tuple[str, ...]
    results: str
    varying: tuple[str, ...] = ()
    done: str | None = None

    def start(self, folder: Path, name: str = "output", **environment: str):
        folder.mkdir(parents=True, exist_ok=True)
        variables = {"ICM_CACHE": str(folder / "cache"), **environment}
        return commands.start(self.arguments, folder, variables, printed(folder, name))

    def run(self, folder: Path, name: str = "output", **environment: str) -> int:
        """Run to the end; the exit status. A traceback is an error here."""
        process = self.start(folder, name, **environment)
        process.join(PATIENCE)
        assert process.exitcode is not None, "it hangs"
        self.check(folder, name)
        return process.exitcode

    def check(self, folder: Path, name: str = "output") -> None:
        output = printed(folder, name)
        text = output.read_text() if output.exists() else ""
        assert TRACEBACK not in text, text[-3000:]

    def found(self, folder: Path) -> dict[str, bytes]:
        """What it wrote, by path."""
        root = folder / self.results
        paths = [path for path in root.rglob("*") if path.is_file() and path.name not in self.varying]
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(paths)}

    def is_done(self, folder: Path) -> bool:
        """Whether it would refuse to run again."""
        return self.done is not None and (folder / self.results / self.done).is_file()

    def finish(self, folder: Path, name: str = "last", **environment: str) -> None:
        """Run it until it is through."""
        if not self.is_done(folder):
            assert self.run(folder, name, **environment) == 0, printed(folder, name).read_text()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Three small pictures with faces and three without."""
    import cv2

    from icm.faces.sources import DemoFaces

    folder = tmp_path_factory.mktemp("pictures")
    for number, scene in enumerate(DemoFaces().images()[:3]):
        image = scene.load()
        write_png(folder / f"{number}.png", cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(10):
        write_png(folder / f"{number}.png", natural_image(48 + 8 * (number % 3), 64, number))
    (folder.parent / "weights.pth").write_bytes(b"stand-in")
    return folder


@pytest.fixture(scope="session")
def coco(tmp_path_factory) -> Path:
    from datamodules.demo_coco import make_demo

    return make_demo(tmp_path_factory.mktemp("data") / "coco", {"train2017": 8, "val2017": 2})


@pytest.fixture(params=["sweep", "masks", "training"])
def command(request, pictures, photos, coco) -> Command:
    if request.param == "sweep":
        what = ["codec=point", "codec.at=jpeg:20,vvc:40:faster,none,sa_icm:edge:low", "faces=folder"]
        what += [f"faces.path={pictures}", "detector=opencv", "logger=csv", "hydra.sweep.dir=results", "workers=2"]
        # finished.json holds digests of the others, timings.json included.
        varying = ("timings.json", "finished.json", "report.html", "config.yaml", "multirun.yaml")
        return Command(("evaluate.py", "-m", *what), "results", varying)
    if request.param == "masks":
        what = [f"masks.checkpoint={photos.parent / 'weights.pth'}", "masks.points_per_side=4", "masks.stability=0"]
        what += [f"data.path={photos}", "masks=sam", "masks.alpha=0.5", "masks.path=results", "device=cpu", "preview=2"]
        return Command(("icm", "masks", *what), "results")
    what = ["data=coco", f"data.path={coco}", "data.workers=0", "data.crop=64", "data.val_crop=64", "data.batch_size=2"]
    what += ["network.N=8", "network.M=12", "trainer.accelerator=cpu", "logger=csv", "trainer.max_epochs=3"]
    what += ["trainer.log_every_n_steps=1", "checkpoints.every_n_steps=1", "hydra.run.dir=results"]
    return Command(
        ("train.py", *what), "results", ("run.json", "config.yaml", "last.ckpt", "best.ckpt"), "summary.json"
    )


@pytest.fixture
def reference(command, tmp_path) -> tuple[dict[str, bytes], float]:
    """What an undisturbed run gives, and its seconds. A first one warms up whatever is shared."""
    command.run(tmp_path / "warm")
    began = time.monotonic()
    assert command.run(tmp_path / "reference") == 0
    return canonical(command.found(tmp_path / "reference")), time.monotonic() - began


def canonical(found: dict[str, bytes]) -> dict[str, bytes]:
    """Files without what tells of the hour alone: the state of the checkout, seconds and speeds of a training.

    Of gzip files what they hold: their header has bytes, such as the time, that nobody reads.
    """
    found = {name: unzipped(content) if name.endswith(".gz") else content for name, content in found.items()}
    found = {name: re.sub(rb'"git_commit": .*', b"", content) for name, content in found.items()}
    if "metrics.csv" in found:
        rows = [line.split(",") for line in found["metrics.csv"].decode().splitlines()]
        drop = rows[0].index("images_per_second") if "images_per_second" in rows[0] else None
        drop = next((i for i, name in enumerate(rows[0]) if "images_per_second" in name), drop)
        found["metrics.csv"] = "\n".join(",".join(c for i, c in enumerate(row) if i != drop) for row in rows).encode()
    if "summary.json" in found:
        found["summary.json"] = re.sub(rb'"(seconds|images_per_second|resumed_step)": .*', b"", found["summary.json"])
    return found


def unzipped(content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return content


def weights(folder: Path) -> dict:
    """All that a training has come to."""
    import torch

    content = torch.load(folder / "results" / "last.ckpt", weights_only=True)
    states = content["optimizer_states"][0]["state"]
    return content["state_dict"] | {f"{k} {n}": torch.as_tensor(v) for k, s in states.items() for n, v in s.items()}


def same(command: Command, folder: Path, expected: dict[str, bytes], reference_folder: Path) -> None:
    got = canonical(command.found(folder))
    assert sorted(got) == sorted(expected)
    assert [name for name in expected if got[name] != expected[name]] == []
    if command.done:
        import torch

        ours, theirs = weights(folder), weights(reference_folder)
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def age(folder: Path) -> None:
    """Make everything two days older."""
    then = time.time() - 2 * 24 * 3600
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def left_over(folder: Path) -> list[str]:
    """Unfinished files of writers that were killed."""
    return [str(path) for path in folder.rglob(".*") if path.suffix in (".tmp", ".part") or ".shard-" in path.name]


def test_kills_at_random_moments(command, reference, amount, note, tmp_path):
    expected, seconds = reference
    rng, kills, rounds, tally = random.Random(1), 0, 0, Counter()
    while kills < amount(2, 200):
        folder = tmp_path / f"round{rounds}"
        for _ in range(6):
            if command.is_done(folder):
                break
            process = command.start(folder)
            process.join(rng.uniform(0, 1.2 * seconds))
            if process.exitcode is not None:
                tally["ended before its moment"] += 1
                assert process.exitcode == 0
                break
            process.kill()
            process.join()
            command.check(folder)
            kills += 1
        command.finish(folder)
        same(command, folder, expected, tmp_path / "reference")
        tally["left over"] += len(left_over(folder))
        if left_over(folder):
            age(folder)
            if command.done:
                shutil.rmtree(folder / "results")
            command.run(folder)
            assert left_over(folder) == []
        shutil.rmtree(folder)
        rounds += 1
        note(kills=kills, rounds=rounds, seconds_undisturbed=round(seconds, 1), **tally)


def test_sigterm_at_random_moments(command, reference, amount, note, tmp_path):
    """As clusters end a job: it ends by itself, soon, with status 143 and no traceback."""
    expected, seconds = reference
    rng, signals, rounds, slowest, statuses = random.Random(2), 0, 0, 0.0, Counter()
    while signals < amount(2, 50):
        folder = tmp_path / f"round{rounds}"
        for _ in range(4):
            if command.is_done(folder):
                break
            process = command.start(folder)
            process.join(rng.uniform(0, 1.2 * seconds))
            if process.exitcode is not None:
                assert process.exitcode == 0
                break
            began = time.monotonic()
            process.terminate()
            process.join(30)
            assert process.exitcode in (143, -signal.SIGTERM, 0), process.exitcode
            statuses[process.exitcode] += 1
            slowest = max(slowest, time.monotonic() - began)
            command.check(folder)
            signals += 1
        command.finish(folder)
        same(command, folder, expected, tmp_path / "reference")
        assert left_over(folder) == []
        shutil.rmtree(folder)
        rounds += 1
        note(signals=signals, rounds=rounds, slowest_end=round(slowest, 1), statuses=statuses)


@pytest.fixture
def disk(tmp_path):
    """The function ``disk(bytes)``: a folder on a disk of that size; called again, the size changes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def mount(size: int, *options: str) -> Path:
        nonlocal mounted
        how = ",".join([*(["remount"] if mounted else []), f"size={max(size // 1024, 4)}k", *options])
        if subprocess.run(["mount", "-t", "tmpfs", "-o", how, "icm-soak", folder], check=False).returncode:
            pytest.skip("this machine lets nobody mount a small disk")
        mounted = True
        return folder

    yield mount
    subprocess.run(["umount", "-l", folder], check=False)


def test_a_disk_that_fills_up_at_every_point(command, reference, disk, amount, note, tmp_path):
    expected, _ = reference
    whole = sum(path.stat().st_size for path in (tmp_path / "reference").rglob("*") if path.is_file())
    count, statuses = amount(2, 40), Counter()
    for number in range(count):
        place = disk(whole * (number + 1) // count)
        folder = place / "run"
        statuses[command.run(folder)] += 1
        assert left_over(folder) == []
        disk(64 * whole)
        command.finish(folder)
        same(command, folder, expected, tmp_path / "reference")
        shutil.rmtree(folder)
        note(disks=number + 1, statuses=statuses, bytes_of_an_undisturbed_run=whole)
    assert set(statuses) <= {0, 1}


def test_a_disk_that_becomes_read_only(command, reference, disk, amount, note, tmp_path):
    expected, seconds = reference
    rng, statuses = random.Random(3), Counter()
    for number in range(amount(1, 12)):
        folder = disk(1 << 28, "rw") / "run"
        process = command.start(folder)
        process.join(rng.uniform(0, seconds) if number else 0)
        while process.exitcode is None:
            try:
                disk(1 << 28, "ro")
                break
            except pytest.skip.Exception:  # busy: a file is open for writing
                time.sleep(0.01)
        process.join(PATIENCE)
        statuses[process.exitcode] += 1
        command.check(folder)
        disk(1 << 28, "rw")
        command.finish(folder)
        same(command, folder, expected, tmp_path / "reference")
        shutil.rmtree(folder)
        note(times=number + 1, statuses=statuses)
    assert set(statuses) <= {0, 1}


@pytest.mark.parametrize("what", ["results", "cache"])
def test_a_folder_that_vanishes(command, reference, amount, note, tmp_path, what):
    expected, seconds = reference
    rng, statuses = random.Random(4), Counter()
    for number in range(amount(1, 15)):
        folder = tmp_path / "run"
        process = command.start(folder)
        process.join(rng.uniform(0.2, 1) * seconds)
        shutil.rmtree(folder / what, ignore_errors=True)
        process.join(PATIENCE)
        statuses[process.exitcode] += 1
        command.check(folder)
        shutil.rmtree(folder / what, ignore_errors=True)
        command.finish(folder)
        same(command, folder, expected, tmp_path / "reference")
        shutil.rmtree(folder)
        note(times=number + 1, statuses=statuses)
    assert set(statuses) <= {0, 1}


def test_two_at_once(command, reference, amount, note, tmp_path):
    """The same work on one cache; masks also on one store."""
    if command.done:
        pytest.skip("one folder is one training; a cache is not used")
    expected, _ = reference
    for number in range(amount(1, 15)):
        folders = [tmp_path / "run" / name for name in ("a", "b")]
        cache = {"ICM_CACHE": str(tmp_path / "run" / "cache")}
        if command.results == "results" and command.arguments[0] == "icm":
            (tmp_path / "run" / "store").mkdir(parents=True)
            for folder in folders:
                folder.mkdir()
                (folder / "results").symlink_to(tmp_path / "run" / "store")
        both = [command.start(folder, **cache) for folder in folders]
        for process, folder in zip(both, folders, strict=True):
            process.join(PATIENCE)
            command.check(folder)
            assert process.exitcode == 0
        for folder in folders:
            same(command, folder, expected, tmp_path / "reference")
        shutil.rmtree(tmp_path / "run")
        note(pairs=number + 1)


def test_flipped_bits_in_the_cache(command, reference, amount, note, tmp_path):
    """Every file of the cache or the store in turn: found on reading, and made again."""
    if command.done:
        pytest.skip("a training keeps nothing in the cache here")
    expected, _ = reference
    folder, rng, flips = tmp_path / "run", random.Random(5), 0
    command.finish(folder)
    place = folder / ("results" if command.arguments[0] == "icm" else "cache")
    files = [path for path in sorted(place.rglob("*")) if path.is_file() and path.suffix not in (".png", ".json")]
    # What goes by the digests of a job's files, its timings among them, is another file when the job runs again.
    files = [path for path in files if path.relative_to(place).parts[0] not in ("run", "drawing")]
    while flips < amount(4, 200):
        sound = {path: path.read_bytes() for path in rng.sample(files, min(5, len(files)))}
        for path, content in sound.items():
            damaged = bytearray(content)
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            flips += 1
        if command.arguments[0] != "icm":
            shutil.rmtree(folder / "results")
        assert command.run(folder) == 0
        same(command, folder, expected, tmp_path / "reference")
        assert [str(path) for path, content in sound.items() if unzipped(path.read_bytes()) != unzipped(content)] == []
        note(flips=flips, files=len(files))


def test_flipped_bits_in_earlier_results(command, reference, amount, note, tmp_path):
    """Every file that a finished job left: its job is measured again, the others are taken up."""
    if command.arguments[0] != "evaluate.py":
        pytest.skip("only the jobs of a sweep are taken up by their results")
    expected, _ = reference
    folder, rng, flips = tmp_path / "run", random.Random(6), 0
    command.finish(folder)
    files = [path for path in sorted(folder.glob("results/[0-9]*/*")) if path.suffix in (".csv", ".json")]
    while flips < amount(2, 100):
        for path in rng.sample(files, 2):
            damaged = bytearray(path.read_bytes())
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            flips += 1
        command.finish(folder)
        same(command, folder, expected, tmp_path / "reference")
        note(flips=flips, files=len(files))
