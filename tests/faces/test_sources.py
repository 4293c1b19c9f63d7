"""Sources of images."""

import json
import shutil

import numpy as np
import pytest

from icm.faces import sources
from icm.faces.detection import Box
from icm.faces.sources import COCO15, Coco15Faces, CocoFaces, FolderFaces, KnownFace, SourceError, SourceImage
from icm.images import ImageError, write_png


@pytest.fixture
def folder(tmp_path, picture):
    write_png(tmp_path / "b.png", picture)
    write_png(tmp_path / "sub" / "a.png", picture[:20])
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_folder_lists_images_below_it_and_reads_them_later(folder, picture):
    images = FolderFaces(folder).images()
    assert [image.name for image in images] == ["b.png", "sub/a.png"]
    assert np.array_equal(images[0].load(), picture)
    assert images[0].identity_of(Box(0, 0, 5, 5, 1.0)) is None


def test_a_truncated_file_is_an_error_of_its_own(folder):
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:100])
    with pytest.raises(ImageError, match=r"b\.png"):
        FolderFaces(folder).images()[0].load()


@pytest.mark.parametrize("path", [None, ""])
def test_folder_needs_a_path(path):
    with pytest.raises(SourceError, match=r"faces\.path"):
        FolderFaces(path)


def test_a_path_that_is_no_folder_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"faces\.path=.*nowhere: no such folder"):
        FolderFaces(tmp_path / "nowhere")


def test_an_empty_folder_is_a_problem(tmp_path):
    (problem,) = FolderFaces(tmp_path).preflight()
    assert str(tmp_path) in problem.what


@pytest.mark.parametrize("below", ["", "val2017", "images/val2017"])
def test_coco_takes_the_root_or_the_split(tmp_path, picture, below):
    split = tmp_path / below
    split.mkdir(parents=True, exist_ok=True)
    for name in ("000000000002.jpg", "000000000001.jpg"):
        (split / name).write_bytes(b"listing does not read it")
    source = CocoFaces(tmp_path)
    assert source.preflight() == []
    assert [image.name for image in source.images()] == ["000000000001.jpg", "000000000002.jpg"]
    assert [image.name for image in CocoFaces(tmp_path, limit=1).images()] == ["000000000001.jpg"]


def test_coco_without_images_says_where_it_looked(tmp_path):
    (problem,) = CocoFaces(tmp_path, split="test2017").preflight()
    assert str(tmp_path) in problem.what
    assert "test2017" in problem.what
    with pytest.raises(SourceError, match=r"faces\.limit=0"):
        CocoFaces(tmp_path, limit=0)


def test_a_box_belongs_to_the_known_face_around_its_centre():
    left, right = KnownFace("ann", 10, 10, 40, 40), KnownFace("bob", 40, 10, 40, 40)
    image = SourceImage("both", lambda: None, (left, right))
    assert image.identity_of(Box(12, 12, 30, 36, 1.0)) == "ann"
    assert image.identity_of(Box(48, 8, 30, 36, 1.0)) == "bob"
    assert image.identity_of(Box(34, 10, 20, 40, 1.0)) in {"ann", "bob"}
    assert image.identity_of(Box(100, 100, 20, 20, 1.0)) is None
    assert left.overlap(Box(10, 10, 40, 40, 1.0)) == 1
    assert left.overlap(Box(30, 10, 40, 40, 1.0)) == pytest.approx(1 / 3)


def test_coco15_names_fifteen_images_with_checksums(shared_data):
    rows = {row["id"]: row for row in COCO15}
    assert len(rows) == len(COCO15) == 15
    for row in COCO15:
        file = shared_data / "coco_faces" / f"{row['id']:012d}.jpg"
        assert sources.is_complete(file, row["sha256"], row["bytes"])
        assert row["subset"] in {"train2017", "val2017"}


def test_coco15_fetches_only_what_is_missing(tmp_path, shared_data, monkeypatch):
    fetched = []

    def deliver(url, path, sha256, size, progress):
        fetched.append(url)
        return shutil.copy(shared_data / "coco_faces" / path.name, path)

    for row in COCO15[:13]:
        shutil.copy(shared_data / "coco_faces" / f"{row['id']:012d}.jpg", tmp_path)
    damaged = tmp_path / f"{COCO15[0]['id']:012d}.jpg"
    damaged.chmod(0o644)
    damaged.write_bytes(b"cut short")
    monkeypatch.setattr(sources, "download", deliver)
    source = Coco15Faces(tmp_path)
    assert source.preflight() == []
    assert fetched == [
        f"http://images.cocodataset.org/{COCO15[i]['subset']}/{COCO15[i]['id']:012d}.jpg" for i in (0, 13, 14)
    ]
    assert len(source.images()) == 15
    assert source.images()[3].load().ndim == 3


def test_coco15_offline_says_what_to_do_in_one_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "COCO_HOST", "http://127.0.0.1:9")
    (problem,) = Coco15Faces(tmp_path).preflight()
    assert "15 of the 15" in problem.what
    assert f"http://127.0.0.1:9/{COCO15[0]['subset']}/{COCO15[0]['id']:012d}.jpg" in problem.what
    assert str(tmp_path) in problem.what
    assert "\n" not in problem.what + problem.remedy


def test_the_coco15_table_is_plain_json():
    path = sources.Path(sources.__file__).with_name("coco15.json")
    assert {tuple(sorted(row)) for row in json.loads(path.read_text())} == {
        ("bytes", "id", "license", "sha256", "subset")
    }
