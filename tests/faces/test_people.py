"""Who can be trusted to be somebody else."""

import csv
import importlib.util
import io
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from icm.faces.boxes import Box
from icm.faces.crops import crop
from icm.faces.demo_scenes import PORTRAITS
from icm.faces.embedding import DeepFaceEmbedder
from icm.faces.people import different_people, picture_hash, versions_of_one_picture
from icm.images import list_images, read_image
from icm.metrics.privacy import cosine_similarity

THRESHOLD = DeepFaceEmbedder("dlib", "Dlib", "base").threshold


def recompressed(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def versions(who: str) -> list[tuple[np.ndarray, Box]]:
    """Nine versions of a portrait, scaled, mirrored and recompressed, with the box of the face."""
    portrait = PORTRAITS[who]
    image = read_image(Path(importlib.util.find_spec(portrait.package).origin).parent / portrait.member)
    found = []
    for scale, mirror, quality in [
        (1, 0, 0), (0.75, 0, 0), (0.5, 0, 0), (1.5, 0, 0), (1, 1, 0), (1, 0, 50), (1, 0, 20), (1, 0, 8), (0.5, 1, 15),
    ]:  # fmt: skip
        x, y, width, height = (round(scale * value) for value in portrait.face)
        picture = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if mirror:
            picture, x = picture[:, ::-1], picture.shape[1] - x - width
        found.append((recompressed(picture, quality) if quality else picture, Box(x, y, width, height, 1.0)))
    return found


@pytest.fixture(scope="module")
def dlib():
    return DeepFaceEmbedder("dlib", "Dlib", "base")


@pytest.fixture(scope="module")
def portraits(dlib):
    """Nine versions of each of two portraits: embeddings, names, pictures' names and hashes."""
    found = [(who, *version) for who in PORTRAITS for version in versions(who)]
    rows = dlib.embed([crop(picture, box) for _, picture, box in found])
    hashes = np.stack([picture_hash(picture) for _, picture, _ in found])
    return rows, [who for who, _, _ in found], [f"{number}.png" for number in range(len(found))], hashes


def strangers_without_hashes(rows, images, threshold=THRESHOLD):
    """As if no two pictures were alike."""
    hashes = np.random.default_rng(3).random((len(rows), 2, 256)) > 0.5
    return different_people(rows, [None] * len(rows), images, hashes, threshold)


def test_nine_versions_of_one_portrait_hold_no_pair_of_different_people(portraits):
    rows, _, images, hashes = (part[:9] for part in portraits)
    assert cosine_similarity(rows[:1].repeat(9, 0), rows).min() < 0.999, "they are not the same picture to Dlib"
    by_picture, notes = different_people(rows, [None] * 9, images, hashes, None)
    assert not by_picture.any()
    assert "36 of 36 pairs in versions of one picture" in notes[0]
    assert notes[1] == "no pair of faces can be trusted to show different people"
    by_recogniser, notes = strangers_without_hashes(rows, images)
    assert not by_recogniser.any()
    assert "36 that the recogniser takes for one person" in notes[0]


def test_versions_of_two_portraits_are_told_apart_as_with_names(portraits):
    rows, people, images, hashes = portraits
    named, notes = different_people(rows, people, images, hashes, THRESHOLD)
    assert notes == []
    assert named.sum() == 2 * 9 * 9
    guessed, _ = different_people(rows, [None] * 18, images, hashes, THRESHOLD)
    assert np.array_equal(named, guessed)
    assert np.array_equal(named, strangers_without_hashes(rows, images)[0])


def test_real_people_in_many_pictures_are_nearly_as_with_names(shared_data, dlib):
    """Without names hardly any pair of one person is trusted, and strangers look as alike as they do with names."""
    labels, detections = (
        list(csv.DictReader((shared_data / name).read_text().splitlines()))
        for name in ("faces_id/identities.csv", "faces_mtcnn.csv")
    )
    people = {row["file"]: row["person_id"] for row in labels}
    boxes = {}
    for row in detections:
        folder, name = row["path"].split("/")
        who = people[name] if folder == "faces_id" and float(row["confidence"]) >= 0.9 else None
        if who in ("p01", "p02", "p05", "p06") and sum(people[other] == who for other in boxes) < 5:
            boxes[name] = Box(*(int(row[key]) for key in "xywh"), 1.0)
    assert Counter(people[name] for name in boxes) == {"p01": 5, "p02": 5, "p05": 5, "p06": 5}
    pictures = {name: read_image(shared_data / "faces_id" / name) for name in boxes}
    rows = dlib.embed([crop(picture, boxes[name]) for name, picture in pictures.items()])
    hashes = np.stack([picture_hash(picture) for picture in pictures.values()])
    told, _ = different_people(rows, [people[name] for name in boxes], list(boxes), hashes, THRESHOLD)
    guessed, notes = different_people(rows, [None] * 20, list(boxes), hashes, THRESHOLD)
    assert (guessed & ~told).sum() <= 0.03 * guessed.sum()
    assert guessed.sum() > 0.8 * told.sum()
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = units @ units.T
    assert abs(cosines[guessed].mean() - cosines[told].mean()) < 0.008
    assert "nobody is named" in notes[0]


def test_a_hash_knows_a_picture_again_and_no_other(shared_data, rng):
    pictures = [read_image(path) for path in list_images(shared_data / "kodak")]
    pictures += [recompressed(picture[::2, ::-2], 30) for picture in pictures]
    same = versions_of_one_picture(np.stack([picture_hash(picture) for picture in pictures]))
    count = len(pictures) // 2
    assert np.array_equal(same, np.tile(np.eye(count, dtype=bool), (2, 2)))


def test_two_faces_of_one_picture_are_different_people_unless_they_look_alike():
    rows = np.array([[1, 0, 0], [0, 1, 0], [0.99, 0.01, 0]])
    trusted, _ = strangers_without_hashes(rows, ["a", "a", "a"], threshold=0.9)
    assert trusted.tolist() == [[False, True, False], [True, False, True], [False, True, False]]


def test_nobody_is_told_from_a_face_without_direction():
    trusted, notes = strangers_without_hashes(np.array([[0.0, 0.0], [1.0, 0.0]]), ["a", "b"], 0.5)
    assert not trusted.any()
    assert notes[-1] == "no pair of faces can be trusted to show different people"
    for count in (0, 1):
        assert not strangers_without_hashes(np.ones((count, 4)), ["a"][:count])[0].any()


def test_one_name_alone_leaves_no_pair(portraits):
    rows, people, images, hashes = portraits
    names = [who if who == "collins" else None for who in people]
    trusted, notes = different_people(rows, names, images, hashes, THRESHOLD)
    assert not trusted.any()
    assert notes == ["no pair of faces can be trusted to show different people"]


@given(st.integers(0, 10_000), st.integers(2, 12), st.floats(-1, 1))
def test_pairs_are_mutual_and_never_above_the_threshold(seed, faces, threshold):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(faces, 3))
    trusted, _ = strangers_without_hashes(rows, [f"{number // 2}" for number in range(faces)], threshold)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.array_equal(trusted, trusted.T)
    assert not trusted.diagonal().any()
    assert not (trusted & (units @ units.T >= threshold)).any()
