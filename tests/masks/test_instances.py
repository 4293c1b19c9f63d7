"""COCO instance files as flat arrays."""

import json
import multiprocessing
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from icm.masks import instances
from icm.masks.edges import MaskError
from icm.masks.instances import load_instances, pack

HEIGHT, WIDTH = 32, 40


def content(objects, names=("b.jpg", "a.jpg", "c.jpg")):
    """An instance file whose image ids are 7, 8, ...; ``objects`` are (image id, segmentation, iscrowd)."""
    images = [
        {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH} for number, name in enumerate(names, 7)
    ]
    keys = ("image_id", "segmentation", "iscrowd")
    annotations = [dict(zip(keys, row, strict=True)) for row in objects]
    return {"info": {"images": []}, "images": images, "annotations": annotations, "categories": [{"id": 1}]}


@pytest.fixture
def write(tmp_path):
    def write(value, **options):
        path = tmp_path / "instances.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value, **options))
        return path

    return write


def polygons(decimals):
    number = st.integers(0, 30 * 10**decimals).map(lambda whole: whole / 10**decimals)
    return st.lists(st.lists(number, min_size=3, max_size=6).map(lambda half: half + half[::-1]), max_size=3)


@pytest.mark.parametrize(("decimals", "kept"), [(2, np.int32), (5, np.float64)])
def test_outlines_come_back_bit_by_bit(tmp_path_factory, decimals, kept):
    folder = tmp_path_factory.mktemp("instances")
    kinds = set()

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.integers(7, 10), polygons(decimals)), max_size=8))
    def check(objects):
        (folder / "x.json").write_text(json.dumps(content([(*row, 0) for row in objects])))
        found = load_instances(folder / "x.json")
        kinds.add(pack(folder / "x.json", False)["coordinates"].dtype.type)
        for number, name in enumerate(("b.jpg", "a.jpg", "c.jpg"), 7):
            expected = [segmentation for image, segmentation in objects if image == number]
            assert [[part.tolist() for part in parts] for parts in found[name].segmentations] == expected
            for mask, segmentation in zip(found[name].masks(), expected, strict=True):
                whole = (
                    coco.decode(coco.merge(coco.frPyObjects(segmentation, HEIGHT, WIDTH)))
                    if segmentation
                    else np.zeros((HEIGHT, WIDTH), np.uint8)
                )
                np.testing.assert_array_equal(mask, whole)

    check()
    assert kept in kinds


SQUARE, FLAT = [4, 4, 12, 4, 12, 12, 4, 12], [1, 1, 5, 5]
RLE = {"size": [HEIGHT, WIDTH], "counts": [5, 7, HEIGHT * WIDTH - 12]}
OBJECTS = [(8, [SQUARE, FLAT], 0), (7, RLE, 0), (8, RLE, 1), (99, [SQUARE], 0), (8, [FLAT], 0)]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("late", [False, True], ids=["images first", "annotations first"])
def test_every_kind_of_object_in_any_order_and_spacing(write, indent, late):
    value = content(OBJECTS)
    path = write(dict(reversed(value.items())) if late else value, indent=indent)
    found = load_instances(path)
    assert list(found) == ["a.jpg", "b.jpg", "c.jpg"]
    assert [len(found[name].segmentations) for name in found] == [2, 1, 0]
    assert found.object_counts().tolist() == [2, 1, 0]
    assert [[part.tolist() for part in parts] for parts in found["a.jpg"].segmentations] == [[SQUARE], []]
    assert found["b.jpg"].segmentations == [RLE]
    assert next(found["b.jpg"].masks()).sum() == 7
    assert load_instances(path, crowd=True).object_counts().tolist() == [3, 1, 0]
    assert found.rows(["c.jpg", "no", "a.jpg.jpg", "a.jpg", "zz"]).tolist() == [2, -1, -1, 0, -1]
    assert "a.jpg.jpg" not in found
    assert pickle.loads(pickle.dumps(found))["b.jpg"].segmentations == [RLE]


def test_a_file_without_images_or_objects(write):
    assert len(load_instances(write(content([], names=())))) == 0
    found = load_instances(write(content([])))
    assert found.object_counts().tolist() == [0, 0, 0]
    assert found["a.jpg"].segmentations == []


WHOLE = json.dumps(content(OBJECTS))


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", WHOLE[:-1], WHOLE[: len(WHOLE) // 2], WHOLE.replace("}, {", "} {", 1),
        WHOLE.replace('"annotations"', '"anotations"'), WHOLE.replace('"image_id"', '"image"'),
        WHOLE.replace('"images": [{', '"images": {"x": [{').replace('}], "ann', '}]}, "ann'),
        WHOLE.replace("[4, 4,", '["4", 4,'), WHOLE.replace('"counts"', '"count"'), WHOLE + " {",
    ],
)  # fmt: skip
def test_anything_else_is_refused_in_one_line(write, text):
    with pytest.raises(MaskError, match=r"instances\.json is not a readable COCO instance file") as caught:
        load_instances(write(text))
    assert "\n" not in str(caught.value)


def test_memory_stays_near_the_size_of_the_file(write, rng):
    """Lists of Python took eight times the file while they were read, and three times for ever."""
    outlines = [[np.round(rng.uniform(0, 600, 50), 2).tolist()] for _ in range(4000)]
    path = write(content([(7 + number % 3, outline, 0) for number, outline in enumerate(outlines)]))
    size = path.stat().st_size
    assert size > 1 << 20
    tracemalloc.start()
    arrays = pack(path, False)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * size
    assert kept < 0.75 * size
    assert all(values.dtype != object for values in arrays.values()), "no reference counts"


@pytest.fixture
def large(write, tmp_path, monkeypatch):
    """A file that counts as large, with the cache folder in ``tmp_path / "cache"``."""
    monkeypatch.setattr(instances, "_LARGE", 0)
    monkeypatch.setenv("ICM_CACHE", str(tmp_path / "cache"))
    return write(content(OBJECTS))


@pytest.fixture
def packings(monkeypatch):
    """What was packed, as (file, crowd)."""
    calls = []
    monkeypatch.setattr(instances, "pack", lambda *arguments: calls.append(arguments) or pack(*arguments))
    return calls


def test_a_large_file_is_packed_once_and_mapped_from_then_on(large, packings):
    first, again = load_instances(large), load_instances(large)
    assert len(packings) == 1
    for found in (first, again):
        assert found["b.jpg"].segmentations == [RLE]
        assert found["a.jpg"].segmentations[0][0].tolist() == SQUARE
        # Mapped, so shared by the processes, and read-only.
        assert not any(values.flags.writeable for values in found._arrays.values())
    assert load_instances(large, crowd=True).object_counts().tolist() == [3, 1, 0]
    large.write_text(json.dumps(content(OBJECTS[1:])))
    assert load_instances(large).object_counts().tolist() == [1, 1, 0]
    assert len(packings) == 3


def test_a_damaged_cache_is_packed_again(large, packings, tmp_path):
    load_instances(large)
    for file in sorted((tmp_path / "cache").rglob("*.npy")):
        file.write_bytes(file.read_bytes()[:-1] if file.stat().st_size > 128 else b"")
        assert load_instances(large)["b.jpg"].segmentations == [RLE]
    (coordinates,) = (tmp_path / "cache").rglob("coordinates.npy")
    content = bytearray(coordinates.read_bytes())
    content[-3] ^= 4  # one bit, which no length or header tells
    coordinates.write_bytes(content)
    assert load_instances(large)["a.jpg"].segmentations[0][0].tolist() == SQUARE
    assert len(packings) == 1 + 9 + 1
    assert len(list((tmp_path / "cache" / "instances").iterdir())) == 2, "one folder and the lock"


def test_a_cache_that_cannot_be_written_is_a_warning(large, packings, tmp_path, caplog):
    (tmp_path / "cache").write_text("in the way")
    assert load_instances(large)["b.jpg"].segmentations == [RLE]
    assert caplog.text.count("cannot be written") == 1
    assert len(packings) == 1


def test_processes_that_start_together_pack_once(large, tmp_path, monkeypatch):
    def counted(*arguments):
        (tmp_path / f"packed-{multiprocessing.current_process().pid}").touch()
        return pack(*arguments)

    monkeypatch.setattr(instances, "pack", counted)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(load_instances, [large] * 8, chunksize=1)
    assert all(len(images) == 3 for images in found)
    assert len(list(tmp_path.glob("packed-*"))) == 1
