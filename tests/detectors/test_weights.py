"""Published weight files of detectors."""

import hashlib

import pytest

from icm.detectors import weights
from icm.detectors.base import DetectorError
from icm.detectors.torchvision_detector import MODELS
from icm.detectors.weights import FILES, WeightFile
from icm.download import DownloadError


def test_addresses_are_the_ones_in_the_installed_torchvision():
    from torchvision.models import get_model_weights

    for name in MODELS:
        assert FILES[name].url == get_model_weights(name).COCO_V1.url
    assert FILES["alexnet"].url == get_model_weights("alexnet").IMAGENET1K_V1.url
    assert FILES["retinanet_resnet50_fpn_v2"].digits == "5905b1c5"
    assert {len(FILES[name].digits) for name in (*MODELS, "alexnet")} == {8}


def test_files_lie_where_torchvision_looks(torch_home, monkeypatch):
    import torch

    assert weights.folder() == torch_home / "hub" / "checkpoints"
    for variable in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
        assert str(weights.folder().parent) == torch.hub.get_dir()


@pytest.fixture
def published(torch_home, monkeypatch):
    """A made-up entry of the table, and the content its name promises."""
    content = b"weights"
    digits = hashlib.sha256(content).hexdigest()[:8]
    monkeypatch.setitem(FILES, "made_up", WeightFile(f"http://127.0.0.1:9/made_up-{digits}.pth", digits))
    return content


def deliver(monkeypatch, content: bytes) -> None:
    def download(url, path, progress):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    monkeypatch.setattr("icm.download.download", download)


def test_a_fetched_file_is_held_against_the_digits_in_its_name(published, monkeypatch):
    deliver(monkeypatch, published)
    path = weights.fetch("made_up")
    assert path == weights.path_of("made_up")
    assert path.read_bytes() == published
    assert weights.problems("made_up") == []
    assert list(path.parent.iterdir()) == [path]
    path.write_bytes(b"weights, damaged")
    assert "damaged" in weights.problems("made_up")[0].what
    assert weights.fetch("made_up").read_bytes() == published


def test_another_file_never_gets_the_name(published, monkeypatch):
    deliver(monkeypatch, b"a page of the hotel's network")
    with pytest.raises(DownloadError, match="is not the expected file"):
        weights.fetch("made_up")
    assert list(weights.folder().iterdir()) == []


def test_offline_the_address_is_named(published):
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/made_up"):
        weights.fetch("made_up", progress=False)


def test_unknown_names_list_the_known():
    with pytest.raises(DetectorError, match="choose from fasterrcnn_resnet50_fpn"):
        weights.fetch("resnet")
