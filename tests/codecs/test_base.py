"""The container holds against hostile bytes, and codecs by name hold against hostile options."""

import contextlib
import hashlib
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm import codecs
from icm.codecs.base import BitstreamError, CodecError, Container, pack, payload_size, unpack

SAMPLE = Container("vvc", {"qp": 37, "preset": "medium", "full": True}, 640, 427, b"payload" * 9, "00ff10")
BYTES = pack(SAMPLE)


def reseal(content: bytes) -> bytes:
    return content + hashlib.blake2b(content, digest_size=8).digest()


values = (
    st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9)
    | st.booleans()
)
containers = st.builds(
    Container,
    codec=st.sampled_from(["vvc", "jpeg", "sa_icm"]),
    parameters=st.dictionaries(st.text(max_size=9), values, max_size=4),
    width=st.integers(1, 10_000),
    height=st.integers(1, 10_000),
    payload=st.binary(max_size=200),
    weights_id=st.binary(max_size=32).map(bytes.hex),
)


@given(containers)
def test_any_container_comes_back(container):
    bitstream = pack(container)
    assert unpack(bitstream) == container
    assert payload_size(bitstream) == len(container.payload)


def test_the_same_parameters_in_another_order_give_the_same_bytes():
    reordered = Container("vvc", dict(reversed(SAMPLE.parameters.items())), 640, 427, SAMPLE.payload, "00ff10")
    assert pack(reordered) == BYTES


def test_the_overhead_is_small():
    assert len(pack(Container("vvc", {"qp": 37}, 640, 427, b""))) < 45


def test_every_single_bit_flip_is_noticed():
    for bit in range(8 * len(BYTES)):
        damaged = bytearray(BYTES)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            unpack(bytes(damaged))


def test_every_truncation_is_noticed():
    for length in range(len(BYTES)):
        with pytest.raises(BitstreamError, match="empty" if length == 0 else "truncated"):
            unpack(BYTES[:length])


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data):
    with pytest.raises(BitstreamError):
        unpack(data)


@given(st.binary(max_size=120))
@settings(max_examples=300)
def test_random_bytes_behind_a_right_magic_and_checksum_are_refused_or_read(data):
    with contextlib.suppress(BitstreamError):
        unpack(reseal(BYTES[:5] + data))


@pytest.mark.parametrize(
    ("bitstream", "message"),
    [
        (b"", "empty"),
        (b"\x89PNG" + BYTES[4:], "not an .icm file"),
        (reseal(BYTES[:4] + b"\x02" + BYTES[5:-8]), "version 2"),
        (BYTES + b"x", "1 bytes follow"),
        (BYTES[:-20], "truncated"),
        (BYTES[:60] + b"x" + BYTES[61:], "checksum"),
        (reseal(BYTES[:9] + b"\x03" + BYTES[10:13] + bytes(8) + BYTES[21:-8]), "0x0"),
        (reseal(BYTES[:13] + b"\xff" * 8 + BYTES[21:-8]), "sizes go from"),
        (reseal(BYTES.replace(b'{"full":true', b'["full",true')[:-8]), "header makes no sense"),
        (reseal(BYTES.replace(b'"full":true', b'"full":[[]]')[:-8]), "header makes no sense"),
    ],
)
def test_the_message_names_what_is_wrong(bitstream, message):
    with pytest.raises(BitstreamError, match=message):
        unpack(bitstream)


def test_absurd_lengths_allocate_nothing():
    start = BYTES.index(b"payload") - 4
    absurd = reseal(BYTES[:start] + struct.pack(">I", 0xFFFFFFFF) + BYTES[start + 4 : -8])
    tracemalloc.start()
    with pytest.raises(BitstreamError, match="needs 4294967295 bytes"):
        unpack(absurd)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_what_does_not_fit_the_format_is_refused():
    with pytest.raises(CodecError, match="codec id"):
        pack(Container("v" * 300, {}, 1, 1, b""))
    with pytest.raises(CodecError, match="0x5"):
        pack(Container("vvc", {}, 0, 5, b""))


def test_unknown_codec_in_a_valid_container():
    with pytest.raises(BitstreamError, match="'h267', which this program does not know"):
        codecs.decode(pack(Container("h267", {}, 1, 1, b"")))


def test_a_codec_refuses_anothers_bytes(picture):
    with pytest.raises(BitstreamError, match="coded by 'none', not by 'jpeg'"):
        codecs.create("jpeg").decode(codecs.create("none").encode(picture))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vvc", {"qp": 99}, r"codec\.qp=99: vvc takes a QP from 0 to 63; choose one in that range"),
        ("vvc", {"qp": -1}, r"codec\.qp=-1"),
        ("hevc", {"qp": 52}, r"codec\.qp=52: hevc takes a QP from 0 to 51"),
        ("vvc", {"qp": 32.5}, r"codec\.qp=32\.5"),
        ("vvc", {"qp": "32"}, r"codec\.qp=32"),
        ("vvc", {"qp": None}, r"codec\.qp=None"),
        ("vvc", {"qp": True}, r"codec\.qp=True"),
        ("vvc", {"qp": float("nan")}, r"codec\.qp=nan"),
        ("vvc", {"qp": float("inf")}, r"codec\.qp=inf"),
        ("vvc", {"preset": "swift"}, r"codec\.preset=swift: vvc takes one of faster, fast"),
        ("av1", {"preset": 9}, r"codec\.preset=9"),
        ("vvc", {"matrix": "rec601"}, r"codec\.matrix=rec601: vvc takes one of bt601, bt709"),
        ("yuv420", {"range": "tv"}, r"codec\.range=tv: yuv420 takes one of limited, full"),
        ("jpeg", {"quality": 0}, r"codec\.quality=0: jpeg takes a quality from 1 to 100"),
        ("jpeg2000", {"quality": 90}, r"codec\.quality=90: jpeg2000 takes a quality in dB from 15 to 60"),
        ("jpeg", {"effort": 3}, r"codec\.effort=3"),
        ("none", {"qp": 3}, r"codec\.qp=3: none has no such option; it takes none"),
        (
            "webp",
            {"subsampling": "4:4:4"},
            r"subsampling=4:4:4: webp has no such option; it takes quality, effort",
        ),
        ("jpeg", {"qp": 3}, r"codec\.qp=3: jpeg has no such option; it takes quality"),
        ("h264", {}, r"codec\.name=h264: no such codec; choose from .*jpeg, .*vvc"),
        ("vvc", {"binary": "/nowhere/vvencapp"}, r"codec\.binary=/nowhere/vvencapp: no such program"),
        ("hevc", {"binary": "ffmpeg"}, r"codec\.binary=ffmpeg: hevc has no such option"),
    ],
)
def test_bad_options_name_field_value_and_range(name, options, message):
    with pytest.raises(CodecError, match=message) as caught:
        codecs.create(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_other_arrays_are_refused(shape):
    with pytest.raises(CodecError):
        codecs.create("none").encode(np.zeros(shape, np.uint8))
    with pytest.raises(CodecError, match="float64"):
        codecs.create("jpeg").encode(np.zeros((4, 4, 3)))
    with pytest.raises(CodecError, match="a list: codecs take a numpy array"):
        codecs.create("jpeg").encode([[[1, 2, 3]]])
