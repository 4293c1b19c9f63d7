"""``python -m icm check weights``. That each recogniser notices a wrong input, test_embedding.py shows."""

import csv

import numpy as np
import pytest

from icm.__main__ import main
from icm.commands.check import _faces
from icm.faces.boxes import Box
from icm.faces.recogniser_check import Face, check_recogniser
from icm.images import write_png


@pytest.fixture(scope="module")
def faces() -> list[Face]:
    class Demo:
        faces = None

    return _faces(Demo, None)[:6]


def test_dlib_passes_on_the_demo_and_says_what_is_not_here(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    assert main(["check", "weights"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("  passed: ") == 6
    assert "AUC 1.000 of 20 genuine and 25 impostor pairs" in printed
    assert "ArcFace: not here. Fetch it with: python -m icm download weights arcface" in printed


def test_a_labelled_folder_and_a_recogniser_that_is_asked_for_and_not_here(faces, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path / "home"))
    for index, face in enumerate(faces[:4]):
        write_png(tmp_path / "faces" / f"{index}.png", face.crop)
    with open(tmp_path / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([["image", "identity"], *([f"{i}.png", f.person] for i, f in enumerate(faces[:4]))])
    folder = ["--faces", str(tmp_path / "faces"), "--labels", str(tmp_path / "labels.csv"), "--detector", "whole"]
    assert main(["check", "weights", "dlib", *folder]) == 0
    assert main(["check", "weights", "dlib", "--floor", "1.1", *folder]) == 1
    assert "FAILED: one person's faces against others'" in capsys.readouterr().out
    assert main(["check", "weights", "sface"]) == 1
    assert main(["check", "weights", "--faces", "somewhere"]) == 1
    assert "--faces and --labels belong together" in capsys.readouterr().err


def test_a_recogniser_that_sees_no_colour_or_nobody_fails(faces):
    class Blind:
        name, title, version, threshold, align = "blind", "Blind", "1", None, False

        def embed(self, crops):
            return np.array([[image.mean(), 255, image.shape[0]] for image in crops], np.float32)

    findings = {finding.name: finding.passed for finding in check_recogniser(Blind(), faces, 0.8)}
    assert findings["red and blue swapped"] is False
    one = [Face(faces[0].picture, Box(0, 0, 50, 50, 1.0))]
    assert check_recogniser(Blind(), one, 0.8)[-1].passed is None
