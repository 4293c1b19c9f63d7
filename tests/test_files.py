import hashlib
import os

import pytest

from icm.files import WriteError, atomic_write, file_sha256, remove_abandoned


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


def test_files_are_as_readable_as_ordinary_ones(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_bytes(b"")
    assert atomic_write(tmp_path / "atomic", b"").stat().st_mode == ordinary.stat().st_mode


def test_file_sha256(tmp_path):
    data = os.urandom(3_000_000)
    assert file_sha256(atomic_write(tmp_path / "x", data)) == hashlib.sha256(data).hexdigest()


def test_what_killed_writers_left_goes_after_a_day_and_nothing_else_does(tmp_path):
    names = [".a.json.k2j3h4g5.tmp", "deep/.b.k2j3h4g5.tmp", ".weights.pth.part", "notes.tmp", "a.json"]
    for name in [*names, ".young.k2j3h4g5.tmp"]:
        path = atomic_write(tmp_path / name, b"x")
        if "young" not in name:
            os.utime(path, (0, 0))
    remove_abandoned(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {".young.k2j3h4g5.tmp", *names[2:]}
