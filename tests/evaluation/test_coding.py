"""Original to coded picture, through the cache."""

import errno

import numpy as np
import pytest

from icm.codecs import create
from icm.codecs.base import CodecError
from icm.evaluation.cache import Cache, image_hash
from icm.evaluation.coding import code, rate


class Counting:
    """A codec that counts how often it works, and may fail."""

    def __init__(self, codec, failure=None):
        self.codec, self.failure, self.coded = codec, failure, 0

    def __getattr__(self, name):
        return getattr(self.codec, name)

    def encode(self, image, faces=()):
        if self.failure:
            raise self.failure
        self.coded += 1
        return self.codec.encode(image, faces)


def test_a_picture_is_coded_once_and_another_revision_codes_it_anew(picture, tmp_path):
    cache, digest = Cache(tmp_path), image_hash(picture)
    codec = Counting(create("jpeg", quality=30))
    first = code(picture, digest, codec, cache)
    again = code(picture, digest, codec, cache)
    assert codec.coded == 1
    assert again[0] == first[0]
    assert np.array_equal(again[1], first[1])
    newer = Counting(create("jpeg", quality=30))
    newer.version = codec.version + " changed"
    code(picture, digest, newer, cache)
    assert newer.coded == 1


def test_a_full_disk_under_a_codec_is_a_codec_error(picture, tmp_path):
    codec = Counting(create("jpeg"), OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(CodecError, match=r"jpeg could not work \(No space left on device\)"):
        code(picture, image_hash(picture), codec, Cache(tmp_path))


def test_rate_counts_payload_and_file_over_the_original(picture, tmp_path):
    bitstream, _ = code(picture, image_hash(picture), create("none"), Cache(tmp_path))
    found = rate(picture, bitstream)
    assert found["bpp"] == 24
    assert found["bpp_total"] == 8 * len(bitstream) / (96 * 128)
