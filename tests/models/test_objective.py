"""The objective's numbers by hand, on tensors small enough to do so."""

import math

import pytest
import torch

from icm.errors import UserError


@pytest.fixture
def case():
    """Two 2x2 gray images with one wrong pixel each; a mask that holds the first error and nothing of the second."""
    x = torch.zeros(2, 3, 2, 2)
    x_hat = x.clone()
    x_hat[0, :, 0, 0], x_hat[1, :, 1, 1] = 0.5, 0.25
    mask = torch.zeros(2, 1, 2, 2)
    mask[0, 0, 0, :] = 1
    output = {"x_hat": x_hat, "likelihoods": {"y": torch.full((2, 4, 1, 1), 0.25), "z": torch.full((2, 1, 1, 1), 0.5)}}
    return output, x, mask


def test_masked_numbers(case):
    from models.objective import RateDistortion

    output, x, mask = case
    result = RateDistortion(lmbda=0.02)(output, x, mask)
    bpp = 2 * (4 * 2 + 1) / 8
    masked_mse = 0.25 / 8
    assert result["bpp"].item() == pytest.approx(bpp)
    assert result["mse"].item() == pytest.approx((0.25 + 0.0625) / 8)
    assert result["masked_mse"].item() == pytest.approx(masked_mse)
    assert result["loss"].item() == pytest.approx(bpp + 0.02 * 255**2 * masked_mse)
    assert result["masked_psnr"].item() == pytest.approx(-10 * math.log10(0.25 / 2))
    assert result["psnr"].item() == pytest.approx((-10 * math.log10(0.25 / 4) - 10 * math.log10(0.0625 / 4)) / 2)
    assert result["empty_masks"].item() == 1


def test_the_region_decides_whether_the_mask_counts(case):
    from models.objective import RateDistortion

    output, x, mask = case
    edge, thing, plain = (RateDistortion(0.02, region)(output, x, mask) for region in ("edge", "object", "plain"))
    assert edge["loss"] == thing["loss"] < plain["loss"]
    assert plain["loss"] == RateDistortion(0.02)(output, x, None)["loss"]
    assert plain["masked_mse"] == plain["mse"]
    assert plain["empty_masks"] == 0


def test_padding_counts_no_distortion_in_any_region(case):
    from models.objective import RateDistortion, selectivity

    output, x, mask = case
    valid = torch.ones_like(mask)
    valid[1, 0, 1, 1] = 0  # where the only error of the second image is
    plain = RateDistortion(0.02, "plain")(output, x, mask, valid)
    assert plain["masked_mse"].item() == pytest.approx(0.25 / 8)
    assert plain["masked_psnr"].item() == plain["psnr"].item() == pytest.approx((-10 * math.log10(0.25 / 4) + 100) / 2)
    assert RateDistortion(0.02)(output, x, None, valid)["loss"] == plain["loss"]
    edge = RateDistortion(0.02, "edge", warmup=1)(output, x, mask, valid, step=0)
    assert edge["loss"] == plain["loss"]
    x_hat = output["x_hat"].clone()
    x_hat[0, :, 1, 0], valid[0, 0, 1, 1] = 0.1, 0
    inside, outside = -10 * math.log10(0.25 / 2), -10 * math.log10(0.01)
    assert selectivity(x, x_hat, mask, valid)[0].item() == pytest.approx(inside - outside, abs=1e-4)


def test_the_warm_up_ends_at_its_step(case):
    from models.objective import RateDistortion

    output, x, mask = case
    objective = RateDistortion(0.02, "edge", warmup=3)
    plain, edge = RateDistortion(0.02, "plain")(output, x), RateDistortion(0.02)(output, x, mask)
    assert [objective(output, x, mask, step=step)["loss"] for step in (0, 2, 3, None)] == [
        plain["loss"], plain["loss"], edge["loss"], edge["loss"],
    ]  # fmt: skip


def test_ms_ssim_inside_the_mask_is_that_of_the_masked_pictures():
    from pytorch_msssim import ms_ssim

    from models.objective import MS_SSIM_SIDE, RateDistortion

    torch.manual_seed(0)
    side = MS_SSIM_SIDE
    x = torch.rand(1, 3, 24, 24)
    x = torch.nn.functional.interpolate(x, size=(side, side), mode="bicubic").clamp(0, 1)
    x_hat = (x + 0.1 * torch.randn_like(x)).requires_grad_()
    mask = torch.zeros(1, 1, side, side)
    mask[..., : side // 2] = 1
    output = {"x_hat": x_hat, "likelihoods": {"y": torch.full((1, 4, 1, 1), 0.5)}}
    objective = RateDistortion(10.0, "edge", distortion="ms_ssim")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = objective(output, x, mask)
    distortion = 1 - ms_ssim(x_hat * mask, x * mask, data_range=1.0).item()
    assert 0.001 < distortion < 1 - ms_ssim(x_hat, x, data_range=1.0).item()
    assert terms["distortion"].item() == pytest.approx(distortion, rel=1e-4)
    assert terms["loss"].item() == pytest.approx(4 / side**2 + 10 * distortion, rel=1e-4)
    terms["loss"].backward()
    assert x_hat.grad[..., : side // 2].abs().max() > 0
    assert not x_hat.grad[..., side // 2 :].any()


def test_empty_masks_cost_rate_alone_and_give_no_nan(case):
    from models.objective import RateDistortion

    output, x, mask = case
    output["x_hat"] = output["x_hat"].requires_grad_()
    output["likelihoods"]["y"].requires_grad_()
    result = RateDistortion(0.02)(output, x, torch.zeros_like(mask))
    result["loss"].backward()
    assert result["loss"].item() == result["bpp"].item()
    assert result["empty_masks"] == 2
    assert result["masked_psnr"] == 0
    assert not output["x_hat"].grad.any()
    assert all(value.isfinite() for value in result.values())


def test_only_the_loss_carries_a_gradient_and_it_stays_inside_the_mask(case):
    from models.objective import RateDistortion

    output, x, mask = case
    output["x_hat"] = output["x_hat"].requires_grad_()
    result = RateDistortion(0.02)(output, x, mask.bool())
    assert [name for name, value in result.items() if value.requires_grad] == ["loss"]
    result["loss"].backward()
    assert not (output["x_hat"].grad * (1 - mask)).any()
    assert output["x_hat"].grad[0, :, 0, 0].tolist() == pytest.approx([0.02 * 255**2 * 2 * 0.5 / 24] * 3)


def test_half_precision_output_is_judged_in_float32(case):
    from models.objective import RateDistortion

    output, x, mask = case
    output["x_hat"] = output["x_hat"].bfloat16()
    assert {value.dtype for value in RateDistortion()(output, x, mask).values()} == {torch.float32}


def test_selectivity_is_psnr_inside_minus_outside(case):
    from models.objective import selectivity

    output, x, mask = case
    x_hat = output["x_hat"].clone()
    x_hat[0, :, 1, 0] = 0.1
    inside, outside = -10 * math.log10(0.25 / 2), -10 * math.log10(0.01 / 2)
    first, second = selectivity(x, x_hat, mask).tolist()
    assert first == pytest.approx(inside - outside, abs=1e-4)
    assert math.isnan(second)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"lmbda": 0}, "lmbda"),
        ({"lmbda": float("nan")}, "lmbda"),
        ({"lmbda": "x"}, "lmbda"),
        ({"region": "rim"}, "region"),
        ({"distortion": "psnr"}, "distortion"),
        ({"warmup": -1}, "warmup"),
    ],
)
def test_bad_settings_are_named(arguments, field):
    from models.objective import RateDistortion

    with pytest.raises(UserError, match=f"objective.{field}="):
        RateDistortion(**arguments)
