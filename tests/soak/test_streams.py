"""Damaged ``.icm`` streams of every codec: a line that says what is wrong, or a picture of the claimed size.

Never another exception, a crash, a hang, more memory than the size explains; and no picture but the coded one where
a checksum can tell.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from icm import codecs
from icm.codecs.base import BitstreamError, unpack
from tests.conftest import natural_image
from tests.soak.mutations import mutant
from tests.soak.sandbox import check_message, survey

CHEAP = ("none", "jpeg", "webp", "jpeg2000", "avif", "jxl", "blur", "pixelate", "mask", "k_same", "downscale")
PROGRAM = {"yuv420": {}, "vvc": {"preset": "faster"}, "hevc": {"preset": "ultrafast"}, "av1": {"preset": 8}}
LEARNED = ("sa_icm", "sa_icm portable", "learned", "learned portable")
SIZES = ((24, 32), (17, 33), (1, 1), (40, 16))
# Codecs whose streams hold a checksum of what they decode to: their own damage never makes another picture.
CHECKED = ("hevc", "sa_icm", "learned")
SECONDS = 30
MEMORY = 1 << 30


def test_every_codec_has_its_share():
    assert {*CHEAP, *PROGRAM, *(name.split()[0] for name in LEARNED)} == set(codecs.NAMES)


@pytest.mark.parametrize("name", [*CHEAP, *PROGRAM, *LEARNED])
def test_damaged_streams(name, amount, note, tmp_path):
    # Fewer of the learned codecs, which have a test of their own besides, and of those that start a program.
    count = amount(40, 8500) if name in CHEAP else amount(0 if name in LEARNED else 10, 2000)
    if not count:
        pytest.skip("loads torch: make soak")
    cases = Cases(name, tmp_path)
    found = survey(cases.attempt, count, SECONDS, MEMORY)
    note(count=count, outcomes=found.outcomes, faults=found.faults, peak_mb=found.peak_mb)
    assert found.faults == {}
    assert sum(found.outcomes.values()) == count
    assert found.outcomes["refused"] > count / 3


class Cases:
    """Damaged streams of one codec by number. A child process makes and decodes them: it alone loads what they need."""

    def __init__(self, name: str, folder: Path):
        self.name, _, self.portable = name.partition(" ")
        self.seed = sum(name.encode())
        self.checkpoint = folder / "network.safetensors" if self.name == "learned" else None

    def attempt(self, number: int) -> str:
        streams, pictures = self.sound
        if number < 0:
            for stream, picture in zip(streams, pictures, strict=True):
                np.testing.assert_array_equal(self.decode(stream), picture)
            return "sound"
        bitstream, sound = mutant(list(streams), np.random.default_rng([self.seed, number]))
        try:
            picture = self.decode(bitstream)
        except BitstreamError as error:
            return check_message(error)
        found, before = unpack(bitstream), unpack(sound)
        assert picture.shape == (found.height, found.width, 3)
        assert picture.dtype == np.uint8
        same_size = (found.width, found.height) == (before.width, before.height)
        must_be_the_coded_one = bitstream == sound or (
            before.codec in CHECKED and same_size and found.parameters == before.parameters
        )
        coded = pictures[streams.index(sound)]
        if same_size and np.array_equal(picture, coded):
            return "the coded picture"
        assert not must_be_the_coded_one, "another picture, and no checksum told"
        return "another picture, sealed by whoever changed it"

    def decode(self, bitstream: bytes) -> np.ndarray:
        container = unpack(bitstream)
        return self.decoder(container.codec, container.weights_id).decode(bitstream)

    @lru_cache(maxsize=64)  # noqa: B019  one object for a whole process
    def decoder(self, name: str, weights_id: str):
        return codecs.decoder(name, weights_id, self.checkpoint)

    @property
    @lru_cache(maxsize=1)  # noqa: B019
    def sound(self) -> tuple[tuple[bytes, ...], tuple[np.ndarray, ...]]:
        """Whole streams of small pictures, and what they decode to."""
        options = dict(PROGRAM.get(self.name, {}))
        if self.name in ("sa_icm", "learned"):
            import torch

            torch.set_num_threads(1)
            options |= {"portable": bool(self.portable)}
        if self.checkpoint:
            options |= {"checkpoint": self.checkpoint}
            self._write_network()
        codec = codecs.create(self.name, **options)
        images = [natural_image(height, width, seed) for seed, (height, width) in enumerate(SIZES)]
        if self.name == "k_same":
            codec = codec.among([np.roll(images[0], 5 * shift, axis=1) for shift in range(6)])
        streams = tuple(codec.encode(image, [(3, 3, 12, 12)] if min(image.shape[:2]) > 16 else []) for image in images)
        return streams, tuple(self.decode(stream) for stream in streams)

    def _write_network(self) -> None:
        import torch

        from models.checkpoint import save_safetensors
        from models.hyperprior import Hyperprior

        if not self.checkpoint.is_file():
            torch.manual_seed(0)
            save_safetensors(Hyperprior(N=8, M=12), self.checkpoint, half=False)
