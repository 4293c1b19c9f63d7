"""What a codec tells its tools is recorded, so that no setting changes without a new revision.

The revision is part of the key under which the cache keeps finished work: with the old one, an edited setting would be
served the streams of the old setting. After raising ``revision`` in the codec's class, record the new settings with
``ICM_RECORD=1 python -m pytest tests/codecs/test_revisions.py``.
"""

import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icm import codecs
from icm.codecs import ffmpeg
from icm.codecs.base import unpack

RECORD = Path(__file__).parents[1] / "data" / "codec_settings.json"


@pytest.fixture
def network(tmp_path) -> Path:
    """A small network whose weights are a formula, so that its streams depend on code alone."""
    import torch

    from models.checkpoint import save_safetensors
    from models.hyperprior import Hyperprior

    made = Hyperprior(N=8, M=12)
    with torch.no_grad():
        for name, weights in made.named_parameters():
            # The bottleneck's densities and the normalisations begin at constants that must stay in their range.
            if name.endswith((".weight", ".bias")) or "biases" in name:
                count = weights.numel()
                scale = 3.0 / (count / len(weights)) ** 0.5 if weights.ndim > 1 and "biases" not in name else 0.1
                weights.copy_((torch.arange(count) * 2.399).sin().reshape(weights.shape) * scale)
    return save_safetensors(made, tmp_path / "network.safetensors", half=False)


@pytest.fixture
def told(monkeypatch) -> list[str]:
    """Everything that codecs hand to ffmpeg and to Pillow from here on; names of temporary files left out."""
    found: list[str] = []
    run, save = ffmpeg.run, Image.Image.save

    def spied_run(command, *arguments, **options):
        found.append(" ".join("FILE" if part.startswith("/") else part for part in command))
        return run(command, *arguments, **options)

    def spied_save(self, target, format=None, **options):
        found.append(f"{format} {self.mode} {json.dumps(options, sort_keys=True)}")
        return save(self, target, format, **options)

    monkeypatch.setattr(ffmpeg, "run", spied_run)
    monkeypatch.setattr(Image.Image, "save", spied_save)
    return found


@pytest.mark.parametrize("name", codecs.NAMES)
def test_settings_change_only_with_the_revision(name, told, picture, request):
    learned = name in ("sa_icm", "learned")
    face = (70, 20, 40, 50)
    codec = codecs.create(name, **({"checkpoint": request.getfixturevalue("network")} if learned else {}))
    if name == "k_same":
        codec = codec.among([np.roll(picture, 30 * shift, axis=(0, 1)) for shift in range(6)])
    told.clear()
    bitstream = codec.encode(picture, [face])
    decoded = codec.decode(bitstream)
    container = unpack(bitstream)
    if name in ("blur", "pixelate", "mask", "downscale", "k_same"):  # what they do to the picture, they do themselves
        told.append(hashlib.sha256(decoded.tobytes()).hexdigest())
    if learned:  # it has no tools: the strings themselves are what must not change unnoticed
        told.append(hashlib.sha256(container.payload).hexdigest())
        assert len(container.payload) > 100
    now = {"revision": codec.revision, "parameters": container.parameters, "settings": told}
    record = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    if os.environ.get("ICM_RECORD"):
        RECORD.write_text(json.dumps({**record, name: now}, indent=1, sort_keys=True) + "\n")
        return
    before = record.get(name)
    remedy = "ICM_RECORD=1 python -m pytest tests/codecs/test_revisions.py"
    assert before, f"{name} is new here; record its settings: {remedy}"
    if now["revision"] == before["revision"]:
        assert now == before, f"the settings of {name} changed: raise {type(codec).__name__}.revision, then {remedy}"
    assert now == before, f"{name} has a new revision; record its settings: {remedy}"


def test_the_revision_is_part_of_the_version(monkeypatch):
    codec = codecs.create("jpeg")
    before = codec.version
    monkeypatch.setattr(type(codec), "revision", 99)
    assert codec.version == re.sub(r"revision \d+", "revision 99", before) != before
