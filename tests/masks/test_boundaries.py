"""Boundary-probability pictures as masks."""

import cv2
import numpy as np
import pytest

from icm.masks.boundaries import BoundaryMasks, at_least
from icm.masks.edges import MaskError
from icm.splits import Split


@pytest.fixture
def split(tmp_path):
    (tmp_path / "edges").mkdir()
    share = np.zeros((20, 30), np.uint8)
    share[5], share[10], share[15] = 51, 128, 255
    cv2.imwrite(str(tmp_path / "edges" / "a.png"), share)
    return Split(tmp_path, ".", tmp_path)


def test_the_threshold_plays_the_role_of_alpha(split):
    def rows(threshold):
        reader = BoundaryMasks(str(split.root / "edges"), threshold, dilation=1).open(split)
        return np.flatnonzero(reader.read("a.jpg", 20, 30).all(axis=1)).tolist()

    assert rows(0.2) == [5, 10, 15]
    assert rows(0.5) == [10, 15]
    assert rows(1.0) == [15]


@pytest.mark.parametrize("annotators", range(1, 9))
def test_a_share_stored_rounded_reaches_its_own_threshold(annotators):
    for drew in range(1, annotators + 1):
        assert at_least(np.array([[round(255 * drew / annotators)]], np.uint8), drew / annotators).all()
        assert not at_least(np.array([[round(255 * (drew - 1) / annotators)]], np.uint8), drew / annotators).any()


def test_only_images_with_a_picture_are_usable(split, caplog):
    reader = BoundaryMasks(str(split.root / "edges")).open(split)
    assert reader.usable(["a.jpg", "b.jpg"]) == ["a.jpg"]
    assert "1 of 2 images have no boundary picture" in caplog.text
    with pytest.raises(MaskError, match="no boundary picture"):
        reader.usable(["b.jpg"])


def test_errors_name_the_setting(split):
    with pytest.raises(MaskError, match=r"masks\.path=FOLDER"):
        BoundaryMasks().open(split)
    with pytest.raises(MaskError, match=r"masks\.path=/nowhere"):
        BoundaryMasks("/nowhere").open(split)
    for threshold in (0, 1.5):
        with pytest.raises(MaskError, match=f"masks.threshold={threshold}"):
            BoundaryMasks(str(split.root / "edges"), threshold).open(split)
    reader = BoundaryMasks(str(split.root / "edges")).open(split)
    with pytest.raises(MaskError, match=r"a\.png has 30x20 pixels, a\.jpg 31x20"):
        reader.read("a.jpg", 20, 31)
    (split.root / "edges" / "a.png").write_bytes(b"")
    with pytest.raises(MaskError, match=r"a\.png is not a readable boundary picture"):
        reader.read("a.jpg", 20, 30)
