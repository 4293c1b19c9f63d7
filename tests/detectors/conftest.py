"""Detectors with random weights in torchvision's published format."""

import pytest


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    """A torch home of the test's own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch"


@pytest.fixture
def random_weights(torch_home):
    """The function ``random_weights(model)``: writes a state dict under its published name and returns its path."""
    from icm.detectors import weights

    def write(model: str):
        import torch

        path = weights.path_of(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(random_state(model), path)
        return path

    return write


def random_state(model: str) -> dict:
    """Random weights under which a detector finds a few objects, quickly.

    Class 1 is made likely; anchors are left as they are, so that those that overlap are dropped; and small variances
    show whether batch normalisation has the epsilon it was trained with.
    """
    import torch
    from torchvision.models import detection

    with torch.device("meta"):
        shapes = getattr(detection, model)(weights=None, weights_backbone=None).state_dict()
    generator = torch.Generator().manual_seed(1)
    state = {}
    for name, value in shapes.items():
        layer, _, kind = name.rpartition(".")
        if f"{layer}.running_var" in shapes:
            if kind in ("running_mean", "bias"):
                state[name] = torch.zeros(value.shape)
            elif kind != "num_batches_tracked":
                state[name] = torch.full(value.shape, {"running_var": 1e-4, "weight": 1e-2}[kind])
        elif value.ndim < 2:
            state[name] = torch.full(value.shape, 1.0 if kind == "weight" else 0.0)
        else:
            spread = (3 / value[0].numel()) ** 0.5
            state[name] = torch.empty(value.shape).uniform_(-spread, spread, generator=generator)
    for name in state:
        if "bbox_pred.weight" in name or "bbox_reg.weight" in name or "cls_score.weight" in name:
            state[name] *= 0.1
        if name.endswith("cls_score.bias"):
            state[name][1] = 6.0
        if name.endswith("bbox_reg.bias") and model.startswith("fcos"):
            state[name][:] = 3.0  # distances to the sides of a box, where others have changes of an anchor
        if name.endswith("cls_logits.bias"):
            state[name][:] = -8.0
            state[name][1::91] = 1.0
    return state
