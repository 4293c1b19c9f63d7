"""MS-SSIM, LPIPS and PSNR inside a mask."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from icm.metrics.quality import QualityError, load_lpips, lpips, ms_ssim, psnr


def by_definition(original: np.ndarray, coded: np.ndarray) -> float:
    """MS-SSIM of one channel written out with numpy and OpenCV."""
    weights, window = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333), cv2.getGaussianKernel(11, 1.5)
    x, y = original.astype(np.float64), coded.astype(np.float64)

    def smooth(values):
        return cv2.sepFilter2D(values, -1, window, window)[5:-5, 5:-5]

    product = 1.0
    for level, weight in enumerate(weights):
        mx, my = smooth(x), smooth(y)
        sx, sy, sxy = smooth(x * x) - mx * mx, smooth(y * y) - my * my, smooth(x * y) - mx * my
        contrast = (2 * sxy + 58.5225) / (sx + sy + 58.5225)
        if level == len(weights) - 1:
            contrast = contrast * (2 * mx * my + 6.5025) / (mx * mx + my * my + 6.5025)
        product *= max(contrast.mean(), 0) ** weight
        x, y = (v[: len(v) // 2 * 2] for v in (x, y))
        x, y = (0.25 * (v[::2, ::2] + v[1::2, ::2] + v[::2, 1::2] + v[1::2, 1::2]) for v in (x, y))
    return product


@pytest.fixture
def pair(make_picture, rng):
    picture = make_picture(176, 192)
    return picture, (picture + rng.normal(0, 12, picture.shape)).clip(0, 255).astype(np.uint8)


def test_ms_ssim_is_the_published_formula(pair):
    expected = np.mean([by_definition(pair[0][..., c], pair[1][..., c]) for c in range(3)])
    assert ms_ssim(*pair) == pytest.approx(expected, abs=1e-6)
    assert ms_ssim(pair[0], pair[0]) == pytest.approx(1)
    assert ms_ssim(pair[0][:160], pair[1][:160]) is None
    with pytest.raises(ValueError, match="one shape"):
        ms_ssim(pair[0], pair[1][:170])


def test_psnr_inside_a_mask_sees_nothing_else(picture):
    coded = picture.copy()
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[:, :40] = 255
    coded[:, 40:] = 0
    coded[:, :40] ^= 1
    assert psnr(picture, coded, mask) == pytest.approx(20 * np.log10(255))
    assert psnr(picture, coded, mask == 0) == psnr(picture[:, 40:], coded[:, 40:])
    assert psnr(picture, coded, mask * 0) is None
    assert psnr(picture, picture, mask) == float("inf")
    with pytest.raises(ValueError, match="does not fit"):
        psnr(picture, coded, mask[1:])


def random_features(path):
    """Write random convolutions of AlexNet in torchvision's published format; returns them as a module."""
    import torch
    from torchvision.models import alexnet

    torch.manual_seed(0)
    with torch.device("meta"):
        shapes = alexnet(weights=None).features
    features = shapes.to_empty(device="cpu")
    for parameter in features.parameters():
        torch.nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.1)
    torch.save({f"features.{name}": value for name, value in features.state_dict().items()}, path)
    return features


def test_lpips_is_the_published_formula(tmp_path, pair):
    import torch
    from torchmetrics.functional.image import lpips as torchmetrics_lpips

    features = random_features(tmp_path / "alexnet.pth")
    folder = Path(torchmetrics_lpips.__file__).with_name("lpips_models")
    linear = torch.load(folder / "alex.pth", map_location="cpu", weights_only=True)
    mean, spread = (torch.tensor(v)[:, None, None] for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))
    x, y = ((torch.from_numpy(one).permute(2, 0, 1) / 127.5 - 1 - mean)[None] / spread for one in pair)
    distance = 0.0
    with torch.inference_mode():
        for index, layer in enumerate(features.eval()):
            x, y = layer(x), layer(y)
            if isinstance(layer, torch.nn.ReLU):
                change = (torch.nn.functional.normalize(x) - torch.nn.functional.normalize(y)) ** 2
                stage = (1, 4, 7, 9, 11).index(index)
                distance += float((change * linear[f"lin{stage}.model.1.weight"][:, :, :1, :1]).sum(1).mean())
    network = load_lpips(tmp_path / "alexnet.pth")
    assert distance > 0.001
    assert lpips(*pair, network) == pytest.approx(distance, rel=1e-4)
    assert lpips(pair[0], pair[0], network) == 0
    # Where alone the pictures differ, and nowhere near it.
    half = pair[0].copy()
    half[:, :60] = pair[1][:, :60]
    left, right = np.zeros((2, 176, 192), np.uint8)
    left[:, :60], right[:, -20:] = 1, 255
    assert lpips(pair[0], half, network, left) > 10 * lpips(pair[0], half, network, right)
    assert lpips(*pair, network, np.ones_like(left)) == pytest.approx(distance, rel=0.05)
    assert lpips(*pair, network, left * 0) is None
    assert lpips(pair[0][:31], pair[1][:31], network) is None


@pytest.mark.slow
def test_lpips_is_that_of_torchmetrics(tmp_path, pair, monkeypatch):
    import torch
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity
    from torchvision.models import alexnet

    # torchmetrics has torchvision load the weights by their published name.
    path = tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    path.parent.mkdir(parents=True)
    torch.save(alexnet(weights=None).state_dict(), path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    tensors = [torch.from_numpy(one.transpose(2, 0, 1)[None].copy()).float() / 255 for one in pair]
    theirs = learned_perceptual_image_patch_similarity(*tensors, net_type="alex", normalize=True)
    assert lpips(*pair, load_lpips(path)) == pytest.approx(float(theirs), rel=1e-5)


def test_other_weights_are_refused_by_name(tmp_path):
    import torch

    with pytest.raises(QualityError, match=r"none\.pth: cannot be loaded"):
        load_lpips(tmp_path / "none.pth")
    path = tmp_path / "other.pth"
    for damage in (b"", b"no weights"):
        path.write_bytes(damage)
        with pytest.raises(QualityError, match=r"other\.pth: cannot be loaded"):
            load_lpips(path)
    torch.save({"features.0.weight": torch.zeros(1)}, path)
    with pytest.raises(QualityError, match=r"other\.pth: cannot be loaded"):
        load_lpips(path)
