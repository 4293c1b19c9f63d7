"""Labeled Faces in the Wild."""

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from icm.__main__ import main
from icm.download import DownloadError
from icm.faces import lfw
from icm.faces.boxes import Box
from icm.faces.detection import LabelledBoxes, WholePicture
from icm.faces.lfw import LfwFaces
from icm.faces.sources import Pair, SourceError
from icm.images import write_png

PEOPLE = {"Ann_A": 3, "Bob_B": 2, "Cy": 1, "Di": 1}
PAIRS = "2\t1\nAnn_A\t1\t2\nAnn_A\t1\tBob_B\t2\nBob_B\t1\t2\nAnn_A\t3\tCy\t1\n"


def picture_of(person: str, number: int) -> Path:
    return Path(person, f"{person}_{number:04d}.png")


@pytest.fixture
def folder(tmp_path):
    """A small data set in LFW's layout, with two folds of one pair of each kind."""
    for person, count in PEOPLE.items():
        for number in range(1, count + 1):
            write_png(tmp_path / picture_of(person, number), np.full((250, 250, 3), number, np.uint8))
    (tmp_path / "pairs.txt").write_text(PAIRS)
    return tmp_path


def test_pairs_come_fold_by_fold_and_choose_the_pictures(folder):
    source = LfwFaces(folder)
    assert source.preflight() == []
    ann1, ann2, ann3, bob1, bob2, cy1 = (
        picture_of(*who).as_posix()
        for who in (("Ann_A", 1), ("Ann_A", 2), ("Ann_A", 3), ("Bob_B", 1), ("Bob_B", 2), ("Cy", 1))
    )
    assert source.pairs == (
        (Pair(ann1, ann2, True), Pair(ann1, bob2, False)),
        (Pair(bob1, bob2, True), Pair(ann3, cy1, False)),
    )
    assert [image.name for image in source.images()] == [ann1, ann2, ann3, bob1, bob2, cy1]
    assert [image.name for image in LfwFaces(folder, folds=1).images()] == [ann1, ann2, bob2]
    assert source.images()[2].load()[0, 0, 0] == 3


def test_without_pairs_every_picture_is_taken(folder):
    (folder / "pairs.txt").unlink()
    source = LfwFaces(folder)
    assert source.preflight() == []
    assert source.pairs == ()
    assert len(source.images()) == sum(PEOPLE.values())


def test_a_file_of_view_1_is_one_fold(folder):
    (folder / "train.txt").write_text("1\nAnn_A\t1\t2\nAnn_A\t1\tBob_B\t2\n")
    (fold,) = LfwFaces(folder, folder / "train.txt").pairs
    assert [pair.genuine for pair in fold] == [True, False]


def test_the_face_is_the_one_at_the_centre(folder):
    image = LfwFaces(folder).images()[0]
    central, aside = Box(70, 60, 110, 130, 1.0), Box(0, 0, 60, 60, 1.0)
    assert image.identities([aside, central]) == [None, "Ann_A"]
    assert image.identities([aside]) == [None]
    whole = WholePicture().detect(image.load(), image.known_faces)
    assert whole == [Box(0, 0, 250, 250, 1.0)]
    assert image.identities(whole) == ["Ann_A"]
    (own,) = LabelledBoxes().detect(image.load(), image.known_faces)
    assert (own.x, own.y, own.width, own.height) == (68, 68, 114, 114)
    assert image.identities([own]) == ["Ann_A"]


@pytest.mark.parametrize("name", ["lfw", "lfw_funneled", "lfw-deepfunneled"])
def test_lfws_own_folder_inside_is_found(folder, name):
    inside = folder / name
    inside.mkdir()
    for person in PEOPLE:
        shutil.move(folder / person, inside)
    (inside / "Cy" / "notes.mp4").write_bytes(b"x")
    source = LfwFaces(folder)
    assert len(source.pairs) == 2
    assert len(source.images()) == 6
    assert source.ignored() == [{"image": "Cy/notes.mp4", "reason": "files of kind .mp4 are not read"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: must be like '10 300'"),
        ("ten 300\n", "line 1: must be like '10 300'"),
        ("1 1\nAnn_A 1 2\n", "has 1 pairs, not the 2"),
        ("1 1\nAnn_A 1 2\nAnn_A one Cy 1\n", "line 3: 'Ann_A one Cy 1' is no pair"),
        ("1 1\nAnn_A 1 9\nAnn_A 1 Cy 1\n", "line 2: there is no picture Ann_A/Ann_A_0009"),
    ],
)
def test_a_mistake_in_the_pairs_is_one_line_with_its_place(folder, text, message):
    (folder / "pairs.txt").write_text(text)
    with pytest.raises(SourceError, match=message) as caught:
        LfwFaces(folder).preflight()
    assert str(folder / "pairs.txt") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_said_with_the_command(tmp_path, monkeypatch):
    (problem,) = LfwFaces(tmp_path).preflight()
    assert "python -m icm download lfw" in problem.remedy
    monkeypatch.setenv("ICM_CACHE", str(tmp_path))
    with pytest.raises(SourceError, match="python -m icm download lfw"):
        LfwFaces()
    with pytest.raises(SourceError, match=r"faces\.pairs=absent\.txt"):
        LfwFaces(tmp_path, "absent.txt")
    with pytest.raises(SourceError, match=r"faces\.folds=0"):
        LfwFaces(tmp_path, folds=0)


def test_download_unpacks_the_pictures_beside_their_pairs(folder, tmp_path_factory, monkeypatch, capsys):
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ICM_CACHE", str(cache))
    published = tmp_path_factory.mktemp("published")
    with tarfile.open(published / "lfw.tgz", "w:gz") as tar:
        for person in PEOPLE:
            tar.add(folder / person, f"lfw/{person}")
    shutil.copy(folder / "pairs.txt", published)
    asked = []

    def deliver(url, path, sha256, progress):
        asked.append((url, sha256))
        if "umass" in url:
            raise DownloadError(f"{url}: no connection")
        path.parent.mkdir(exist_ok=True)
        return Path(shutil.copy(published / path.name, path))

    monkeypatch.setattr(lfw, "download", deliver)
    assert main(["download", "lfw"]) == 0
    assert capsys.readouterr().out.split() == [str(cache / "lfw" / "pairs.txt"), str(cache / "lfw" / "lfw")]
    assert len(LfwFaces().images()) == 6
    assert sorted(path.name for path in (cache / "lfw").iterdir()) == ["lfw", "pairs.txt"]
    assert all(len(sha256) == 64 for _, sha256 in asked)
    before = len(asked)
    assert main(["download", "lfw"]) == 0
    assert {url.rpartition("/")[2] for url, _ in asked[before:]} == {"pairs.txt", "5976006"}, (
        "no picture is fetched twice"
    )


def test_a_damaged_archive_is_one_line_and_leaves_no_half_folder(tmp_path, monkeypatch, capsys):
    def deliver(url, path, sha256, progress):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"cut short")
        return path

    monkeypatch.setattr(lfw, "download", deliver)
    assert main(["download", "lfw", "--path", str(tmp_path)]) == 1
    assert "lfw.tgz: cannot be unpacked" in capsys.readouterr().err
    assert not (tmp_path / "lfw").exists()


def test_offline_says_address_and_place(tmp_path, monkeypatch, capsys):
    gone = {name: (("http://127.0.0.1:9/x",), sha256) for name, (_, sha256) in lfw._FILES.items()}
    monkeypatch.setattr(lfw, "_FILES", gone)
    assert main(["download", "lfw", "--path", str(tmp_path)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert all("http://127.0.0.1:9/x" in line and str(tmp_path) in line for line in errors)
