"""Still codecs: what Pillow's defaults would get wrong, and the size read from a JPEG XL header."""

import io
import os
import threading
import warnings

import numpy as np
import pytest
from PIL import Image, ImageFile

from icm import codecs
from icm.codecs.base import BitstreamError, CodecError, Container, pack, payload_size, unpack
from icm.codecs.jxl_header import jxl_size
from icm.threads import in_threads

STILL = ("jpeg", "webp", "jpeg2000", "avif", "jxl")


def test_jpeg2000_decorrelates_colour(make_picture):
    """A gray picture costs about as much in three channels as in one: the colour transform is on."""
    gray = make_picture(96, 128)[..., 0]
    alone = io.BytesIO()
    settings = {"quality_mode": "dB", "quality_layers": [35], "irreversible": True, "no_jp2": True}
    Image.fromarray(gray).save(alone, format="JPEG2000", **settings)
    coded = payload_size(codecs.create("jpeg2000", quality=35).encode(np.repeat(gray[..., None], 3, axis=2)))
    assert coded < 1.3 * len(alone.getvalue())


@pytest.mark.parametrize("quality", [25, 32, 40])
def test_jpeg2000_quality_is_psnr_on_photographs(shared_data, psnr, quality):
    from icm.images import list_images, read_image

    image = read_image(list_images(shared_data / "coco_faces")[0])
    codec = codecs.create("jpeg2000", quality=quality)
    assert psnr(image, codec.decode(codec.encode(image))) == pytest.approx(quality, abs=0.3)


@pytest.mark.parametrize("name", ["jpeg", "avif"])
def test_chroma_subsampling_costs_less_and_loses_colour_detail(name, rng, psnr):
    image = np.repeat(np.repeat(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8), 2, axis=0), 2, axis=1)
    half, full = (codecs.create(name, quality=90, subsampling=sampling) for sampling in ("4:2:0", "4:4:4"))
    half_coded, full_coded = half.encode(image[1:, 1:]), full.encode(image[1:, 1:])
    assert payload_size(half_coded) < payload_size(full_coded)
    assert psnr(image[1:, 1:], half.decode(half_coded)) < psnr(image[1:, 1:], full.decode(full_coded)) - 3


@pytest.mark.parametrize("name", STILL)
def test_the_payload_is_an_ordinary_file_without_metadata(name, picture):
    import pillow_jxl  # noqa: F401

    payload = unpack(codecs.create(name).encode(picture)).payload
    with Image.open(io.BytesIO(payload)) as image:
        assert image.size == (128, 96)
        # A JPEG XL decoder makes up the sRGB profile that a few header bits stand for.
        assert name == "jxl" or not image.info.get("icc_profile")
        assert not image.getexif()


def test_sides_a_codec_has_no_room_for():
    with pytest.raises(CodecError, match="webp codes sides up to 16383 pixels; this image is 16384x1"):
        codecs.create("webp").encode(np.zeros((1, 16384, 3), np.uint8))


@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (256, 256), (257, 255), (40, 56), (120, 160), (1, 700), (900, 1600), (3, 9000)]
)
def test_jxl_size_is_read_from_the_header(size):
    payload = unpack(codecs.create("jxl", effort=1).encode(np.zeros((*size, 3), np.uint8))).payload
    assert jxl_size(payload) == size[::-1]


def test_jxl_size_of_anything_else():
    for data in (b"", b"\xff\x0a", b"\0" * 40):
        with pytest.raises(ValueError, match="not a JPEG XL"):
            jxl_size(data)


@pytest.mark.filterwarnings("ignore:something of no concern")
def test_coding_in_threads_leaves_the_process_as_it_was(make_picture):
    """Others may warn meanwhile: their warnings stay warnings, and what is damaged is still an error."""
    picture = make_picture(48, 64)
    payloads = {name: unpack(codecs.create(name).encode(picture)).payload for name in STILL}
    stop, raised, told = threading.Event(), [], 0

    def warn() -> None:
        nonlocal told
        while not stop.is_set():
            try:
                warnings.warn("something of no concern here", UserWarning, stacklevel=1)
                told += 1
            except UserWarning as error:
                raised.append(error)

    def code(name: str) -> None:
        codec = codecs.create(name)
        codec.decode(codec.encode(picture))
        half = payloads[name][: len(payloads[name]) // 2]
        with pytest.raises(BitstreamError):
            codec.decode(pack(Container(name, codec.parameters, 64, 48, half)))

    filters, environment = list(warnings.filters), dict(os.environ)
    other = threading.Thread(target=warn)
    other.start()
    try:
        for _, future in in_threads(code, STILL * 8, workers=8):
            future.result()
    finally:
        stop.set()
        other.join()
    assert told > 0
    assert not raised
    assert warnings.filters == filters
    assert os.environ == environment
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize(("name", "kind"), [("jpeg", "JPEG"), ("webp", "PNG")])
def test_a_payload_of_another_kind_is_refused(name, kind):
    gray = io.BytesIO()
    Image.new("L", (8, 8), 9).save(gray, format=kind)
    with pytest.raises(BitstreamError, match="payload"):
        codecs.decode(pack(Container(name, {}, 8, 8, gray.getvalue())))
