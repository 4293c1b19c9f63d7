"""When a later command takes up a finished job, and when it does not."""

import os

import pytest

from icm.codecs.plain import NoCodec
from icm.evaluation.finished import all_parts, is_finished, mark, write_mark
from icm.evaluation.job import Job
from icm.faces.sources import FolderFaces, Shard
from icm.images import write_png


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
