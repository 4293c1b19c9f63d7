import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from icm.evaluation.cache import Cache, content_key, image_hash
from icm.files import WriteError


def test_what_is_put_comes_back_and_the_rest_is_absent(tmp_path):
    cache = Cache(tmp_path)
    key = content_key(image="x", parameters={"qp": 37})
    assert cache.get("bitstream", key) is None
    cache.put("bitstream", key, b"bytes")
    assert cache.get("bitstream", key) == b"bytes"
    assert cache.get("decoded", key) is None


def test_a_damaged_or_truncated_entry_reads_as_absent(tmp_path):
    cache = Cache(tmp_path)
    cache.put("boxes", "ab" * 32, b"some content")
    (path,) = [path for path in (tmp_path / "boxes").rglob("*") if path.is_file()]
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:10], b"", whole[:-1] + b"!"):
        path.write_bytes(damaged)
        assert cache.get("boxes", "ab" * 32) is None
    cache.put("boxes", "ab" * 32, b"some content")
    assert cache.get("boxes", "ab" * 32) == b"some content"


def test_what_killed_writers_left_goes_at_most_once_a_day(tmp_path):
    def left(path):
        path.write_bytes(b"half")
        os.utime(path, (0, 0))
        Cache(tmp_path)
        return path.exists()

    assert not left(tmp_path / ".key.a1b2c3d4.tmp")
    assert left(tmp_path / ".key.e5f6g7h8.tmp")  # looked through a moment ago
    for date in (0, 1 << 33):  # long ago; in a year to come, by a clock that was set back since
        os.utime(tmp_path / ".tidied", (date, date))
        assert not left(tmp_path / ".key.e5f6g7h8.tmp")


def test_keys_depend_on_every_value_and_not_on_order():
    key = content_key(codec="vvc", parameters={"qp": 37, "preset": "medium"})
    assert key == content_key(parameters={"preset": "medium", "qp": 37}, codec="vvc")
    assert key != content_key(codec="vvc", parameters={"qp": 38, "preset": "medium"})
    assert key != content_key(codec="hevc", parameters={"qp": 37, "preset": "medium"})


def test_image_hash_sees_values_shape_and_type(picture):
    assert image_hash(picture) == image_hash(picture.copy())
    assert image_hash(picture) == image_hash(np.asfortranarray(picture))
    assert image_hash(picture) != image_hash(picture[:, ::-1])
    assert image_hash(picture) != image_hash(picture.reshape(picture.shape[1], picture.shape[0], 3))


def _write_often(root, value):
    cache = Cache(root)
    for _ in range(50):
        cache.put("kind", "cd" * 32, bytes([value]) * 5000)


def test_writers_at_the_same_time_leave_a_whole_entry(tmp_path):
    writers = [multiprocessing.Process(target=_write_often, args=(tmp_path, value)) for value in (1, 2)]
    for writer in writers:
        writer.start()
    cache = Cache(tmp_path)
    while any(writer.is_alive() for writer in writers):
        blob = cache.get("kind", "cd" * 32)
        assert blob is None or (len(blob) == 5000 and len(set(blob)) == 1)
    assert cache.get("kind", "cd" * 32) is not None
    assert not list(tmp_path.rglob(".*.tmp"))


def test_a_cache_that_cannot_be_written_is_one_warning_and_reads_on(tmp_path, caplog):
    """A folder under a file stands for a full or read-only disk, which root would not notice as permissions."""
    (tmp_path / "file").write_bytes(b"")
    cache = Cache(tmp_path / "file" / "cache")
    for value in range(3):
        cache.put("boxes", "ab" * 32, bytes([value]))
        assert cache.get("boxes", "ab" * 32) is None
    assert len(caplog.records) == 1
    assert "nothing more is kept for a later run" in caplog.text
    assert "Not a directory" in caplog.text


def test_threads_that_find_the_disk_full_at_once_say_so_once(tmp_path, caplog, monkeypatch):
    meeting = Barrier(4)

    def full(path, data):
        meeting.wait()
        raise WriteError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr("icm.evaluation.cache.atomic_write", full)
    cache = Cache(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda value: cache.put("boxes", "ab" * 32, bytes([value])), range(4)))
    assert len(caplog.records) == 1
