"""Sources of images."""

import json
import shutil

import numpy as np
import pytest

from icm.faces import sources
from icm.faces.boxes import Box, KnownFace
from icm.faces.labels import LabelError
from icm.faces.sources import COCO15, Coco15Faces, CocoFaces, DemoFaces, FolderFaces, SourceError, SourceImage
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
    assert images[0].identities([Box(0, 0, 5, 5, 1.0)]) == [None]
    assert not FolderFaces(folder).labelled


def test_files_of_kinds_that_are_not_read_are_named(folder):
    for name in ("clip.MP4", "sub/drawing.psd", "sub/raw"):
        (folder / name).write_bytes(b"x")
    assert FolderFaces(folder).ignored() == [
        {"image": "clip.MP4", "reason": "files of kind .mp4 are not read"},
        {"image": "sub/drawing.psd", "reason": "files of kind .psd are not read"},
        {"image": "sub/raw", "reason": "files of kind (none) are not read"},
    ]


def test_labels_say_who_is_who(folder):
    labels = folder / "people.tsv"
    labels.write_text("file,person_id\nsub/a.png,ann\n")
    (folder / "clip.mp4").write_bytes(b"x")
    source = FolderFaces(folder, labels)
    assert source.preflight() == []
    assert source.labelled
    assert [image.person for image in source.images()] == [None, "ann"]
    assert [entry["image"] for entry in source.ignored()] == ["clip.mp4"], "the labels are no picture that is missed"
    before = source.version
    labels.write_text("file,person_id\nsub/a.png,bob\n")
    assert FolderFaces(folder, labels).version != before
    labels.write_text("file,person_id\nsub/a.png,\n")
    assert not FolderFaces(folder, labels).labelled


def test_boxes_of_labels_become_known_faces(folder):
    labels = folder / "people.csv"
    labels.write_text("file,identity,x,y,width,height\nb.png,ann,1,2,30,40\nb.png,,50,2,30,40\n")
    image, _ = FolderFaces(folder, labels).images()
    assert image.known_faces == (KnownFace("ann", 1, 2, 30, 40), KnownFace(None, 50, 2, 30, 40))
    assert image.identities([Box(51, 3, 28, 38, 0.9), Box(0, 0, 30, 45, 0.9)]) == [None, "ann"]


def test_labels_that_cannot_be_used_end_the_job_before_it_starts(folder):
    (folder / "people.csv").write_text("file,identity\nc.png,ann\n")
    with pytest.raises(LabelError, match=r"people\.csv, line 2: there is no picture c\.png"):
        FolderFaces(folder, folder / "people.csv").preflight()
    with pytest.raises(LabelError, match=r"faces\.labels=absent\.csv: cannot be read"):
        FolderFaces(folder, "absent.csv").preflight()


def test_one_folder_for_each_person(folder, picture):
    write_png(folder / "sub" / "deeper" / "c.png", picture)
    source = FolderFaces(folder, "folders", "identities")
    assert source.preflight() == []
    people = {image.name: image.person for image in source.images()}
    assert people == {"b.png": None, "sub/a.png": "sub", "sub/deeper/c.png": "sub"}
    shutil.rmtree(folder / "sub")
    (problem,) = FolderFaces(folder, "folders", "identities").preflight()
    assert "no folder of images for each person" in problem.what
    assert "faces.labels=CSV" in problem.remedy


def test_the_demo_knows_everybody():
    assert DemoFaces().labelled
    assert DemoFaces().ignored() == []
    assert DemoFaces().pairs == ()


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
    (tmp_path / "a.mov").write_bytes(b"x")
    (problem,) = FolderFaces(tmp_path).preflight()
    assert problem.what.endswith("holds no images; not read: 1 files of kind .mov")


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
    assert image.identities([Box(48, 8, 30, 36, 1.0), Box(12, 12, 30, 36, 1.0)]) == ["bob", "ann"]
    assert image.identities([Box(34, 10, 20, 40, 1.0)])[0] in {"ann", "bob"}
    assert image.identities([Box(100, 100, 20, 20, 1.0)]) == [None]
    assert left.overlap(Box(10, 10, 40, 40, 1.0)) == 1
    assert left.overlap(Box(30, 10, 40, 40, 1.0)) == pytest.approx(1 / 3)


def test_a_known_face_names_one_box():
    image = SourceImage("one", lambda: None, (KnownFace("ann", 0, 0, 90, 90),))
    boxes = [Box(30, 30, 20, 20, 1.0), Box(5, 5, 80, 80, 1.0), Box(60, 60, 20, 20, 1.0)]
    assert image.identities(boxes) == [None, "ann", None]


def test_a_picture_of_somebody_names_a_single_face_and_guesses_no_other():
    image = SourceImage("portrait", lambda: None, person="ann")
    small, large = Box(0, 0, 20, 20, 1.0), Box(30, 0, 200, 200, 1.0)
    assert image.identities([small]) == ["ann"]
    assert image.identities([small, large]) == [None, None]
    assert image.identities([]) == []


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
