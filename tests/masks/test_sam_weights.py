"""Segment Anything's checkpoints."""

import pytest

from icm.masks import sam_weights
from icm.masks.sam_weights import CHECKPOINTS, CheckpointError, find_checkpoint
from icm.preflight import Problem


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ICM_CACHE", str(tmp_path / "cache"))


def test_a_missing_checkpoint_is_a_problem_with_address_and_command(tmp_path):
    problem = find_checkpoint("vit_h", tmp_path)
    assert isinstance(problem, Problem)
    assert CHECKPOINTS["vit_h"].url in problem.what
    assert str(tmp_path) in problem.what
    assert problem.remedy.endswith(f"python -m icm download sam vit_h --path {tmp_path}")
    assert find_checkpoint("vit_b").remedy.endswith("python -m icm download sam vit_b")


def test_a_checkpoint_of_another_size_is_damaged_and_the_right_size_is_found(tmp_path):
    checkpoint = CHECKPOINTS["vit_b"]
    path = tmp_path / checkpoint.file
    path.write_bytes(b"cut short")
    assert "9 bytes instead of 375042383" in find_checkpoint("vit_b", tmp_path).what
    with open(path, "wb") as file:
        file.truncate(checkpoint.size)  # sparse: takes no disk
    assert find_checkpoint("vit_b", tmp_path) == path


def test_an_unknown_model_is_refused():
    with pytest.raises(CheckpointError, match="choose from vit_b, vit_l, vit_h"):
        find_checkpoint("vit_t")


def test_fetching_asks_for_the_published_file(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(sam_weights, "download", lambda *arguments: asked.append(arguments) or arguments[1])
    path = sam_weights.fetch_checkpoint("vit_l")
    assert path == tmp_path / "cache" / "sam" / "sam_vit_l_0b3195.pth"
    url, _, sha256, size, _ = asked[0]
    assert url == "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth"
    assert sha256.startswith("3adcc431")
    assert size == 1249524607
