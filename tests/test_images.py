"""Images of every kind a user has."""

import contextlib
import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from icm import images
from icm.images import ImageError, list_files, list_images, read_image, write_png


def save(path, array_or_image, **options):
    image = array_or_image if isinstance(array_or_image, Image.Image) else Image.fromarray(array_or_image)
    image.save(path, **options)
    return path


def png(width, height, depth, colour_type, rows, before_data=b""):
    """A PNG file put together by hand, for kinds that Pillow does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + (chunk(b"tRNS", before_data) if before_data else b"")
        + body
        + chunk(b"IEND", b"")
    )


def test_rgb_comes_back_exactly_and_writable(tmp_path, picture):
    read = read_image(write_png(tmp_path / "a.png", picture))
    np.testing.assert_array_equal(read, picture)
    assert read.dtype == np.uint8
    assert read.flags.c_contiguous
    assert read.flags.writeable


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_every_mode_becomes_three_channels_close_to_its_colours(tmp_path, picture, mode):
    suffix = "png" if mode in "L1P" else "tiff"
    image = Image.fromarray(picture).convert(mode)
    read = read_image(save(tmp_path / f"a.{suffix}", image))
    assert read.shape == picture.shape
    np.testing.assert_allclose(read.astype(int), np.asarray(image.convert("RGB")).astype(int), atol=2)


def test_cmyk_jpeg_is_not_inverted(tmp_path):
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red = read_image(save(tmp_path / "a.jpg", cmyk, quality=95)).mean((0, 1))
    assert red[0] > 240
    assert red[1:].max() < 15


def test_alpha_is_composited_on_white_with_rounding(tmp_path):
    pixels = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 100, 255, 128]]], np.uint8)
    read = read_image(save(tmp_path / "a.png", pixels))
    np.testing.assert_array_equal(read[0], [[255, 255, 255], [10, 20, 30], [127, 177, 255]])


def test_transparent_palette_entry_is_white(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    image.putpalette([200, 0, 0, 0, 200, 0])
    read = read_image(save(tmp_path / "a.png", image, transparency=0))
    np.testing.assert_array_equal(read[0], [[255, 255, 255], [0, 200, 0]])


def test_gray_with_alpha(tmp_path):
    read = read_image(save(tmp_path / "a.png", Image.new("LA", (2, 2), (50, 0))))
    assert (read == 255).all()


SAMPLES = np.array([[0, 128, 129, 1000, 32767, 65407, 65535]], np.uint16)
EIGHT_BIT = np.array([0, 0, 1, 4, 127, 255, 255])


def test_expected_rounding_of_16_bit_samples():
    np.testing.assert_array_equal(np.round(SAMPLES[0] / 257), EIGHT_BIT)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_gray_is_rounded_not_truncated(tmp_path, suffix):
    read = read_image(save(tmp_path / f"a.{suffix}", SAMPLES))
    np.testing.assert_array_equal(read[0], np.repeat(EIGHT_BIT[:, None], 3, axis=1))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_is_rounded_and_keeps_its_channel_order(tmp_path, suffix, channels):
    import cv2

    rgb = np.stack([SAMPLES, SAMPLES[:, ::-1], SAMPLES // 2], axis=-1)
    bgr = rgb[..., ::-1]
    opaque = np.full((*SAMPLES.shape, 1), 65535, np.uint16)
    cv2.imwrite(str(tmp_path / f"a{suffix}"), bgr if channels == 3 else np.concatenate([bgr, opaque], axis=-1))
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), np.round(rgb / 257).astype(np.uint8))


def test_16_bit_transparency(tmp_path):
    gray = png(2, 1, 16, 0, [struct.pack(">2H", 1000, 3000)], struct.pack(">H", 1000))
    gray_alpha = png(2, 1, 16, 4, [struct.pack(">4H", 1000, 0, 2570, 65535)])
    (tmp_path / "gray.png").write_bytes(gray)
    (tmp_path / "gray_alpha.png").write_bytes(gray_alpha)
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png")[0, :, 0], [255, 12])
    np.testing.assert_array_equal(read_image(tmp_path / "gray_alpha.png")[0, :, 0], [255, 10])


def test_16_bit_tiff_with_separate_planes_is_refused_not_misread(tmp_path):
    import tifffile

    tifffile.imwrite(
        tmp_path / "a.tiff", np.full((3, 4, 6), 30000, np.uint16), photometric="rgb", planarconfig="separate"
    )
    with pytest.raises(ImageError, match=r"a\.tiff.*interleaved"):
        read_image(tmp_path / "a.tiff")


def test_samples_of_unknown_range_are_refused(tmp_path):
    save(tmp_path / "float.tiff", Image.new("F", (3, 3), 0.5))
    save(tmp_path / "long.tiff", Image.new("I", (3, 3), 70000))
    for name in ("float.tiff", "long.tiff"):
        with pytest.raises(ImageError, match=name):
            read_image(tmp_path / name)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_exif_orientation_is_applied(tmp_path, make_picture, orientation, suffix):
    upright = make_picture(6, 10)
    undo = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    stored = Image.fromarray(upright)
    if undo in images._TRANSPOSE:
        stored = stored.transpose(images._TRANSPOSE[undo])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"tiffinfo": {0x0112: orientation}} if suffix == "tiff" else {"exif": exif}
    path = save(tmp_path / f"a.{suffix}", stored, **options, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read_image(path), upright)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_orientation_of_16_bit_colour(tmp_path, make_picture, orientation):
    import tifffile

    upright = make_picture(6, 10)
    undo = {6: 8, 8: 6}.get(orientation, orientation)
    stored = np.asarray(Image.fromarray(upright).transpose(images._TRANSPOSE[undo])).astype(np.uint16) * 257
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tiff", stored, photometric="rgb", extratags=tags)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tiff"), upright)


@pytest.mark.parametrize("suffix", ["jxl", "avif", "jp2", "gif", "bmp", "ppm"])
def test_other_formats(tmp_path, make_picture, suffix):
    import pillow_jxl  # noqa: F401

    image = make_picture(40, 50)
    read = read_image(save(tmp_path / f"a.{suffix}", image))
    assert read.shape == image.shape
    assert np.abs(read.astype(int) - image).mean() < 8


def heic(path, array, **options):
    pillow_heif.register_heif_opener()
    return save(path, array, format="HEIF", quality=95, **options)


@pytest.mark.parametrize("suffix", ["heic", "heif", "HEIC", "jpg"])
def test_pictures_of_a_telephone(tmp_path, make_picture, suffix):
    """Also under the name of another kind, as they are often passed on."""
    image = make_picture(40, 50)
    read = read_image(heic(tmp_path / f"a.{suffix}", image))
    assert read.shape == image.shape
    assert np.abs(read.astype(int) - image).mean() < 4
    assert list_images(tmp_path) == [tmp_path / f"a.{suffix}"]


def test_a_telephone_held_upright(tmp_path, make_picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = make_picture(40, 50)
    read = read_image(heic(tmp_path / "a.heic", image, exif=exif.tobytes()))
    assert np.abs(read.astype(int) - np.rot90(image, -1)).mean() < 4


def test_the_plugin_is_imported_when_it_is_needed(tmp_path, make_picture):
    path = write_png(tmp_path / "a.png", make_picture(4, 4))
    program = f"import sys; from icm.images import read_image; read_image({str(path)!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pillow_heif" not in done.stdout.split()


def test_one_pixel(tmp_path):
    path = write_png(tmp_path / "a.png", np.array([[[1, 2, 3]]], np.uint8))
    assert read_image(path).tolist() == [[[1, 2, 3]]]


def test_the_limit_of_pillow_is_not_ours(tmp_path, recwarn):
    (tmp_path / "a.png").write_bytes(png(14_000, 14_000, 8, 2, [b""]))
    with pytest.raises(ImageError, match="truncated"):
        read_image(tmp_path / "a.png")
    assert not [warning for warning in recwarn if "Decompression" in str(warning.category)]


@pytest.mark.slow
def test_a_large_image_that_pillow_would_warn_about_is_read(tmp_path, recwarn):
    path = save(tmp_path / "a.png", Image.new("L", (10_000, 9_500), 7))
    assert read_image(path).shape == (9_500, 10_000, 3)
    assert not [warning for warning in recwarn if "Decompression" in str(warning.category)]


def test_an_image_over_the_limit_is_refused_before_decoding(tmp_path):
    (tmp_path / "a.png").write_bytes(png(65_000, 65_000, 8, 2, [b""]))
    with pytest.raises(ImageError, match=r"a\.png: 65000x65000 is more than 268435456 pixels"):
        read_image(tmp_path / "a.png")


def test_unreadable_files_name_themselves(tmp_path, picture):
    whole = io.BytesIO()
    Image.fromarray(picture).save(whole, format="JPEG")
    contents = {"empty.png": b"", "text.jpg": b"this is no image", "half.jpg": whole.getvalue()[:600]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in (*contents, "missing.png"):
        with pytest.raises(ImageError, match=name) as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF", "JPEG2000", "GIF", "HEIF"])
def test_damaged_files_raise_image_errors_only(tmp_path, make_picture, rng, kind):
    pillow_heif.register_heif_opener()
    whole = io.BytesIO()
    Image.fromarray(make_picture(24, 24)).save(whole, format=kind)
    for _ in range(30):
        content = bytearray(whole.getvalue())
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        (tmp_path / "a").write_bytes(content[: rng.integers(1, len(content) + 1)])
        with contextlib.suppress(ImageError):
            assert read_image(tmp_path / "a").shape[2] == 3


def test_folders_are_listed_recursively_sorted_and_by_suffix(tmp_path):
    for name in ("b.JPG", "a/z.png", "a/b/c.tif", "notes.txt", ".hidden.png", ".cache/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    listed = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert listed == ["a/b/c.tif", "a/z.png", "b.JPG"]
    with pytest.raises(ImageError, match="no such folder"):
        list_images(tmp_path / "absent")


def test_files_of_a_kind_not_read_are_told_apart_from_images_and_from_what_lies_beside_them(tmp_path):
    names = ("a.png", "b.PSD", "clip.mp4", "labels.csv", "notes.TXT", "Thumbs.db", "x/card.json", "x/raw.cr2", ".y.psd")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found, others = list_files(tmp_path)
    assert found == list_images(tmp_path) == [tmp_path / "a.png"]
    assert others == [tmp_path / "b.PSD", tmp_path / "clip.mp4", tmp_path / "x/raw.cr2"]
