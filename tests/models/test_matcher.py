"""The recogniser that is trained along, what reaches the codec of it, and the runs that have one."""

import csv

import pytest
import torch

from icm.errors import UserError
from models.hyperprior import Hyperprior
from models.keep_checkpoints import Checkpoints
from models.lightning import CodecTraining
from models.matcher import FaceMatcher, face_boxes
from models.monitoring import MetricsFile
from models.objective import RateDistortion
from tests.models.fitting import batches, fit

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def faces():
    """(4, 3, 64, 64) pictures and (4, 1, 64, 64): a face each, the last has two."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, 3, 8, 8, generator=generator)
    mask = torch.zeros(4, 1, 64, 64)
    mask[:, :, 8:40, 4:28] = 1
    mask[3, :, 30:60, 40:60] = 1
    return torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bilinear"), mask


@pytest.fixture
def matcher(faces):
    """One that has learnt to tell the five faces apart."""
    x, mask = faces
    torch.manual_seed(0)
    learner = FaceMatcher(width=8, size=16)
    optimizer = torch.optim.Adam(learner.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        learner(x, x, face_boxes(mask), 1.0)["loss"].backward()
        optimizer.step()
    return learner


def with_faces(count: int = 3) -> list[dict]:
    known = batches(count, size=3)
    for batch in known:
        batch["faces"] = torch.zeros(3, 1, 64, 64)
        batch["faces"][..., 10:50, 10:50] = 1
    return known


def private(weight: float = 0.5, **options) -> CodecTraining:
    torch.manual_seed(0)
    objective = RateDistortion(0.05, "edge", identity_weight=weight)
    return CodecTraining(Hyperprior(8, 12), objective, **{"lr": 1e-3, "aux_lr": 1e-2} | options)


def test_boxes_go_around_faces_and_tiny_ones_are_left_out(faces):
    _, mask = faces
    mask[0] = 0
    mask[0, 0, 3:10, 3:10] = 1
    assert face_boxes(mask).tolist() == [
        [1, 4, 8, 28, 40],
        [2, 4, 8, 28, 40],
        [3, 4, 8, 28, 40],
        [3, 40, 30, 60, 60],
    ]


def test_it_learns_whose_face_it_is_where_faces_are_kept_and_stays_at_chance_where_none_is(faces, matcher):
    x, mask = faces
    boxes = face_boxes(mask)
    with torch.no_grad():
        kept = [matcher(x, x, boxes, 1.0)["rank1"].item() for _ in range(5)]
        gone = [matcher(x, torch.full_like(x, 0.5), boxes, 1.0)["rank1"].item() for _ in range(5)]
    assert sum(kept) / 5 > 0.8
    assert sum(gone) / 5 < 0.3  # chance: 1 of 5


def test_the_codec_gets_the_recognisers_gradient_turned_round_inside_faces_alone(faces, matcher):
    x, mask = faces
    gradients = []
    for weight in (1.0, 2.0):
        x_hat = (x + 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))).requires_grad_()
        torch.manual_seed(1)
        matcher.zero_grad()
        found = matcher(x, x_hat, face_boxes(mask), weight)
        found["loss"].backward()
        gradients.append(x_hat.grad)
        assert all(parameter.grad is not None for parameter in matcher.parameters())
    assert found["loss"].item() < torch.log(torch.tensor(5.0))
    assert gradients[0].abs().sum() > 0
    assert torch.allclose(gradients[1], 2 * gradients[0])
    assert not (gradients[0] * (1 - torch.nn.functional.max_pool2d(mask, 5, 1, 2))).any()
    # A small step down the codec's gradient makes the recogniser's task harder.
    with torch.no_grad():
        torch.manual_seed(1)
        harder = matcher(x, x_hat - 0.1 * gradients[1] / gradients[1].norm(), face_boxes(mask), 1.0)["loss"]
    assert harder > found["loss"]


def test_nothing_reaches_the_codec_once_the_recogniser_is_at_chance(faces, matcher):
    x, mask = faces
    x_hat = x.roll(1, 0).requires_grad_()  # every face another's
    found = matcher(x, x_hat, face_boxes(mask), 1.0)
    found["loss"].backward()
    assert found["loss"].item() > torch.log(torch.tensor(5.0))
    assert not x_hat.grad.any()
    assert all(parameter.grad.any() for parameter in matcher.parameters())


def test_a_single_face_has_nothing_to_be_told_from(faces, matcher):
    x, mask = faces
    found = matcher(x[:1], x[:1], face_boxes(mask[:1]), 1.0)
    assert found.keys() == {"loss"}
    assert found["loss"].item() == 0
    found["loss"].backward()
    assert all(parameter.grad is not None for parameter in matcher.parameters())


def test_training_has_it_in_a_group_of_its_own_logs_it_and_goes_on_with_it(tmp_path):
    curves = MetricsFile(tmp_path / "metrics.csv")
    curves.begin()
    module = private()
    assert len(module.configure_optimizers().param_groups) == 3
    fit(module, with_faces(), logger=curves, callbacks=[Checkpoints(tmp_path, every_n_steps=1)])
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert all(float(row["train/matcher_loss"]) > 0 and row["train/matcher_rank1"] for row in rows if row["train/loss"])
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert any(name.startswith("matcher.") for name in state)
    resumed = fit(private(), with_faces(), ckpt_path=tmp_path / "last.ckpt", max_epochs=2)
    assert resumed.global_step == 6
    with pytest.raises(UserError, match=r"with a recogniser along.*init_from"):
        fit(private(weight=0.0), with_faces(), ckpt_path=tmp_path / "last.ckpt", max_epochs=2)


def test_the_network_learns_otherwise_with_it_and_the_same_with_a_weight_that_is_next_to_nothing():
    weights = []
    for weight in (0.0, 1e-12, 5.0):
        module = private(weight=weight)
        fit(module, with_faces())
        weights.append(torch.cat([parameter.detach().flatten() for parameter in module.network.parameters()]))
    assert torch.allclose(weights[0], weights[1], atol=1e-6)
    assert not torch.allclose(weights[0], weights[2], atol=1e-4)
