"""What a Trainer is told besides its own options."""

import pytest
import torch

from icm.training.trainer import _set_matmul_precision


@pytest.fixture(autouse=True)
def arithmetic():
    """Put back what is a setting of the whole process."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.parametrize(("precision", "convolutions"), [("high", True), ("medium", True), ("highest", False)])
def test_precision_of_float32_on_a_gpu_is_set_for_products_and_convolutions_and_said(precision, convolutions, caplog):
    with caplog.at_level("INFO"):
        _set_matmul_precision(precision, "cuda")
    assert torch.get_float32_matmul_precision() == precision
    assert torch.backends.cudnn.allow_tf32 is convolutions
    assert f"matmul_precision={precision}: " in caplog.text


def test_a_cpu_is_left_alone(caplog):
    before = torch.get_float32_matmul_precision()
    with caplog.at_level("INFO"):
        _set_matmul_precision("medium", "cpu")
    assert torch.get_float32_matmul_precision() == before == "highest"
    assert not caplog.text
