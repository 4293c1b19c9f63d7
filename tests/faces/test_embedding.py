"""Recognisers: the real Dlib one for similarity, the paper's six with random weights for shape and plumbing."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from icm.errors import UserError
from icm.faces import weights
from icm.faces.crops import crop
from icm.faces.deepface_setup import import_deepface
from icm.faces.detection import Box
from icm.faces.embedding import MODELS, DeepFaceEmbedder, Embedder, EmbeddingError
from icm.faces.recogniser_check import Face, beside, turned, with_other_scaling
from icm.faces.sources import DemoFaces
from icm.faces.weights import WeightsError

CONF = Path(__file__).resolve().parents[2] / "conf"
DIMENSIONS = {"vggface": 4096, "facenet": 128, "openface": 128, "arcface": 512, "sface": 128, "ghostfacenet": 512}
TITLES = {
    "vggface": "VGG-Face", "facenet": "FaceNet", "facenet512": "FaceNet512", "openface": "OpenFace", "sface": "SFace",
    "arcface": "ArcFace", "ghostfacenet": "GhostFaceNet", "buffalo_l": "Buffalo_L", "dlib": "Dlib",
}  # fmt: skip


def represented(embedder: DeepFaceEmbedder, faces: list[np.ndarray]) -> np.ndarray:
    """What DeepFace's own function makes of a batch of faces."""
    found = import_deepface().represent(
        [np.ascontiguousarray(face[..., ::-1]) for face in faces],
        model_name=embedder.model,
        detector_backend="skip",
        align=False,
        normalization=embedder.normalization,
    )
    return np.array([(face if len(faces) == 1 else face[0])["embedding"] for face in found], np.float32)


def configured(*names: str) -> dict[str, DeepFaceEmbedder]:
    """Embedders as conf/embedder describes them."""
    with initialize_config_dir(str(CONF / "embedder"), version_base=None):
        return {name: instantiate(compose(name)[name]) for name in names}


def test_thresholds_are_the_installed_deepfaces():
    from icm.faces.deepface_setup import import_deepface

    import_deepface()
    from deepface.modules.modeling import AVAILABLE_MODELS
    from deepface.modules.verification import find_threshold

    assert set(MODELS) == set(AVAILABLE_MODELS["facial_recognition"])
    for name, model in MODELS.items():
        assert model.distance == find_threshold(name, "cosine")
        assert DeepFaceEmbedder("x", name, "base").threshold == pytest.approx(1 - model.distance, abs=1e-9)


@pytest.mark.parametrize("name", TITLES)
def test_recognisers_are_parts_with_a_title(name, has_all_of):
    embedder = configured(name)[name]
    assert has_all_of(embedder, Embedder)
    assert (embedder.name, embedder.title, embedder.align) == (name, TITLES[name], False)


@pytest.fixture(scope="module")
def portraits() -> tuple[list[np.ndarray], list[str]]:
    """A crop of every known face of eight demo scenes, and who it is."""
    crops, names = [], []
    for image in DemoFaces().images()[:8]:
        pixels = image.load()
        for face in image.known_faces:
            crops.append(crop(pixels, Box(face.x, face.y, face.width, face.height, 1.0)))
            names.append(face.identity)
    return crops, names


@pytest.fixture(scope="module")
def dlib_rows(portraits) -> np.ndarray:
    rows = configured("dlib")["dlib"].embed(portraits[0])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_one_configuration_file_adds_another_of_deepfaces_recognisers(tmp_path, write_random_weights, portraits):
    (tmp_path / "deepid.yaml").write_text(
        "deepid: {_target_: icm.faces.embedding.DeepFaceEmbedder, name: deepid, model: DeepID, normalization: base}"
    )
    with initialize_config_dir(str(tmp_path), version_base=None):
        embedder = instantiate(compose("deepid").deepid)
    assert embedder.preflight()[0].remedy.endswith("python -m icm download weights deepid")
    write_random_weights("deepid")
    assert embedder.embed(portraits[0][:2]).shape == (2, 160)
    assert embedder.title == "DeepID"


def test_dlib_gives_float32_rows(dlib_rows, portraits):
    assert dlib_rows.shape == (len(portraits[0]), 128)
    assert dlib_rows.dtype == np.float32


def test_dlib_finds_the_same_person_more_alike_than_another(dlib_rows, portraits):
    cosines = dlib_rows @ dlib_rows.T
    same = np.array(portraits[1])[:, None] == np.array(portraits[1])[None]
    genuine = cosines[same & ~np.eye(len(same), dtype=bool)]
    assert np.allclose(np.diag(cosines), 1)
    assert genuine.min() > cosines[~same].max()


def test_dlib_gives_a_face_the_same_bytes_in_any_company(dlib_rows, portraits):
    embedder = configured("dlib")["dlib"]
    together = embedder.embed(portraits[0][:4])
    alone = [embedder.embed([face])[0] for face in reversed(portraits[0][:4])]
    assert np.array_equal(together[::-1], alone)
    assert np.array_equal(together[:1], represented(embedder, portraits[0][:1]))


def test_dlib_sees_colours_in_the_right_order(portraits):
    """dlib itself, fed RGB, agrees: no channel swap is left over or missing."""
    import dlib

    face = np.zeros((150, 150, 3), np.uint8)
    face[:] = portraits[0][0][:150, :150].mean(axis=(0, 1))
    face[40:110, 40:110] = (200, 120, 60)
    model = dlib.face_recognition_model_v1(str(weights.install("dlib")))
    ours = configured("dlib")["dlib"].embed([face])[0]
    right, wrong = (np.array(model.compute_face_descriptor(np.ascontiguousarray(f))) for f in (face, face[..., ::-1]))
    assert np.linalg.norm(ours - right) < 0.1 * np.linalg.norm(ours - wrong)


def test_no_faces_give_no_rows():
    assert configured("dlib")["dlib"].embed([]).shape == (0, 128)


@pytest.mark.parametrize("name", DIMENSIONS)
def test_paper_embedder_loads_from_deepfaces_own_format_and_notices_wrong_inputs(name, write_random_weights, portraits):
    """Colours, scaling, crop and alignment. With random weights directions hardly move: values do."""
    path = write_random_weights(name)
    embedder = configured(name)[name]
    assert embedder.preflight() == []
    faces = portraits[0][:3]
    rows = embedder.embed(faces)
    assert rows.shape == (3, DIMENSIONS[name])
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert np.array_equal(rows, represented(embedder, faces))
    assert np.abs(rows[0] - rows[1]).max() > 1e-6, "different faces must not embed alike"
    alone = embedder.embed(faces[:1])[0]
    # Random weights are ill-conditioned: float noise of another batch shape reaches 6e-4 (seen with GhostFaceNet).
    assert np.abs(rows[0] - alone).max() < 5e-3 * np.abs(alone).max()
    assert weights.sha256(path)[:12] in embedder.version
    scene = DemoFaces().images()[0]
    known = scene.known_faces[0]
    face = Face(scene.load(), Box(known.x, known.y, known.width, known.height, 1.0))
    wrong = {"colours": face.crop[..., ::-1], "crop": beside(face), "alignment": turned(face.crop)}
    found = {what: embedder.embed([image]) for what, image in wrong.items()}
    found["scaling"] = with_other_scaling(embedder).embed([face.crop])
    for what, changed in found.items():
        assert np.abs(changed[0] - alone).max() > 1e-3 * np.abs(alone).max(), what
    path.unlink()  # VGG-Face's is 580 MB


@pytest.mark.parametrize("name", [*DIMENSIONS, "facenet512"])
def test_missing_weights_are_named_with_source_and_remedy(name, deepface_home):
    embedder = configured(name)[name]
    (problem,) = embedder.preflight()
    assert str(weights.path_of(name)) in problem.what
    assert weights.FILES[name].urls[0] in problem.what
    assert problem.remedy.endswith(f"python -m icm download weights {name}")
    with pytest.raises(EmbeddingError, match="is missing"):
        embedder.embed([])


def test_missing_package_is_named(deepface_home, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    what = [problem.what for problem in configured("buffalo_l")["buffalo_l"].preflight()]
    assert any("needs the package insightface" in line for line in what)


def test_truncated_weights_are_one_line_that_names_the_file(write_random_weights, portraits):
    path = write_random_weights("openface")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(WeightsError) as caught:
        configured("openface")["openface"].embed(portraits[0][:1])
    assert str(path) in str(caught.value)
    assert "python -m icm download weights openface" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_one_line_that_names_the_file(write_random_weights, portraits):
    path = write_random_weights("openface").rename(weights.path_of("ghostfacenet"))
    with pytest.raises(WeightsError, match="cannot be loaded as ghostfacenet weights") as caught:
        configured("ghostfacenet")["ghostfacenet"].embed(portraits[0][:1])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_changed_since_their_download_are_refused(write_random_weights):
    path = write_random_weights("sface")
    path.write_bytes(path.read_bytes() + b"x")
    (problem,) = configured("sface")["sface"].preflight()
    assert "damaged" in problem.what


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"model": "Dlibb", "normalization": "base"}, "embedder.x.model=Dlibb"),
        ({"model": "Dlib", "normalization": "none"}, "embedder.x.normalization=none"),
        ({"model": "Dlib", "normalization": "base", "batch_size": 0}, "embedder.x.batch_size=0"),
    ],
)
def test_bad_options_name_the_field(options, field):
    with pytest.raises(EmbeddingError, match=field):
        DeepFaceEmbedder("x", **options)


def test_a_home_folder_that_deepface_cannot_write_is_one_line(monkeypatch):
    def refuse(name):
        raise FileNotFoundError(2, "No such file or directory", "/proc/.deepface")

    deepface = types.ModuleType("deepface")
    deepface.__getattr__ = refuse
    monkeypatch.setitem(sys.modules, "deepface", deepface)
    with pytest.raises(UserError, match=r"^/proc/.deepface: DeepFace cannot make its folder .*set DEEPFACE_HOME"):
        import_deepface()
