import numpy as np
import pytest
from PIL import Image

from icm.__main__ import main
from icm.codecs import create
from icm.config import compose_job
from icm.faces.sources import DemoFaces
from icm.images import write_png
from icm.report import showcase
from icm.report.labels import overlaps


@pytest.fixture(scope="module")
def scene():
    return DemoFaces().images()[0].load()


@pytest.fixture(scope="module")
def shown(scene):
    (task,) = compose_job(detector="opencv", embedder="dlib", task="faces")
    return showcase.look(scene, create("jpeg", quality=10), task)


def test_an_image_is_coded_searched_and_compared(shown, scene):
    assert shown.title == "JPEG quality 10"
    assert shown.bpp == pytest.approx(8 * shown.bytes / (scene.shape[0] * scene.shape[1]))
    assert len(shown.boxes) >= 1
    assert all(0.9 < value < 1 for value in shown.similarities["Dlib"])
    assert set(np.unique(shown.mask)) == {0, 255}


def test_the_overview_has_every_picture_and_no_text_on_another(shown):
    figure = showcase.overview(shown)
    assert [axes.get_title() for axes in figure.axes[:4]] == [
        "original", f"JPEG quality 10\n{shown.bpp:.3f} bpp, {shown.psnr:.2f} dB", "difference, 4 times", "edges",
    ]  # fmt: skip
    assert len(figure.axes) == 4 + 2 * len(shown.boxes)
    assert overlaps(figure) == []
    for axes in figure.axes:
        assert figure.bbox.y1 >= axes.title.get_window_extent(figure.canvas.get_renderer()).y1


def test_the_flow_says_what_went_in_and_came_out(shown):
    figure = showcase.flow(shown)
    texts = " ".join(text.get_text() for text in figure.texts)
    assert f"{shown.bytes:,} bytes" in texts
    assert f"Dlib: {shown.similarities['Dlib'][0]:.3f}" in texts
    assert overlaps(figure) == []


def test_the_command_draws_a_picture_without_faces_too(tmp_path, capsys):
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = 200
    write_png(tmp_path / "plain.png", image)
    write_png(tmp_path / "mask.png", image[:20])
    arguments = ["show", str(tmp_path / "plain.png"), "--codec", "jpeg", "--quality", "50", "--detector", "opencv"]
    for extra in ([], ["--flow"]):
        assert main([*arguments, *extra, "-o", str(tmp_path / "figure.png")]) == 0
        with Image.open(tmp_path / "figure.png") as figure:
            assert figure.width == 2100
    assert "0 face(s)" in capsys.readouterr().out
    for wrong, message in (
        (["-o", "a.bmp"], "figures are written as"),
        (["-o", "a.png", "--mask", str(tmp_path / "mask.png")], "60x20 pixels, but the image has 60x40"),
        (["-o", "a.png", "--embedder", "nobody"], "embedder=nobody: no such option"),
    ):
        assert main([*arguments, *wrong]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
