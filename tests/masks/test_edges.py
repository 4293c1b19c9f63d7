"""Edges of binary masks."""

import numpy as np
import pytest

from icm.masks.edges import MaskError, dilate, mask_edge, union_of_edges, union_of_interiors


def rectangle(height, width, rows, columns):
    mask = np.zeros((height, width), np.uint8)
    mask[slice(*rows), slice(*columns)] = 1
    return mask


def test_the_edge_follows_the_outline():
    mask = rectangle(40, 50, (10, 30), (15, 40))
    edge = mask_edge(mask)
    assert edge.dtype == np.uint8
    assert set(np.unique(edge)) == {0, 1}
    assert not edge[13:27, 18:37].any(), "the inside is no edge"
    outside = np.ones_like(mask)
    outside[8:32, 13:42] = 0
    assert not edge[outside == 1].any(), "the far outside is no edge"
    # A closed line about one pixel wide: as long as the perimeter.
    assert abs(int(edge.sum()) - 2 * (20 + 25)) <= 6


@pytest.mark.parametrize(("rows", "columns"), [((0, 20), (5, 25)), ((20, 40), (30, 50)), ((0, 40), (10, 20))])
def test_no_edge_runs_along_the_border(rows, columns):
    edge = mask_edge(rectangle(40, 50, rows, columns))
    assert edge.any()
    if rows[0] == 0:
        assert not edge[0, columns[0] + 2 : columns[1] - 2].any()
    if rows[1] == 40:
        assert not edge[-1, columns[0] + 2 : columns[1] - 2].any()
    if columns[1] == 50:
        assert not edge[rows[0] + 2 : rows[1] - 2, -1].any()


def test_empty_and_full_masks_have_no_edge():
    assert not mask_edge(np.zeros((9, 9), np.uint8)).any()
    assert not mask_edge(np.ones((9, 9), bool)).any()


def test_every_small_object_has_an_edge_near_it(rng):
    for _ in range(500):
        height, width = rng.integers(1, 6, 2)
        small = np.zeros((16, 16), np.uint8)
        small[5 : 5 + height, 6 : 6 + width] = rng.random((height, width)) < 0.6
        if small.any():
            edge = mask_edge(small)
            assert edge.any(), small
            assert not edge[dilate(small, 3) == 0].any()


def test_working_on_the_part_near_the_mask_changes_nothing(rng):
    import cv2

    for _ in range(50):
        mask = np.zeros((60, 70), np.uint8)
        y, x = rng.integers(0, 50), rng.integers(0, 60)
        mask[y : y + rng.integers(4, 30), x : x + rng.integers(4, 30)] = 1
        mask &= rng.random(mask.shape) < 0.95
        np.testing.assert_array_equal(mask_edge(mask), cv2.Canny(mask * 255, 100, 200) != 0)


def test_unions(rng):
    masks = [rectangle(30, 30, (2, 12), (2, 12)), rectangle(30, 30, (8, 25), (8, 20))]
    np.testing.assert_array_equal(union_of_edges(masks, 30, 30), mask_edge(masks[0]) | mask_edge(masks[1]))
    np.testing.assert_array_equal(union_of_interiors(masks, 30, 30), masks[0] | masks[1])
    assert union_of_edges([], 4, 5).shape == (4, 5)
    assert not union_of_interiors([], 4, 5).any()
    with pytest.raises(MaskError, match="30x30 pixels does not fit an image of 20x30"):
        union_of_edges(masks, 30, 20)


def test_dilation():
    point = np.zeros((9, 9), np.uint8)
    point[4, 4] = 1
    assert dilate(point, 1).sum() == 1
    assert dilate(point, 3).sum() == 9
    assert dilate(point, 5)[2:7, 2:7].all()
    for size in (0, 2, -1):
        with pytest.raises(MaskError, match=f"masks.dilation={size}"):
            dilate(point, size)
