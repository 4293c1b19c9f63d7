"""The training step, its two parameter groups, schedule, average, curves and checkpoints."""

import csv
import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from datamodules.coco import CocoEdges
from datamodules.demo_coco import make_demo
from icm.errors import UserError
from icm.masks.annotations import AnnotationMasks
from models.hyperprior import Hyperprior
from models.keep_checkpoints import Checkpoints
from models.lightning import CodecTraining
from models.monitoring import GradientCheck, MetricsFile, Progress
from models.objective import RateDistortion, masked_psnr, selectivity
from tests.models.fitting import Spy, batches, fit, training

pytestmark = pytest.mark.usefixtures("one_thread")
SCRIPT = Path(__file__).with_name("ddp_steps.py")
LOOP = Path(__file__).resolve().parents[1] / "data" / "published_loop.json"


def test_quantiles_have_a_group_of_their_own_and_each_loss_reaches_its_group_alone():
    module = training()
    network, quantiles = module.configure_optimizers().param_groups
    assert (network["lr"], quantiles["lr"]) == (1e-3, 1e-2)
    assert [q is module.network.entropy_bottleneck.quantiles for q in quantiles["params"]] == [True]
    assert len(network["params"]) == len(list(module.network.parameters())) - 1

    batch = batches(1)[0]
    module.objective(module.network(batch["image"]), batch["image"], batch["mask"])["loss"].backward()
    assert module.network.entropy_bottleneck.quantiles.grad is None
    assert all(p.grad is not None for p in network["params"])
    module.zero_grad()
    module.network.aux_loss().backward()
    assert module.network.entropy_bottleneck.quantiles.grad is not None
    assert all(p.grad is None for p in network["params"])


def test_clipping_leaves_the_quantiles_gradient_alone():
    module = training()
    optimizer = module.configure_optimizers()
    for parameter in module.network.parameters():
        parameter.grad = torch.full_like(parameter, 10.0)
    module.configure_gradient_clipping(optimizer, 1.0)
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in optimizer.param_groups[0]["params"]))
    assert norm == pytest.approx(1, rel=1e-4)
    assert (module.network.entropy_bottleneck.quantiles.grad == 10).all()


def test_clipping_by_value_is_by_value():
    module = training()
    optimizer = module.configure_optimizers()
    for parameter in module.network.parameters():
        parameter.grad = torch.linspace(-10, 10, parameter.numel()).reshape(parameter.shape)
    module.configure_gradient_clipping(optimizer, 0.5, "value")
    weight = module.network.g_a[0].weight.grad
    assert (weight.min(), weight.max()) == (-0.5, 0.5)
    assert weight.abs().median() == 0.5
    assert module.network.entropy_bottleneck.quantiles.grad.max() == 10


def weights_by_formula(network: torch.nn.Module) -> None:
    """Weights that hang on names and shapes alone."""
    state = network.state_dict()
    rng = np.random.RandomState(3)
    for name, value in sorted(state.items()):
        if name.startswith(("g_a.", "g_s.", "h_a.", "h_s.")) and name.endswith(".weight") and value.ndim == 4:
            scale = 0.5 / math.prod(value.shape[1:]) ** 0.5 * (20 if name in ("g_a.6.weight", "h_a.4.weight") else 1)
            state[name] = torch.from_numpy((rng.standard_normal(tuple(value.shape)) * scale).astype(np.float32))
    rng = np.random.RandomState(4)
    for name, value in sorted(state.items()):
        if name.startswith("entropy_bottleneck.biases"):
            state[name] = torch.from_numpy(rng.uniform(-0.5, 0.5, tuple(value.shape)).astype(np.float32))
    network.load_state_dict(state)


def batch_by_formula(step: int) -> dict:
    rng = np.random.RandomState(100 + step)
    coarse = torch.from_numpy(rng.uniform(0, 1, (2, 3, 8, 8)).astype(np.float32))
    image = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bilinear", align_corners=False)
    mask = torch.from_numpy((rng.uniform(0, 1, (2, 1, 64, 64)) < 0.2).astype(np.float32))
    return {"image": image, "mask": mask, "name": ["a", "b"]}


def test_steps_are_those_of_the_published_loop(tmp_path, monkeypatch):
    """Recorded from CompressAI's own MeanScaleHyperprior under SA-ICM's and LIC-TCM's loop: two Adams, the masked loss,
    the gradient's norm clipped at 1, the auxiliary loss in a backward pass of its own; noise of the same seed. (That
    loop takes the auxiliary loss after the network's step, this one before it: the quantiles hardly notice.)"""
    record = json.loads(LOOP.read_text())
    module = training()
    seed = module.on_train_batch_start
    # That loop seeds its noise once.
    monkeypatch.setattr(module, "on_train_batch_start", lambda batch, index: None if index else seed(batch, index))
    weights_by_formula(module.network)
    curves = MetricsFile(tmp_path / "metrics.csv")
    curves.begin()
    steps = [batch_by_formula(step) for step in range(len(record["steps"]))]
    fit(module, steps, logger=curves, gradient_clip_val=1.0)
    rows = [row for row in csv.DictReader((tmp_path / "metrics.csv").open()) if row["train/loss"]]
    assert len(rows) == len(record["steps"])
    for row, expected in zip(rows, record["steps"], strict=True):
        for name, value in expected.items():
            assert float(row[f"train/{name}"]) == pytest.approx(value, rel=1e-3), name
    parameters = dict(module.network.named_parameters())
    for name, norm in record["norms"].items():
        assert parameters[name].detach().norm().item() == pytest.approx(norm, rel=1e-4), name


def test_learning_rate_falls_at_milestones_in_epochs_also_after_a_restart(tmp_path):
    spy = Spy()
    fit(training(milestones=[1, 3]), callbacks=[spy, Checkpoints(tmp_path, 100)], max_epochs=2)
    assert spy.rates == pytest.approx([1e-3] * 3 + [1e-4] * 3)
    spy = Spy()
    trainer = fit(
        training(milestones=[1, 3]),
        callbacks=[spy, Checkpoints(tmp_path, 100)],
        max_epochs=4,
        ckpt_path=tmp_path / "last.ckpt",
    )
    assert spy.rates == pytest.approx([1e-4] * 3 + [1e-5] * 3)
    assert trainer.optimizers[0].param_groups[1]["lr"] == 1e-2
    assert trainer.global_step == 12


def test_average_follows_the_weights_and_is_what_is_validated_and_stored(tmp_path):
    module = training(ema_decay=0.999)
    start = module.network.g_a[0].weight.detach().clone()
    fit(module, batches(1), batches(1), callbacks=[Checkpoints(tmp_path, 100)])
    # At the first step the decay is (1 + 0) / (10 + 0).
    expected = start * 0.1 + module.network.g_a[0].weight * 0.9
    torch.testing.assert_close(module.ema.g_a[0].weight, expected)
    assert module.coder is module.ema
    stored = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    torch.testing.assert_close(stored["ema.g_a.0.weight"], expected)
    assert {f"ema.{name}" for name in module.network.state_dict()} <= set(stored)


def test_half_precision_training_keeps_likelihoods_in_float32():
    seen = []

    class Objective(RateDistortion):
        def __call__(self, output, *arguments):
            seen.append((output["x_hat"].dtype, {v.dtype for v in output["likelihoods"].values()}))
            return super().__call__(output, *arguments)

    module = CodecTraining(Hyperprior(8, 12), Objective(0.05, "edge"), lr=1e-3, aux_lr=1e-3)
    fit(module, batches(1), precision="bf16-mixed")
    assert seen == [(torch.bfloat16, {torch.float32})]
    assert all(p.isfinite().all() and p.dtype == torch.float32 for p in module.network.parameters())


def test_the_auxiliary_loss_is_computed_in_float32_under_autocast():
    network = Hyperprior(8, 12)
    expected = network.aux_loss()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network.aux_loss()
    assert found.item() == expected.item()


def test_the_warm_up_counts_every_pixel_and_validation_never_does():
    seen = []

    class Objective(RateDistortion):
        def __call__(self, *arguments, **options):
            terms = super().__call__(*arguments, **options)
            seen.append((terms["masked_mse"] / terms["mse"]).item())
            return terms

    module = CodecTraining(Hyperprior(8, 12), Objective(0.05, "edge", warmup=2), lr=1e-3, aux_lr=1e-3)
    fit(module, batches(3), batches(1), val_check_interval=1)
    trained, validated = seen[::2], seen[1::2]
    assert trained[:2] == pytest.approx([1, 1], rel=1e-5)
    assert max(trained[2], *validated) < 0.5


def test_images_without_edges_are_counted_and_never_make_nan():
    module = training()
    empty, filled = batches(1, filled=False), batches(1)
    trainer = fit(module, empty, [*empty, *filled])
    assert all(p.isfinite().all() for p in module.network.parameters())
    assert trainer.callback_metrics["train/empty_masks"] == 2
    figures = {name: float(trainer.callback_metrics[f"val/{name}"]) for name in ("masked_psnr", "selectivity", "psnr")}
    assert trainer.callback_metrics["val/empty_masks"] == 2
    module.eval()
    with torch.no_grad():
        x, mask = filled[0]["image"], filled[0]["mask"]
        x_hat = module.network(x)["x_hat"]
    assert figures["masked_psnr"] == pytest.approx(float(masked_psnr(x, x_hat, mask).mean()), abs=1e-3)
    assert figures["selectivity"] == pytest.approx(float(selectivity(x, x_hat, mask).mean()), abs=1e-3)
    assert math.isfinite(figures["psnr"])


def test_curves_are_a_row_per_step_and_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path):
    path = tmp_path / "metrics.csv"
    curves = MetricsFile(path)
    curves.begin()
    fit(training(), batches(4), batches(1), logger=curves)
    rows = list(csv.DictReader(path.open()))
    trained = [row for row in rows if row["train/loss"]]
    assert [row["step"] for row in trained] == ["1", "2", "3", "4"]
    for row in trained:
        expected = float(row["train/bpp"]) + 0.05 * 255**2 * float(row["train/masked_mse"])
        assert float(row["train/loss"]) == pytest.approx(expected, rel=1e-3)
    assert [row["step"] for row in rows if row["val/loss"]] == ["4"]
    # A kill can leave half a row.
    with path.open("a") as file:
        file.write("5,0,0.00")
    MetricsFile(path, resume_step=2).begin()
    assert [row["step"] for row in csv.DictReader(path.open())] == ["1", "2"]
    MetricsFile(path).begin()
    assert list(csv.DictReader(path.open())) == []


def test_progress_logs_the_gradient_before_it_is_clipped_and_the_speed():
    module, norms = training(), []

    class Norms(pl.Callback):
        def on_after_backward(self, trainer, module):
            gradients = [p.grad for name, p in module.network.named_parameters() if not name.endswith("quantiles")]
            norms.append(math.sqrt(sum(float(g.double().square().sum()) for g in gradients if g is not None)))

    trainer = fit(module, batches(3), callbacks=[Norms(), Progress()], gradient_clip_val=1e-3)
    assert float(trainer.callback_metrics["train/gradient_norm"]) == pytest.approx(norms[-1], rel=1e-4)
    assert norms[-1] > 1e-3
    assert 0 < float(trainer.callback_metrics["train/images_per_second"]) < 1e4


def test_the_terms_of_the_rate_and_what_masks_cover_are_logged():
    module = training()
    trainer = fit(module, [{**batch, "mask": batch["mask"] * 0} for batch in batches(1)])
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert found["train/bpp_y"] + found["train/bpp_z"] == pytest.approx(found["train/bpp"], rel=1e-5)
    assert found["train/mask_coverage"] == 0
    assert "train/gate_coverage" not in found


def test_gradient_check_names_a_parameter_that_is_not_used():
    module = training()
    fit(module, batches(1), callbacks=[GradientCheck()])
    module = training()
    module.network.spare = torch.nn.Conv2d(3, 3, 1)
    with pytest.raises(UserError, match=r"2 of \d+ .*network.spare.weight, network.spare.bias"):
        fit(module, batches(1), callbacks=[GradientCheck()])


def test_two_processes_take_the_steps_of_one_with_the_joined_batch(tmp_path):
    command = [sys.executable, str(SCRIPT), str(tmp_path / "two.pt"), "2"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=250, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    two = torch.load(tmp_path / "two.pt", weights_only=True)
    spec = importlib.util.spec_from_file_location("ddp_steps", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    one = script.steps(tmp_path / "one.pt", devices=1, batch=4)
    assert one["steps"] == two["steps"] == 10
    for name, value in one["state"].items():
        torch.testing.assert_close(two["state"][name], value, rtol=0, atol=1e-5, msg=name)
    # What the generator of noise gives differs between the processes.
    first, second = two["draws"]
    assert not torch.equal(first, second)


def test_edge_objective_spends_its_bits_inside_the_mask(tmp_path):
    data = CocoEdges(
        str(make_demo(tmp_path / "demo", {"train2017": 1, "val2017": 8})),
        AnnotationMasks(),
        crop=128,
        val_crop=128,
        workers=0,
    )
    data.setup()
    samples = sorted((data.val_set[i] for i in range(8)), key=lambda sample: -float(sample["mask"].mean()))[:2]
    batch = {name: torch.stack([sample[name] for sample in samples]) for name in ("image", "mask")}
    x, mask = batch["image"], batch["mask"]

    def overfit(region: str, lmbda: float) -> tuple[float, float]:
        """bpp and selectivity after 120 steps on the two images."""
        torch.manual_seed(0)
        module = CodecTraining(
            Hyperprior(24, 32), RateDistortion(lmbda, region), lr=3e-3, aux_lr=1e-3, milestones=[1]
        )  # fmt: skip
        fit(module, [batch] * 60, max_epochs=2, gradient_clip_val=1.0)
        module.eval()
        with torch.no_grad():
            output = module.network(x)
        return float(module.objective(output, x, mask)["bpp"]), float(selectivity(x, output["x_hat"], mask).mean())

    edge_bpp, edge = overfit("edge", 0.05)
    plain_bpp, plain = overfit("plain", 0.0015)
    print(f"edge {edge_bpp:.3f} bpp {edge:+.1f} dB, plain {plain_bpp:.3f} bpp {plain:+.1f} dB")
    assert 0.7 < edge_bpp / plain_bpp < 1.4
    assert edge - plain >= 5
