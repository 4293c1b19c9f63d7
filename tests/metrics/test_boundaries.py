"""The boundary F-measure."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.images import read_image
from icm.metrics.boundaries import (
    BoundaryCounts,
    boundary_counts,
    canny,
    canny_thresholds,
    match_boundaries,
)


def largest_matching(first: np.ndarray, second: np.ndarray, limit: float) -> int:
    """The largest number of pairs, by scipy: what the Berkeley benchmark counts."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    a, b = np.argwhere(first), np.argwhere(second)
    near = ((a[:, None] - b[None]) ** 2).sum(axis=2) <= limit * limit
    return int((maximum_bipartite_matching(csr_matrix(near), perm_type="column") >= 0).sum()) if near.any() else 0


def line(column: int, size=60) -> np.ndarray:
    edges = np.zeros((size, size), bool)
    edges[5:-5, column] = True
    return edges


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.02, 0.4), st.floats(0, 0.12))
def test_pairs_are_one_to_one_and_nearly_as_many_as_can_be(seed, density, tolerance):
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 20, 30)) < density
    limit = tolerance * np.hypot(20, 30)
    mine, theirs = match_boundaries(first, second, tolerance)
    assert mine.sum() == theirs.sum()
    assert not (mine & ~first).any()
    assert not (theirs & ~second).any()
    assert (mine & theirs).sum() == (first & second).sum(), "pixels in the same place are partners"
    # No pair is left to be made, so at least half of the largest number are; in practice nearly all.
    assert not largest_matching(first & ~mine, second & ~theirs, limit)
    largest = largest_matching(first, second, limit)
    assert 0.75 * largest - 2 <= mine.sum() <= largest


@pytest.mark.parametrize("shift", [0, 1, 3, 5, 6])
def test_a_shifted_line_matches_up_to_the_tolerance(shift):
    # 0.06 of the diagonal of 60 x 60 is 5.09 pixels.
    mine, theirs = match_boundaries(line(20), line(20 + shift), tolerance=0.06)
    assert mine.sum() == theirs.sum() == (50 if shift <= 5 else 0)


def test_two_lines_are_not_both_matched_by_one():
    both = line(20) | line(23)
    mine, theirs = match_boundaries(both, line(21), tolerance=0.06)
    assert (mine.sum(), theirs.sum()) == (50, 50)
    assert mine[:, 20].sum() == 50, "the nearer one is the partner"


def test_counts_give_precision_recall_and_f():
    counts = BoundaryCounts(original=100, found=60, coded=80, correct=60)
    assert (counts.recall, counts.precision) == (0.6, 0.75)
    assert counts.f_measure == pytest.approx(2 * 0.6 * 0.75 / 1.35)
    assert (counts + BoundaryCounts(100, 20, 20, 20)).precision == 0.8
    assert BoundaryCounts(10, 0, 0, 0).f_measure == 0
    assert BoundaryCounts(0, 0, 10, 0).f_measure == 0
    assert BoundaryCounts(0, 0, 0, 0).f_measure is None
    assert BoundaryCounts(0, 0, 0, 0).recall is None


def picture_of_squares(size=96) -> np.ndarray:
    picture = np.full((size, size, 3), 90, np.uint8)
    picture[16:48, 16:48] = (200, 160, 150)
    picture[60:84, 56:88] = (30, 60, 90)
    return picture


def test_a_picture_against_itself_is_perfect_and_blur_costs_edges():
    picture = picture_of_squares()
    same = boundary_counts(picture, picture)["all"]
    assert same.original > 200
    assert same.f_measure == 1
    scores = [boundary_counts(picture, cv2.GaussianBlur(picture, (0, 0), s))["all"].f_measure for s in (0.5, 3, 8)]
    assert scores[0] > scores[1] > scores[2]
    assert boundary_counts(picture, np.full_like(picture, 90))["all"].f_measure == 0


def test_inside_and_outside_are_counted_where_the_edge_lies():
    picture, lost = picture_of_squares(), picture_of_squares()
    lost[56:, 50:] = 90
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[:52, :52] = 1
    found = boundary_counts(picture, lost, mask)
    assert found["inside"].f_measure == 1
    assert found["outside"].recall == 0
    assert found["inside"] + found["outside"] == found["all"]
    # A partner may lie on the other side of the mask's border.
    moved = np.roll(picture, 1, axis=1)
    narrow = np.zeros_like(mask)
    narrow[20:44, :16] = 1
    assert boundary_counts(picture, moved, narrow, tolerance=0.02)["inside"].recall in (1, None)
    with pytest.raises(ValueError, match="sizes differ"):
        boundary_counts(picture, picture[:-1])
    with pytest.raises(ValueError, match="sizes differ"):
        boundary_counts(picture, picture, mask[1:])


def test_thresholds_are_the_originals_for_both():
    picture = picture_of_squares()
    blurred = cv2.GaussianBlur(picture, (0, 0), 6)
    thresholds = canny_thresholds(picture)
    assert canny(blurred, thresholds).sum() < 0.8 * canny(blurred, canny_thresholds(blurred)).sum()
    assert boundary_counts(picture, blurred)["all"].coded == canny(blurred, thresholds).sum()


def test_a_flat_picture_has_no_edges_however_few_pixels_are_asked_for():
    flat = np.full((40, 50, 3), 128, np.uint8)
    faint = flat.copy()
    faint[:, 25:] += 3
    clear = flat.copy()
    clear[:, 25:] += 6
    assert not canny(faint, canny_thresholds(flat)).any()
    assert canny(clear, canny_thresholds(flat)).any()


def test_jpeg_keeps_fewer_edges_the_coarser_it_is(shared_data):
    picture = read_image(shared_data / "coco_scenes" / "000000000307.jpg")
    scores = []
    for quality in (5, 20, 70):
        coded = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
        counts = boundary_counts(picture, coded)["all"]
        assert counts.found == counts.correct
        scores.append(counts.f_measure)
    assert 0.5 < scores[0] < scores[1] < scores[2] < 1
