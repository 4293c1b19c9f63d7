"""Streams that were written once decode for ever: ``tests/data/streams`` holds them with the pictures that they hold.

A new form of stream is a new file: ``ICM_RECORD=1 python -m pytest tests/codecs/test_golden_streams.py`` writes those
that are missing. A file that is there is never written again; what it was coded with goes on being decoded.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icm import codecs

FOLDER = Path(__file__).parents[1] / "data" / "streams"
STREAMS = {
    **{name: {} for name in codecs.NAMES if name not in ("learned", "k_same")},
    "vvc_bt709": {"name": "vvc", "matrix": "bt709"},
    "sa_icm_two_strings": {"name": "sa_icm", "tight": False},
    "sa_icm_portable": {"name": "sa_icm", "portable": True},
    "sa_icm_portable_two_strings": {"name": "sa_icm", "portable": True, "tight": False},
    "sa_icm_tiles": {"name": "sa_icm", "tile": 128, "portable": True},
    "sa_icm_faceless": {"name": "sa_icm", "variant": "faceless", "portable": True},
    "sa_icm_faceless_20_squares": {"name": "sa_icm", "variant": "faceless", "portable": True},
    "sa_icm_control": {"name": "sa_icm", "variant": "control", "portable": True},
}


@pytest.mark.parametrize("stream", STREAMS)
def test_it_decodes_to_the_picture_of_then(stream, make_picture):
    file = FOLDER / f"{stream}.icm"
    if os.environ.get("ICM_RECORD") and not file.exists():
        codec = codecs.create(**{"name": stream, **STREAMS[stream]})
        height, width = (40, 150) if "tile" in STREAMS[stream] else (40, 56)
        file.write_bytes(codec.encode(make_picture(height, width, seed=4), [(10, 8, 20, 24)]))
        Image.fromarray(codecs.decode(file.read_bytes())).save(file.with_suffix(".png"))
    with Image.open(file.with_suffix(".png")) as known:
        expected = np.asarray(known)
    # Libraries change how they round, never by more; the picture itself comes out.
    np.testing.assert_allclose(codecs.decode(file.read_bytes()).astype(int), expected.astype(int), atol=2)
