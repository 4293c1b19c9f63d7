"""``icm.evaluate`` and `import icm` from anywhere."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import icm
from icm.errors import UserError
from icm.faces.demo_scenes import SCENES, compose


def test_one_call_measures_pictures_of_every_kind(tmp_path):
    scene = compose(SCENES[8])
    Image.fromarray(scene).save(tmp_path / "scene.png")
    pictures = [scene, Image.fromarray(scene[:, ::-1]), tmp_path / "scene.png"]
    run = icm.evaluate(pictures, codec="jpeg", quality=10, directory=tmp_path / "run", cache=tmp_path / "cache")
    assert run.summary["title"] == "JPEG quality 10"
    assert [row["image"] for row in run.images] == ["0", "1", "2 scene.png"]
    # The same pixels give the same numbers, from an array or from a file.
    first, _, last = (row for row in run.faces)
    assert first["cosine_similarity"] == last["cosine_similarity"] < 1
    assert (tmp_path / "run" / "summary.json").is_file()


@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        ([np.zeros((4, 4))], {}, ["images[0]", "float64(4, 4)", "uint8"]),
        ([np.zeros((4, 4, 3), np.uint8), 7], {}, ["images[1]", "int"]),
        ("photo.png", {}, ["images", "[picture]"]),
        ([], {}, ["images", "empty"]),
        (["photo.png"], {"codec": "mpeg"}, ["mpeg", "vvc"]),
        (["photo.png"], {"codec": "jpeg", "qp": 3}, ["qp", "quality"]),
        (["photo.png"], {"embedder": "eyes"}, ["embedder=eyes", "dlib"]),
    ],
)
def test_mistakes_are_clear(images, options, words):
    with pytest.raises(UserError) as caught:
        icm.evaluate(images, **options)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_importing_icm_is_cheap(tmp_path):
    code = (
        "import icm, sys; print(sorted({'numpy', 'torch', 'hydra', 'cv2'} & set(sys.modules)), icm.__version__, "
        "icm.codecs.create('jpeg').name, icm.faces.__name__)"
    )
    root = Path(icm.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["[]", icm.__version__, "jpeg", "icm.faces"], done.stderr
