"""docs/architecture.md: what it says can be added is added, word for word, to a copy of the program, and run."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(?:python|yaml)\n# (?P<path>[\w/.]+)(?P<where>[^\n]*)\n(?P<text>.*?)```", re.DOTALL)
MEASURES = "icm/evaluation/measures.py"


def test_every_addition_works_as_the_page_says(tmp_path):
    for name in ("icm", "models", "datamodules", "conf", "evaluate.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    measures = tmp_path / MEASURES
    for block in BLOCK.finditer(PAGE):
        path = tmp_path / block["path"]
        if block["path"] != MEASURES:
            assert not path.exists(), f"{block['path']} is there already: an addition may touch no other file"
            path.write_text(block["text"])
        elif "function" in block["where"]:
            measures.write_text(measures.read_text().replace("\nMEASURES:", f"\n{block['text']}\n\nMEASURES:"))
        else:
            head, tail = measures.read_text().split("\n)  # fmt: skip", 1)
            measures.write_text(f"{head}\n{block['text']})  # fmt: skip{tail}")
    command = re.search(r"```sh\npython (.*)\n```", PAGE)[1]
    # Two pictures are enough here.
    from icm.faces.demo_scenes import SCENES, compose
    from icm.images import write_png

    for number in (0, 1):
        write_png(tmp_path / "photos" / f"{number}.png", compose(SCENES[number]))
    arguments = [*shlex.split(command), "faces=folder", "faces.path=photos", "logger=csv", "hydra.run.dir=run"]
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env={**os.environ, "ICM_CACHE": str(tmp_path / "cache")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    rows = list(csv.DictReader((tmp_path / "run/table.csv").open()))
    assert [(row["codec"], row["embedder"], row["attack"]) for row in rows] == [
        ("posterize", "grid", "none"), ("posterize", "grid", "median"),
    ]  # fmt: skip
    assert all(float(row["embedding_distance"]) > 0 for row in rows)
    page = (tmp_path / "run/report.html").read_text()
    assert all(text in page for text in ("Posterize 6 levels", "Colour grid", "median filter", "embedding distance"))
    shifts = [float(row["brightness_shift"]) for row in csv.DictReader((tmp_path / "run/images.csv").open())]
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert np.isclose(summary["brightness_shift"], np.mean(shifts), atol=1e-6)
    assert [part["name"] for part in summary["parts"]] == [
        "posterize", "folder", "faces", "opencv", "grid", "none", "median", "brightness",
    ]  # fmt: skip
