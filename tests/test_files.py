import errno
import hashlib
import os
import re
import time

import pytest

from icm.files import WriteError, atomic_write, file_sha256, read_current, remove_abandoned
from tests.conftest import ROOT


def test_writes_bytes_and_text_and_makes_folders(tmp_path):
    path = atomic_write(tmp_path / "a" / "b.txt", "naïve\n")
    assert path.read_bytes() == "naïve\n".encode()
    atomic_write(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert os.listdir(path.parent) == ["b.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = atomic_write(tmp_path / "file", b"old")

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(WriteError, match=r"file: cannot be written \(disk full\); free some space"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_what_a_network_disk_says_no_earlier_than_at_closing_leaves_the_old_file(tmp_path, monkeypatch):
    path = atomic_write(tmp_path / "file", b"old")

    def full(handle):
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, "close", full)
    with pytest.raises(WriteError, match="disk full"):
        atomic_write(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_replaced_by_another_machine_is_read_again(tmp_path, monkeypatch):
    path = atomic_write(tmp_path / "file", b"new")
    read, failures = type(path).read_bytes, [errno.ESTALE]

    def stale(self):
        if failures:
            raise OSError(failures.pop(), "stale file handle")
        return read(self)

    monkeypatch.setattr(type(path), "read_bytes", stale)
    assert read_current(path) == b"new"
    failures.append(errno.EACCES)
    with pytest.raises(PermissionError):
        read_current(path)


def test_files_are_as_readable_as_ordinary_ones(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_bytes(b"")
    assert atomic_write(tmp_path / "atomic", b"").stat().st_mode == ordinary.stat().st_mode


def test_file_sha256(tmp_path):
    data = os.urandom(3_000_000)
    assert file_sha256(atomic_write(tmp_path / "x", data)) == hashlib.sha256(data).hexdigest()


def test_what_killed_writers_left_goes_after_a_day_and_nothing_else_does(tmp_path):
    gone = [".a.json.k2j3h4g5.tmp", "deep/.b.k2j3h4g5.tmp", ".a_clock_set_back.json.k2j3h4g5.tmp"]
    kept = [".weights.pth.part", "notes.tmp", ".of_another_program.tmp", "a.json", ".young.k2j3h4g5.tmp"]
    for name in [*gone, *kept]:
        path = atomic_write(tmp_path / name, b"x")
        if "young" not in name:
            date = time.time() + 2 * 24 * 3600 if "clock" in name else 0
            os.utime(path, (date, date))
    remove_abandoned(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(kept)


@pytest.mark.parametrize("jump", [-400 * 24 * 3600, 400 * 24 * 3600])
def test_a_file_that_is_being_written_stays_whatever_the_clock_says(tmp_path, monkeypatch, jump):
    """Another command, whose clock has jumped, looks for abandoned files just before the writer's gets its name."""
    replace, now, seen = os.replace, time.time(), []

    def clean_first(source, target):
        monkeypatch.setattr(time, "time", lambda: now + jump)
        remove_abandoned(tmp_path)
        seen.append(os.path.exists(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", clean_first)
    assert atomic_write(tmp_path / "result", b"x").read_bytes() == b"x"
    assert seen == [True]


def test_nothing_is_timed_by_a_clock_that_may_jump():
    """Durations are measured with time.monotonic or time.perf_counter; the date tells only how old a file is."""
    files = [*ROOT.glob("*.py"), *(p for d in ("icm", "models", "datamodules", "benchmarks", "hydra_plugins")
                                   for p in (ROOT / d).rglob("*.py"))]  # fmt: skip
    assert len(files) > 100
    clock = re.compile(r"\btime\.time(_ns)?\b|from time import [^\n]*\btime\b|\butcnow\b|\btime\.clock\b")
    found = {path.relative_to(ROOT).as_posix() for path in files if clock.search(path.read_text(encoding="utf-8"))}
    assert found == {"icm/files.py"}
