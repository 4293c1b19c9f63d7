"""When a later command takes up a finished job, and when it does not."""

import json
import os
import re

import pytest

from icm import provenance
from icm.codecs.plain import NoCodec
from icm.evaluation.cache import Cache
from icm.evaluation.finished import all_parts, find_earlier, is_finished, mark, remember, reuse, run_key, write_mark
from icm.evaluation.job import Job
from icm.evaluation.pictures import PictureTask
from icm.faces.sources import FolderFaces, Shard
from icm.files import file_sha256
from icm.images import write_png
from icm.sweeps import EARLIER, FINISHED


@pytest.fixture
def photos(tmp_path, picture):
    for person in ("ann", "bob", "cid"):
        write_png(tmp_path / "photos" / person / "1.png", picture)
    return tmp_path / "photos"


def job(photos, labels=None, shard=None) -> Job:
    source = FolderFaces(photos, labels)
    return Job(NoCodec(), Shard(source, *shard) if shard else source, [])


@pytest.mark.parametrize("labels", [None, "folders"])
def test_a_picture_that_changes_comes_or_goes_is_another_job(photos, labels, picture):
    first = mark(job(photos, labels))
    assert mark(job(photos, labels)) == first
    file = photos / "ann" / "1.png"
    os.utime(file, ns=(1, 1))
    touched = mark(job(photos, labels))
    write_png(photos / "ann" / "2.png", picture)
    more = mark(job(photos, labels))
    file.unlink()
    fewer = mark(job(photos, labels))
    found = [first, touched, more, fewer]
    assert len({entry["pictures"] for entry in found}) == 4
    assert len({entry["cell"] for entry in found}) == 1


def test_labels_count(photos):
    assert mark(job(photos))["pictures"] != mark(job(photos, "folders"))["pictures"]


def test_parts_are_done_once_somebody_has_made_the_run_of_all(photos, tmp_path):
    sweep = tmp_path / "sweep"
    parts = [job(photos, shard=(index, 2)) for index in (0, 1)]
    assert [len(part.source.images()) for part in parts] == [2, 1]
    write_mark(sweep / "0", mark(parts[0]))
    assert not all_parts(sweep, mark(parts[0]))
    assert is_finished(parts[0], sweep / "0")
    assert not is_finished(parts[1], sweep / "1")
    write_mark(sweep / "1", mark(parts[1]))
    assert all_parts(sweep, mark(parts[0]))
    # Nobody has: each has to look again.
    assert not is_finished(parts[0], sweep / "0")
    (sweep / "1" / "summary.json").write_text("{}")
    assert is_finished(parts[0], sweep / "0")
    assert is_finished(parts[1], sweep / "1")
    os.utime(photos / "bob" / "1.png", ns=(1, 1))
    # A picture of the other part is one of the whole, too.
    assert not is_finished(job(photos, shard=(0, 2)), sweep / "0")


def test_a_job_is_measured_again_where_any_of_its_files_is_not_as_it_was(photos, tmp_path):
    one, folder = Job(NoCodec(), FolderFaces(photos), [PictureTask("edges")]), tmp_path / "0"
    one.run(Cache(tmp_path / "cache"), folder)
    write_mark(folder, mark(one))
    (folder / "table.csv").write_text("by the report, after the job\n")
    assert is_finished(one, folder)
    for name in ("images.csv", "timings.json", "summary.json"):
        sound = (folder / name).read_bytes()
        digit = re.search(rb"\d(?=\D*$)", sound)
        # One bit, and what is there can be read as well as before.
        (folder / name).write_bytes(sound[: digit.start()] + bytes([sound[digit.start()] ^ 1]) + sound[digit.end() :])
        assert not is_finished(one, folder)
        (folder / name).write_bytes(sound)
    (folder / "summary.json").rename(folder / EARLIER)
    assert is_finished(one, folder)
    # As versions wrote it that did not say what files there were.
    (folder / FINISHED).write_text(json.dumps(mark(one)))
    assert not is_finished(one, folder)


def test_two_parts_that_end_at_once_on_two_machines_do_not_miss_each_other(photos, tmp_path, unseen):
    parts = [mark(job(photos, shard=(index, 2))) for index in (0, 1)]
    for name, part in zip("01", parts, strict=True):
        write_mark(tmp_path / "sweep" / name, part)
    unseen(tmp_path / "sweep/0/finished.json")
    assert all_parts(tmp_path / "sweep", parts[1])


def test_a_job_in_another_folder_takes_a_copy_of_what_the_same_one_left(photos, tmp_path, monkeypatch):
    cache, first, second = Cache(tmp_path / "cache"), tmp_path / "first", tmp_path / "second"
    one = Job(NoCodec(), FolderFaces(photos), [PictureTask("edges")])
    key = run_key(one)
    assert find_earlier(key, cache) is None
    made = one.run(cache, first)
    remember(key, first, write_mark(first, mark(one)), cache)
    (first / "table.csv").write_text("by the report, after the job\n")
    copied = reuse(*find_earlier(run_key(Job(NoCodec(), FolderFaces(photos), [PictureTask("edges")])), cache), second)
    assert copied.summary == made.summary
    files = {path.name for path in first.iterdir()} - {"table.csv", FINISHED}
    assert {path.name for path in second.iterdir()} == files
    assert all((second / name).read_bytes() == (first / name).read_bytes() for name in files)
    # Other code, another picture, a file that is not as it was: measured again.
    monkeypatch.setattr(provenance, "code_digest", lambda: "other")
    assert find_earlier(run_key(one), cache) is None
    monkeypatch.undo()
    text = (first / "images.csv").read_text()
    (first / "images.csv").write_text(text.replace("1", "2"))
    assert find_earlier(key, cache) is None
    (first / "images.csv").write_text(text)
    assert find_earlier(key, cache)
    # Only files inside the folder, whatever stands in the cache.
    (tmp_path / "elsewhere").write_text("secret")
    named = {"directory": str(first), "files": {"../elsewhere": file_sha256(tmp_path / "elsewhere")}}
    cache.put("run", key, json.dumps(named).encode())
    assert find_earlier(key, cache) is None
    os.utime(photos / "bob" / "1.png", ns=(1, 1))
    assert run_key(one) != key


def test_the_digest_of_the_code_is_that_of_its_files(tmp_path, monkeypatch):
    (tmp_path / "icm").mkdir()
    monkeypatch.setattr(provenance.icm, "__file__", str(tmp_path / "icm/__init__.py"))
    found = []
    for text in ("a = 1\n", "a = 2\n"):
        (tmp_path / "icm/__init__.py").write_text(text)
        found.append(provenance.code_digest.__wrapped__())
    assert found[0] != found[1]
