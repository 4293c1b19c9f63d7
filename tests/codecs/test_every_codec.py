"""What every codec must do, at sizes that are awkward."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from icm import codecs
from icm.codecs.base import BitstreamError, Codec, Container, pack, payload_size, unpack
from icm.parts import identity

QUICK = {"vvc": {"preset": "faster"}, "hevc": {"preset": "medium"}, "av1": {"preset": 6}}
NAMES = [name for name in codecs.NAMES if name not in ("sa_icm", "learned")]
# A flat colour: what even one chroma sample for the whole picture keeps.
FLOOR_DB = {
    "vvc": 30,
    "hevc": 30,
    "av1": 30,
    "jpeg": 34,
    "webp": 29,
    "jpeg2000": 29,
    "avif": 34,
    "jxl": 32,
    "yuv420": 45,
    "downscale": 20,
}
# What changes nothing where there is no face.
EXACT = ("none", "blur", "pixelate", "mask", "k_same")


@pytest.fixture(params=NAMES)
def codec(request) -> Codec:
    return codecs.create(request.param, **QUICK.get(request.param, {}))


def other(codec: Codec, **options) -> Codec:
    return codecs.create(codec.name, **{**QUICK.get(codec.name, {}), **options})


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (17, 33), (96, 128)])
def test_round_trip_at_awkward_sizes(codec, make_picture, psnr, size):
    image = make_picture(*size)
    decoded = codecs.decode(codec.encode(image))
    assert decoded.shape == image.shape
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable
    if codec.name in EXACT:
        np.testing.assert_array_equal(decoded, image)
    else:
        assert psnr(image, decoded) > (FLOOR_DB[codec.name] if size == (96, 128) else 15)


def test_padding_does_not_leak_into_the_crop(codec, psnr):
    """An odd picture codes about as well as the same picture with even sides."""
    image = np.full((31, 45, 3), (200, 60, 40), np.uint8)
    codec = other(codec, quality=45) if codec.name == "jpeg2000" else codec
    assert psnr(image, codec.decode(codec.encode(image))) > 35


def test_the_same_image_gives_the_same_bytes(codec, picture):
    assert codec.encode(picture) == other(codec).encode(picture.copy())


def test_a_view_with_odd_strides_codes_like_its_copy(codec, picture):
    view = picture[::2, ::-1]
    assert codec.encode(view) == codec.encode(view.copy())


def test_it_satisfies_the_protocol(codec):
    assert isinstance(codec, Codec)
    assert codec.point.items() <= codec.parameters.items()
    assert identity(codec)["version"].startswith(f"revision {codec.revision}")
    assert codec.preflight() == []
    parameters = dict(unpack(codec.encode(np.zeros((2, 2, 3), np.uint8))).parameters)
    assert (parameters.pop("planes", None) is not None) == (codec.name == "hevc")
    assert parameters == codec.parameters


def test_decoding_needs_nothing_but_the_bytes(codec, picture, tmp_path):
    (tmp_path / "a.icm").write_bytes(codec.encode(picture))
    program = (
        "import sys, hashlib; from icm import codecs;"
        "print(hashlib.sha256(codecs.decode(open(sys.argv[1], 'rb').read()).tobytes()).hexdigest())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.icm")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(codecs.__file__).parents[2])
    assert done.stdout.strip() == hashlib.sha256(codec.decode(codec.encode(picture)).tobytes()).hexdigest()


RANGES = {
    "vvc": ("qp", (45, 35, 22)),
    "hevc": ("qp", (45, 35, 22)),
    "av1": ("qp", (55, 40, 20)),
    "jpeg": ("quality", (10, 50, 90)),
    "webp": ("quality", (10, 50, 90)),
    "jpeg2000": ("quality", (25, 32, 40)),
    "avif": ("quality", (10, 50, 90)),
    "jxl": ("quality", (10, 50, 90)),
}


@pytest.mark.parametrize("name", RANGES)
def test_better_points_cost_more_and_look_better(name, picture, psnr):
    field, points = RANGES[name]
    bytes_and_db = []
    for value in points:
        codec = codecs.create(name, **{field: value}, **QUICK.get(name, {}))
        assert codec.point == {field: value}
        bitstream = codec.encode(picture)
        bytes_and_db.append((payload_size(bitstream), psnr(picture, codec.decode(bitstream))))
    assert bytes_and_db == sorted(bytes_and_db)
    assert sorted(db for _, db in bytes_and_db) == [db for _, db in bytes_and_db]


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("name", RANGES)
def test_both_ends_of_the_range_work(name, make_picture, end):
    field, limits = {
        "vvc": ("qp", (0, 63)),
        "hevc": ("qp", (0, 51)),
        "av1": ("qp", (0, 63)),
        "jpeg": ("quality", (1, 100)),
        "jpeg2000": ("quality", (15, 60)),
        "jxl": ("quality", (1, 99)),
    }.get(name, ("quality", (0, 100)))
    image = make_picture(34, 50)
    codec = codecs.create(name, **{field: limits[end]}, **QUICK.get(name, {}))
    assert codec.decode(codec.encode(image)).shape == image.shape


def repacked(bitstream: bytes, **changes) -> bytes:
    fields = vars(unpack(bitstream))
    return pack(Container(**{**fields, **changes}))


def test_a_damaged_payload_under_a_right_checksum_is_no_crash(codec, make_picture, rng):
    image = make_picture(40, 56)
    bitstream = codec.encode(image)
    payload = unpack(bitstream).payload
    messages = []
    for _ in range(6):
        damaged = bytearray(payload)
        for position in rng.integers(0, len(payload), 8):
            damaged[position] = rng.integers(256)
        try:
            assert codec.decode(repacked(bitstream, payload=bytes(damaged))).shape == image.shape
        except BitstreamError as error:
            messages.append(str(error))
    assert not any("\n" in message for message in messages)


@pytest.mark.parametrize("payload", [b"", b"x", b"\0" * 5000])
def test_a_payload_of_nonsense_is_a_bitstream_error(codec, picture, payload):
    with pytest.raises(BitstreamError):
        codec.decode(repacked(codec.encode(picture), payload=payload))


def test_a_truncated_payload_under_a_right_checksum_is_a_bitstream_error(codec, picture):
    bitstream = codec.encode(picture)
    payload = unpack(bitstream).payload
    for keep in (0.3, 0.6):
        with pytest.raises(BitstreamError):
            codec.decode(repacked(bitstream, payload=payload[: int(keep * len(payload))]))


def test_a_payload_of_another_size_is_a_bitstream_error(codec, picture):
    swapped = repacked(codec.encode(picture), width=66, height=192)
    with pytest.raises(BitstreamError):
        codec.decode(swapped)


def test_a_payload_larger_than_promised_is_not_decoded(codec, make_picture):
    if codec.name in ("none", "yuv420"):
        pytest.skip("its payload's length gives it away, tested above")
    bitstream = codec.encode(make_picture(512, 640))
    with pytest.raises(BitstreamError):
        codec.decode(repacked(bitstream, width=16, height=16))
