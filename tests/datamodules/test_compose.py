"""Composition of pictures with exact outlines."""

import numpy as np
import pytest

from datamodules.compose import (
    Canvas,
    colour_change,
    fit,
    fit_edges,
    label_outlines,
    random_outline,
    random_window,
    soften,
)


def canvas(height=30, width=40):
    return Canvas(np.zeros((height, width, 3), np.uint8))


def opaque(height, width):
    return np.full((height, width), 255, np.uint8)


def red(height, width):
    return np.full((height, width, 3), (200, 0, 0), np.uint8)


def test_a_cut_out_covers_what_is_below():
    picture = canvas()
    picture.paste(red(10, 12), opaque(10, 12), 5, 6)
    inside = np.zeros((30, 40), bool)
    inside[5:15, 6:18] = True
    np.testing.assert_array_equal(picture.pixels[..., 0] == 200, inside)
    np.testing.assert_array_equal(picture.labels == 1, inside)


def test_only_visible_outlines_count():
    picture = canvas()
    picture.paste(red(6, 6), opaque(6, 6), 10, 10)
    picture.paste(red(20, 20), opaque(20, 20), 5, 5)
    np.testing.assert_array_equal(np.unique(picture.labels), [0, 2])
    expected = canvas()
    expected.paste(red(20, 20), opaque(20, 20), 5, 5)
    np.testing.assert_array_equal(picture.outlines(), expected.outlines())


@pytest.mark.parametrize("place", [(-4, -4), (25, 35), (-4, 36), (0, 0)])
def test_cut_outs_may_leave_the_picture(place):
    picture = canvas()
    picture.paste(red(10, 10), opaque(10, 10), *place)
    y, x = np.mgrid[0:30, 0:40]
    inside = (y >= place[0]) & (y < place[0] + 10) & (x >= place[1]) & (x < place[1] + 10)
    np.testing.assert_array_equal(picture.labels == 1, inside)
    picture.paste(red(10, 10), opaque(10, 10), 40, 50)
    assert picture.count == 1


def test_soft_outlines_mix_and_the_outline_runs_at_one_half():
    picture = canvas()
    alpha = np.zeros((3, 4), np.uint8)
    alpha[:, 1], alpha[:, 2] = 100, 130
    picture.paste(red(3, 4), alpha, 10, 10)
    assert picture.pixels[10, 10:14, 0].tolist() == [0, round(200 * 100 / 255), round(200 * 130 / 255), 0]
    assert picture.labels[10, 10:14].tolist() == [0, 0, 1, 0]


def test_known_edges_are_hidden_and_brought_along():
    background = np.zeros((30, 40), np.uint8)
    background[:, 10] = 1
    picture = Canvas(np.zeros((30, 40, 3), np.uint8), background)
    own = np.zeros((10, 10), np.uint8)
    own[5] = 1
    picture.paste(red(10, 10), opaque(10, 10), 0, 5, own)
    assert not picture.own_edges[:5, 10].any()
    assert picture.own_edges[5, 5:15].all()
    assert picture.own_edges[10:, 10].all()
    picture.paste(red(10, 10), opaque(10, 10), 0, 5)
    assert not picture.own_edges[:10].any()


def test_label_outlines_by_hand():
    labels = np.array([[1, 1, 2], [1, 1, 2], [3, 3, 3]], np.int32)
    assert label_outlines(labels).tolist() == [[0, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert not label_outlines(np.ones((4, 4), np.int32)).any()


def test_outlines_are_closed_and_of_unit_size(rng):
    for _ in range(100):
        outline = random_outline(rng)
        assert len(outline) >= 3
        assert np.isclose(np.linalg.norm(outline, axis=1).max(), 1)


def test_colour_changes_are_gentle_and_optional(rng):
    identity = colour_change(rng, 0)
    assert identity.shape == (1, 256, 3)
    np.testing.assert_array_equal(identity[0], np.repeat(np.arange(256)[:, None], 3, axis=1))
    for _ in range(50):
        table = colour_change(rng, 1.0)[0].astype(int)
        assert (np.diff(table, axis=0) >= 0).all(), "brighter stays brighter"
        assert table.max() - table.min() > 60


def test_windows_have_the_wanted_shape_and_magnification(rng):
    for _ in range(300):
        rows, columns = random_window(rng, 321, 481, 192, 96, 0.6, 1.3)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        assert 0 <= rows.start <= rows.stop <= 321
        assert 0 <= columns.start <= columns.stop <= 481
        assert abs(height / width - 2) < 0.05
        assert 0.59 < 192 / height < 1.32
    rows, columns = random_window(rng, 50, 60, 100, 90, 0.5, 1.0)
    assert (rows, columns) == (slice(0, 50), slice(columns.start, columns.start + 45))


@pytest.mark.parametrize("size", [(60, 80), (45, 59), (31, 40), (100, 133)])
def test_edges_stay_whole_and_thin_when_resized(size):
    edges = np.zeros((60, 80), np.uint8)
    edges[20], edges[:, 33] = 1, 1
    np.fill_diagonal(edges, 1)
    resized = fit_edges(edges, *size)
    assert resized.shape == size
    assert resized.any(axis=1).all()
    assert resized.any(axis=0).all()
    assert resized.mean() < 2.5 * edges.mean() * max(1, 60 / size[0])
    assert fit(np.zeros((60, 80, 3), np.uint8), *size).shape == (*size, 3)


def test_softening_is_one_pixel_wide():
    mask = np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 1
    alpha = soften(mask)
    assert (alpha[6:14, 6:14] == 255).all()
    assert not alpha[:4].any()
    assert 0 < alpha[4, 10] < 128 < alpha[5, 10] < 255
