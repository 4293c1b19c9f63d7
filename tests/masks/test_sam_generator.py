"""Segment Anything's generator, its settings and weights."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from icm.download import DownloadError
from icm.errors import UserError
from icm.images import ImageError
from icm.masks import sam_generator as module
from icm.masks.edges import MaskError
from icm.masks.instances import rasterize
from icm.masks.sam_generator import MaskGenerator, SamSettings, above, load_sam, resolve_checkpoint
from icm.preflight import PreflightError


def generator_of_discs(sam, settings):
    """The generator over a network that answers every point with discs of three sizes, scored by place and size."""
    generator = MaskGenerator(sam, settings, "cpu")
    answer_with_discs(generator._generator.predictor)
    return generator


def answer_with_discs(predictor):
    def predict(points, labels, multimask_output, return_logits):
        height, width = predictor.original_size
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        scale = width / predictor.transform.apply_coords(np.array([[width, 0.0]]), (height, width))[0, 0]
        centres = points[:, 0].float() * float(scale)
        distance = torch.hypot(x - centres[:, 0, None, None], y - centres[:, 1, None, None])
        sizes = torch.tensor([5.0, 8.0, 11.0])
        logits = 20 * (sizes[None, :, None, None] - distance[:, None])
        scores = 0.75 + 0.2 * torch.sin(centres.sum(dim=1)[:, None] * 1.7 + sizes)
        return logits, scores, None

    predictor.predict_torch = predict


def test_masks_fit_the_image_and_come_best_first(tiny_sam, make_picture):
    masks = generator_of_discs(tiny_sam, SamSettings(0.6, 5, 0.5)).generate(make_picture(50, 70))
    assert len(masks) > 10
    assert [mask.score for mask in masks] == sorted((mask.score for mask in masks), reverse=True)
    assert all(mask.score > 0.6 for mask in masks)
    for mask in masks:
        decoded = rasterize({"size": [50, 70], "counts": mask.counts}, 50, 70)
        assert decoded.shape == (50, 70)
        assert 20 < decoded.sum() < 400


@pytest.mark.parametrize("points", [3, 6, 8])
def test_one_pass_at_the_lowest_alpha_serves_every_higher_one(tiny_sam, make_picture, points):
    image = make_picture(50, 70)
    low = generator_of_discs(tiny_sam, SamSettings(0.55, points, 0.5)).generate(image)
    for alpha in (0.6, 0.7, 0.78, 0.9):
        high = generator_of_discs(tiny_sam, SamSettings(alpha, points, 0.5)).generate(image)
        assert 0 < len(high) < len(low)
        assert [mask.counts for mask in low if above(mask.score, alpha)] == [mask.counts for mask in high]


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.7, 0.78, 0.93, 1.0])
def test_alpha_compares_as_the_official_generator(tiny_sam, make_picture, alpha):
    """Every score is the alpha itself or its neighbour in single precision."""
    generator = generator_of_discs(tiny_sam, SamSettings(alpha, 4, 0.0))
    official = generator._generator.predictor.predict_torch
    near = [np.nextafter(np.float32(alpha), np.float32(side)) for side in (-1, alpha, 2)]

    def predict(*arguments, **options):
        logits, _, low = official(*arguments, **options)
        return logits, torch.tensor(near).expand(len(logits), 3), low

    generator._generator.predictor.predict_torch = predict
    found = {mask.score for mask in generator.generate(make_picture(50, 70))}
    assert found == {float(score) for score in near if above(float(score), alpha)}
    assert (float(near[0]) in found) == (alpha == 0)


@pytest.mark.parametrize(
    ("option", "value"), [("crop_n_layers", 1), ("min_mask_region_area", 120), ("min_mask_region_area", 0)]
)
def test_crops_and_cleaned_regions_give_what_the_official_generator_gives(tiny_sam, make_picture, option, value):
    from segment_anything import SamAutomaticMaskGenerator

    image = make_picture(50, 70)
    ours = generator_of_discs(tiny_sam, SamSettings(0.6, 3, 0.5, **{option: value})).generate(image)
    official = SamAutomaticMaskGenerator(
        tiny_sam, 3, pred_iou_thresh=0.6, stability_score_thresh=0.5, output_mode="coco_rle", **{option: value}
    )
    answer_with_discs(official.predictor)
    assert {mask.counts for mask in ours} == {mask["segmentation"]["counts"] for mask in official.generate(image)}
    plain = generator_of_discs(tiny_sam, SamSettings(0.6, 3, 0.5)).generate(image)
    assert ({mask.counts for mask in ours} != {mask.counts for mask in plain}) == (value > 0)


def test_the_network_itself_runs(tiny_sam, make_picture):
    masks = MaskGenerator(tiny_sam, SamSettings(0.5, 4, 0.0), "cpu").generate(make_picture(50, 70))
    assert masks
    assert rasterize({"size": [50, 70], "counts": masks[0].counts}, 50, 70).any()


def test_an_image_without_any_mask(tiny_sam, make_picture):
    settings = SamSettings(alpha=1.0, points_per_side=2)
    assert MaskGenerator(tiny_sam, settings, "cpu").generate(make_picture(40, 40)) == []


def test_an_image_that_segment_anything_cannot_take_is_named(tiny_sam):
    with pytest.raises(ImageError, match=r"image of 600x1 pixels \(.+\)"):
        MaskGenerator(tiny_sam, SamSettings(0.5, 1), "cpu").generate(np.zeros((1, 600, 3), np.uint8))


def test_large_images_take_fewer_points_at_once(tiny_sam):
    generator = MaskGenerator(tiny_sam, SamSettings(1.0, 1), "cpu")
    generator.generate(np.zeros((40, 40, 3), np.uint8))
    assert generator._generator.points_per_batch == 64
    generator.generate(np.zeros((2048, 2048, 3), np.uint8))
    assert generator._generator.points_per_batch == 16


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", -0.1),
        ("alpha", 1.2),
        ("stability", 2),
        ("box_nms", -1),
        ("points_per_side", 0),
        ("crop_n_layers", -1),
        ("crop_n_layers", 9),
        ("min_mask_region_area", -1),
    ],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(MaskError, match=rf"masks\.{name}={value}"):
        SamSettings(**{"alpha": 0.8, name: value})


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Pretend that four bytes are the published vit_b file; its place in the cache."""
    entry = SimpleNamespace(file="b.pth", sha256=hashlib.sha256(b"good").hexdigest(), size=4, url="https://x/b.pth")
    monkeypatch.setattr("icm.masks.sam_weights.CHECKPOINTS", {"vit_b": entry})
    monkeypatch.setenv("ICM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sam" / "b.pth"


def test_the_published_file_is_verified(published):
    published.parent.mkdir(parents=True)
    published.write_bytes(b"good")
    assert resolve_checkpoint("vit_b", None) == (published, hashlib.sha256(b"good").hexdigest())
    published.write_bytes(b"evil")
    with pytest.raises(MaskError, match=r"b\.pth is damaged.*icm download sam vit_b"):
        resolve_checkpoint("vit_b", None)


def test_a_missing_checkpoint_is_downloaded_or_explained(published, monkeypatch):
    def offline(model):
        raise DownloadError("no network")

    monkeypatch.setattr(module, "fetch_checkpoint", offline)
    with pytest.raises(
        PreflightError, match=r"b\.pth is missing.*could not be downloaded \(no network\).*icm download"
    ):
        resolve_checkpoint("vit_b", None)

    def fetch(model):
        published.parent.mkdir(parents=True)
        published.write_bytes(b"good")
        return published

    monkeypatch.setattr(module, "fetch_checkpoint", fetch)
    assert resolve_checkpoint("vit_b", None)[0] == published


def test_a_checkpoint_of_ones_own(tmp_path):
    file = tmp_path / "mine.pth"
    with pytest.raises(UserError, match="vit_x: choose from vit_b"):
        resolve_checkpoint("vit_x", str(file))
    with pytest.raises(PreflightError, match=r"masks\.checkpoint=.*mine\.pth is missing"):
        resolve_checkpoint("vit_b", str(file))
    file.write_bytes(b"any")
    assert resolve_checkpoint("vit_b", str(file)) == (file, hashlib.sha256(b"any").hexdigest())


def test_weights_load_without_unpickling_code(tiny_sam, tmp_path, monkeypatch):
    import segment_anything

    def build():
        from copy import deepcopy

        empty = deepcopy(tiny_sam)
        for parameter in empty.parameters():
            torch.nn.init.zeros_(parameter)
        return empty

    monkeypatch.setitem(segment_anything.sam_model_registry, "tiny", build)
    file = tmp_path / "tiny.pth"
    torch.save(tiny_sam.state_dict(), file)
    loaded = load_sam("tiny", file).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in tiny_sam.state_dict().items())
    torch.save({"pixel_mean": torch.zeros(1), "surprise": test_weights_load_without_unpickling_code}, file)
    with pytest.raises(MaskError, match=r"tiny\.pth does not hold the weights of tiny"):
        load_sam("tiny", file)
    torch.save({"other": torch.zeros(1)}, file)
    with pytest.raises(MaskError, match=r"check masks\.model"):
        load_sam("tiny", file)
