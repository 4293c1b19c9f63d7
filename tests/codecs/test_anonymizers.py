"""The privacy baselines change what they say and nothing else, and more of it the stronger they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm import codecs
from icm.codecs.base import CodecError, payload_size

METHODS = ("blur", "pixelate", "mask")
FACE = (40, 16, 48, 60)


def coded(name: str, image: np.ndarray, faces=(), **options) -> np.ndarray:
    return codecs.decode(codecs.create(name, **options).encode(image, faces))


def inside(image: np.ndarray, face=FACE) -> np.ndarray:
    x, y, width, height = face
    return image[y : y + height, x : x + width].astype(float)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (33, 17), (96, 128)])
def test_without_faces_the_picture_is_as_it_was(name, make_picture, size):
    image = make_picture(*size)
    np.testing.assert_array_equal(coded(name, image), image)
    assert codecs.create(name).uses_faces


@pytest.mark.parametrize("name", METHODS)
def test_only_the_face_changes(name, picture):
    before = picture.copy()
    result = coded(name, picture, [FACE])
    np.testing.assert_array_equal(picture, before)
    changed = (result != picture).any(axis=2)
    assert inside(changed).mean() > 0.5
    changed[FACE[1] : FACE[1] + FACE[3], FACE[0] : FACE[0] + FACE[2]] = False
    assert not changed.any()


def test_the_black_box_is_black(picture):
    assert not inside(coded("mask", picture, [FACE])).any()


def test_nothing_of_the_surroundings_leaks_into_a_face_and_nothing_of_it_out(make_picture):
    """A blurred face depends on its own pixels alone: the box holds all that is left of it."""
    first, second = make_picture(96, 128, 1), make_picture(96, 128, 2)
    first[FACE[1] : FACE[1] + FACE[3], FACE[0] : FACE[0] + FACE[2]] = inside(second)
    for name in ("blur", "pixelate"):
        np.testing.assert_array_equal(inside(coded(name, first, [FACE])), inside(coded(name, second, [FACE])))


def test_pixelation_is_the_mean_of_every_block(rng):
    image = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
    result = coded("pixelate", image, [(0, 0, 12, 8)], blocks=2)
    blocks = image.reshape(2, 4, 3, 4, 3).mean((1, 3)).repeat(4, axis=0).repeat(4, axis=1)
    np.testing.assert_allclose(result, blocks, atol=1)
    assert len(np.unique(result.reshape(-1, 3), axis=0)) == 6
    np.testing.assert_array_equal(coded("pixelate", image, [(0, 0, 12, 8)], blocks=8), image)


def test_blur_is_gaussian(rng):
    """Against the exact filter with the edge repeated; three box blurs come within a grey level or two."""
    from scipy.ndimage import gaussian_filter1d

    image = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    exact = image.astype(float)
    for axis in (0, 1):
        exact = gaussian_filter1d(exact, 0.1 * 60, axis=axis, mode="nearest")
    result = coded("blur", image, region="picture", strength=0.1)
    assert np.abs(result - exact).mean() < 1


@pytest.mark.parametrize(
    ("name", "option", "weak_to_strong"),
    [("blur", "strength", (0.02, 0.1, 0.4)), ("pixelate", "blocks", (32, 8, 2)), ("downscale", "factor", (1.5, 4, 16))],
)
@pytest.mark.parametrize("region", ["faces", "picture"])
def test_stronger_leaves_less_detail(name, option, weak_to_strong, region, picture):
    options = {} if name == "downscale" else {"region": region}
    results = [coded(name, picture, [FACE], **{option: value}, **options) for value in weak_to_strong]
    where = FACE if codecs.create(name, **options).uses_faces else (0, 0, 128, 96)
    errors = [np.mean((inside(result, where) - inside(picture, where)) ** 2) for result in results]
    assert 0 < errors[0] < errors[1] < errors[2]
    contrast = [inside(result, where).std((0, 1)).mean() for result in results]
    assert contrast == sorted(contrast, reverse=True)


def test_the_whole_picture_needs_no_faces(picture):
    for codec in (codecs.create("blur", region="picture"), codecs.create("downscale")):
        assert not codec.uses_faces
        assert codec.encode(picture, [FACE]) == codec.encode(picture)
    assert (coded("downscale", picture, factor=1) == picture).all()


boxes = st.tuples(st.integers(-30, 60), st.integers(-30, 60), st.integers(-3, 70), st.integers(-3, 70))


@given(
    st.sampled_from(METHODS),
    st.integers(1, 40),
    st.integers(1, 40),
    st.lists(boxes, max_size=3),
)
def test_any_size_and_any_boxes(name, height, width, faces):
    image = np.arange(height * width * 3, dtype=np.uint32).astype(np.uint8).reshape(height, width, 3)
    result = coded(name, image, faces)
    assert result.shape == image.shape
    covered = np.zeros((height, width), bool)
    for x, y, across, down in faces:
        covered[max(y, 0) : max(y + down, 0), max(x, 0) : max(x + across, 0)] = True
    np.testing.assert_array_equal(result[~covered], image[~covered])
    if name == "mask":
        assert not result[covered].any()


def test_a_face_at_the_border_is_hidden_as_strongly_as_one_inside(picture):
    """A box half outside: the blur follows the size of the face, not of the sliver that is in the picture."""
    sliver = coded("blur", picture, [(-44, 10, 48, 48)])
    whole = coded("blur", picture, [(0, 10, 4, 48)])
    detail = [np.abs(np.diff(image[10:58, :4].astype(float), axis=0)).sum() for image in (sliver, whole)]
    assert detail[0] < detail[1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("blur", {"strength": 0}, r"codec\.strength=0: blur takes a number from 0\.01 to 1"),
        ("blur", {"strength": "much"}, r"codec\.strength=much"),
        ("blur", {"region": "eyes"}, r"codec\.region=eyes: blur takes one of faces, picture"),
        ("pixelate", {"blocks": 2.5}, r"codec\.blocks=2\.5: pixelate takes a whole number from 1 to 1024"),
        ("downscale", {"factor": 0.5}, r"codec\.factor=0\.5: downscale takes a number from 1 to 1024"),
        ("mask", {"strength": 1}, r"codec\.strength=1: mask has no such option; it takes none"),
    ],
)
def test_bad_options_are_named(name, options, message):
    with pytest.raises(CodecError, match=message):
        codecs.create(name, **options)


def test_an_option_of_another_method_is_not_passed_over():
    from icm.codecs.anonymizers import Anonymizer

    with pytest.raises(CodecError, match=r"codec\.blocks=3: blur has no such option"):
        Anonymizer("blur", blocks=3)


def test_sides_that_the_format_has_no_room_for():
    with pytest.raises(CodecError, match="mask takes sides up to 16383 pixels; this image is 16384x1"):
        codecs.create("mask").encode(np.zeros((1, 16384, 3), np.uint8))


def test_a_hidden_face_costs_less(picture):
    assert payload_size(codecs.create("mask").encode(picture, [FACE])) < payload_size(
        codecs.create("mask").encode(picture)
    )
