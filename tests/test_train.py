"""train.py as it is typed, and the function behind it."""

import csv
import hashlib
import json
import math
import multiprocessing
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

import train
from icm.errors import UserError
from icm.wandb_mode import print_where

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(train.__file__).resolve().parent
GROUPS = ("network", "objective", "masks", "data", "trainer", "logger", "debug")
STEPS_AN_EPOCH = 4


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


@pytest.fixture(scope="module")
def coco(tmp_path_factory) -> Path:
    """A COCO folder of eight training and two validation images."""
    from datamodules.demo_coco import make_demo

    return make_demo(tmp_path_factory.mktemp("data") / "coco", {"train2017": 8, "val2017": 2})


@pytest.fixture
def small(coco) -> list[str]:
    """Options of a run of a few seconds."""
    return [
        "data=coco", f"data.path={coco}", "data.workers=0", "data.crop=64", "data.val_crop=64", "data.batch_size=2",
        "network.N=8", "network.M=12", "trainer.accelerator=cpu", "logger=csv", "trainer.max_epochs=2",
        "trainer.log_every_n_steps=1",
    ]  # fmt: skip


def compose(*overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return hydra.compose("train", overrides=list(overrides))


def environment(**changes: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "PL_"))}
    return {**kept, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", **changes}


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *arguments]


def run(folder: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(**changes), capture_output=True, text=True, timeout=120
    )


def test_help_is_quick_and_lists_every_option(help_of):
    text, modules = help_of("train.py")
    assert not {"torch", "pytorch_lightning", "wandb", "numpy", "cv2"} & modules
    for group in GROUPS:
        line = next(line for line in text.splitlines() if line.startswith(f"{group}: "))
        assert set(line.partition(": ")[2].split(", ")) >= set(options(group))
    assert "embedder" not in text
    for example in ("trainer.devices=4", "objective.lmbda=0.02,", "run=NAME", "init_from="):
        assert example in text
    # Where COCO is named, it is the recipe that is trained on it, and the whole recipe stands first.
    named = [line for line in text.splitlines() if "data.path=COCO" in line]
    assert all("experiment=sa_icm" in line for line in named)
    assert "python train.py experiment=sa_icm data.path=COCO trainer.devices=4" in named[0]


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in GROUPS for name in options(group)])
def test_every_option_composes_and_builds(group, name, coco):
    overrides = [f"{group}={name}", "trainer.accelerator=cpu", "+trainer.logger=false"]
    if group == "data" and name != "demo":
        overrides += [f"data.path={coco}", "masks=none"]
    cfg = compose(*overrides)
    OmegaConf.to_container(cfg, resolve=True)
    for part in ("objective", "data", "trainer"):
        assert hydra.utils.instantiate(cfg[part]) is not None
    if group != "network":
        return
    network = hydra.utils.instantiate(cfg.network)
    assert network.multiple in (16, 64, 128)


def test_the_published_recipe_composes():
    cfg = compose("experiment=sa_icm", "data.path=COCO", "trainer.devices=4")
    assert cfg.network._target_ == "models.tcm.TCM"
    assert (cfg.network.N, cfg.objective.lmbda, cfg.masks.alpha, cfg.data.crop, cfg.data.batch_size) == (
        128, 0.05, 0.78, 256, 8,
    )  # fmt: skip
    assert (cfg.optimizer.lr, cfg.optimizer.aux_lr, list(cfg.optimizer.milestones)) == (1e-4, 1e-3, [45, 48])
    assert (cfg.trainer.max_epochs, cfg.trainer.gradient_clip_val, cfg.trainer.devices) == (50, 1.0, 4)
    assert (cfg.trainer.gradient_clip_algorithm, cfg.matmul_precision) == ("norm", "high")


@pytest.mark.parametrize("masks", options("masks"))
def test_the_recipe_takes_any_masks(masks):
    cfg = compose("experiment=sa_icm", f"masks={masks}", "data.path=COCO")
    assert hydra.utils.instantiate(cfg.masks) is not None


def test_coco_is_found_by_the_environment(monkeypatch):
    monkeypatch.setenv("COCO", "/disk/COCO")
    assert compose("experiment=sa_icm").data.path == "/disk/COCO"
    assert compose("experiment=sa_icm", "data.path=/other").data.path == "/other"
    monkeypatch.delenv("COCO")
    assert compose("experiment=sa_icm").data.path is None


def test_the_first_line_says_what_is_trained_and_how_the_recipe_is_called(small, coco):
    from icm.training.summary import first_line

    def line(cfg, **options) -> str:
        network, objective = (hydra.utils.instantiate(cfg[part]) for part in ("network", "objective"))
        return first_line(cfg, network, objective, options)

    recipe = "not the SA-ICM recipe; that is: python train.py experiment=sa_icm data.path=COCO trainer.devices=4"
    default = {"network": "hyperprior", "objective": "edge", "masks": "annotations", "data": "demo"}
    assert line(compose(), **default) == (
        "training Hyperprior (1.8 M parameters), objective edge, masks annotations, 64 demo images: a trial, " + recipe
    )
    assert line(compose(*small), **default | {"data": "coco"}).endswith(f"masks annotations, coco {coco}: {recipe}")
    named = line(compose("experiment=small_edge", "data.path=D"), **default | {"experiment": "small_edge"})
    assert named.startswith("training GatedHyperprior (2.3 M parameters), objective edge, ")
    assert "recipe" not in named


def test_a_key_of_another_option_is_told_before_anything_is_imported(tmp_path):
    wrong = run(tmp_path, "data.path=COCO")
    assert wrong.returncode == 1
    assert re.fullmatch(
        r"train.py: data.path=COCO: data=demo has no path; add data=NAME, one of .*coco.*", wrong.stderr.strip()
    )


def test_the_commands_of_the_documentation_compose():
    text = (ROOT / "docs" / "reproducing_the_paper.md").read_text().replace("\\\n", " ").replace("$l", "0.05")
    commands = [line for line in text.splitlines() if "train.py " in line and "experiment=" in line]
    lines = [shlex.split(line.partition("train.py ")[2], comments=True) for line in commands]
    assert len(lines) == 6
    for words in lines:
        # A swept value is not a value of one job.
        overrides = [word.partition(",")[0] for word in words if word not in ("-m", ";")]
        assert compose(*overrides).masks.model == "vit_h"


def test_a_run_leaves_its_files_and_a_checkpoint_that_codes(small, tmp_path):
    from models.checkpoint import load_network

    training = train.train(compose(*small, "optimizer.ema_decay=0.9"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.ckpt", "config.yaml", "last.ckpt", "metrics.csv", "run.json", "summary.json",
    ]  # fmt: skip
    assert training.checkpoint == tmp_path / "best.ckpt"
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary == training.summary
    assert (summary["steps"], summary["epochs"], training.resumed_step) == (2 * STEPS_AN_EPOCH, 2, 0)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    losses = [float(row["val/loss"]) for row in rows if row["val/loss"]]
    assert summary["validation"]["loss"] == pytest.approx(min(losses), rel=1e-4)
    assert OmegaConf.load(tmp_path / "config.yaml").objective.lmbda == 0.05

    network = load_network(training.checkpoint)
    state = torch.load(training.checkpoint, weights_only=True)["state_dict"]
    assert torch.equal(network.g_a[0].weight, state["ema.g_a.0.weight"])
    image = torch.rand(1, 3, 64, 64)
    coded = network.compress(image)
    assert network.decompress(coded["strings"], coded["shape"])["x_hat"].shape == image.shape

    with pytest.raises(UserError, match="holds a finished run"):
        train.train(compose(*small, "optimizer.ema_decay=0.9"), tmp_path)
    longer = [*small, "optimizer.ema_decay=0.9", "trainer.max_epochs=3"]
    with pytest.raises(UserError, match=r"trainer.max_epochs: 2 -> 3"):
        train.train(compose(*longer), tmp_path)
    continued = train.train(compose(*longer, "existing=continue"), tmp_path)
    assert (continued.resumed_step, continued.summary["steps"]) == (2 * STEPS_AN_EPOCH, 3 * STEPS_AN_EPOCH)
    assert continued.summary["validation"]["loss"] <= summary["validation"]["loss"]


def test_a_checkpoint_that_does_not_fit_is_refused_before_anything_is_written(small, tmp_path):
    first = train.train(compose(*small, "trainer.max_epochs=1"), tmp_path / "first")
    weights = tmp_path / "weights.pth.tar"
    torch.save({"state_dict": torch.load(first.checkpoint, weights_only=True)["state_dict"]}, weights)
    (tmp_path / "torn.ckpt").write_bytes(first.checkpoint.read_bytes()[:1000])
    for path, message in (
        (tmp_path / "none.ckpt", r"none.ckpt: no such file"),
        (weights, r"weights.pth.tar: not one that train.py can go on from"),
        (tmp_path / "torn.ckpt", r"torn.ckpt: damaged, truncated"),
    ):
        with pytest.raises(UserError, match=message):
            train.train(compose(*small, f"ckpt_path={path}"), tmp_path / "second")
    with pytest.raises(UserError, match=r"holds network .*'N': 8.*not .*'N': 16"):
        train.train(compose(*small, f"ckpt_path={first.checkpoint}", "network.N=16"), tmp_path / "second")
    assert not (tmp_path / "second").exists()
    # A larger lambda makes every loss larger than the first run's best: the new run has a best of its own all the same.
    options = [*small, f"ckpt_path={first.checkpoint}", "objective.lmbda=50"]
    second = train.train(compose(*options), tmp_path / "second")
    assert (second.resumed_step, second.summary["steps"]) == (STEPS_AN_EPOCH, 2 * STEPS_AN_EPOCH)
    assert second.checkpoint.is_file()
    assert second.summary["validation"]["loss"] > first.summary["validation"]["loss"]


def test_a_training_starts_from_weights_of_any_format_and_records_it(small, tmp_path):
    from models.checkpoint import load_network, save_published, save_safetensors

    first = train.train(compose(*small, "debug=fdr"), tmp_path / "first")
    network = load_network(first.checkpoint)
    sources = (
        first.checkpoint,
        save_published(network, tmp_path / "weights.pth.tar"),
        save_safetensors(network, tmp_path / "weights.safetensors"),
    )
    for number, source in enumerate(sources):
        options = [*small, f"init_from={source}", "objective=plain", "objective.lmbda=0.01", "debug=fdr"]
        # A step too small to move a weight: what is kept is what was started from.
        tuned = train.train(compose(*options, "optimizer.lr=1e-30", "optimizer.aux_lr=1e-30"), tmp_path / str(number))
        assert (tuned.resumed_step, tuned.summary["steps"]) == (0, 1)
        expected = dict(load_network(source).named_parameters())
        for name, value in load_network(tuned.checkpoint).named_parameters():
            torch.testing.assert_close(value, expected[name], msg=name)
        record = json.loads((tmp_path / str(number) / "run.json").read_text())["init_from"]
        assert record == tuned.summary["init_from"] == {"path": str(source), "loaded": len(expected), "left": []}
    assert first.summary["init_from"] is None


def test_weights_that_fit_in_part_are_taken_and_the_rest_is_named(small, tmp_path, caplog):
    first = train.train(compose(*small, "debug=fdr"), tmp_path / "first")
    gated = [option for option in small if not option.startswith("network")]
    gated += ["network=gated_hyperprior", "network.N=8", "network.M=12", "network.gate=8", "debug=fdr"]
    with caplog.at_level("WARNING"):
        tuned = train.train(compose(*gated, f"init_from={first.checkpoint}"), tmp_path / "gated")
    left = tuned.summary["init_from"]["left"]
    assert left
    assert all(name.startswith("gate.") for name in left)
    assert f"{len(left)} stay as initialised: gate.down.0.0.weight, " in caplog.text
    # An interrupted run goes on from its own checkpoint, not from the weights again.
    again = train.train(
        compose(*gated, f"init_from={first.checkpoint}", "trainer.max_steps=2", "existing=continue"), tmp_path / "gated"
    )
    assert (again.resumed_step, again.summary["init_from"]) == (1, tuned.summary["init_from"])

    for options, message in (
        (
            [f"init_from={first.checkpoint}", "network=tcm_tiny", "data.crop=128", "data.val_crop=128"],
            r"does not fit TCM",
        ),
        ([f"init_from={first.checkpoint}", f"ckpt_path={first.checkpoint}"], r"ckpt_path=.* init_from=.*: choose one"),
        (["init_from=absent.pth.tar"], r"init_from=absent.pth.tar: no such file"),
    ):
        sizes = ["network.N=8", "network.M=12"] if "network=tcm_tiny" not in options else []
        kept = [option for option in small if not option.startswith(("network", "data.crop", "data.val_crop"))]
        crops = ["data.crop=64", "data.val_crop=64"] if sizes else []
        with pytest.raises(UserError, match=message):
            train.train(compose(*kept, *crops, *sizes, *options), tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def real_bpp(checkpoint: Path, coco: Path) -> float:
    """Mean rate of the whole validation pictures in real bits."""
    from icm.codecs.base import payload_size
    from icm.codecs.learned import LearnedCodec
    from icm.images import list_images, read_image
    from icm.metrics.rate import bits_per_pixel

    codec = LearnedCodec("learned", checkpoint)
    images = [read_image(path) for path in list_images(coco / "val2017")]
    rates = [bits_per_pixel(payload_size(codec.encode(image)), *image.shape[:2]) for image in images]
    return sum(rates) / len(rates)


def test_validations_within_an_epoch_and_a_last_step_within_one(small, coco, tmp_path):
    options = [
        "trainer.val_check_interval=2",
        "trainer.max_steps=7",
        "trainer.max_epochs=-1",
        "validation.bitstreams=9",
    ]
    training = train.train(compose(*small, *options), tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    losses = {int(row["step"]): float(row["val/loss"]) for row in rows if row["val/loss"]}
    assert list(losses) == [2, 4, 6, 7]
    best = min(losses, key=losses.get)
    assert training.summary["validation"]["step"] == best
    assert training.summary["validation"]["loss"] == pytest.approx(losses[best], rel=1e-4)
    assert torch.load(training.checkpoint, weights_only=True)["global_step"] == best
    # The figures of the best checkpoint are those of the bits that it codes both validation pictures to.
    assert all(float(row["val/real_bpp"]) > float(row["val/estimated_bpp"]) > 0 for row in rows if row["val/loss"])
    assert training.summary["validation"]["real_bpp"] == pytest.approx(real_bpp(training.checkpoint, coco), rel=1e-4)
    with pytest.raises(UserError, match=r"trainer.val_check_interval=5: .*must be less than or equal"):
        train.train(compose(*small, "trainer.val_check_interval=5"), tmp_path / "longer")


@pytest.mark.parametrize(
    "network", [["network=hyperprior"], ["network=tcm_tiny", "data.crop=128", "data.val_crop=128"]]
)
def test_dry_run_finds_a_gradient_for_every_parameter(network, small, tmp_path):
    kept = [option for option in small if not option.startswith(("network", "trainer.max_epochs"))]
    training = train.train(compose(*kept, *network, "debug=fdr", "trainer.gradient_clip_algorithm=value"), tmp_path)
    assert training.summary["steps"] == 1
    assert math.isfinite(training.summary["validation"]["loss"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objective.lmbda=-1", r"objective.lmbda=-1: must be a number above 0"),
        ("data.path=/nowhere", r"data.path=/nowhere: no such folder"),
        ("trainer.precision=half", r"trainer: .*half"),
        ("existing=maybe", r"existing=maybe: choose from"),
        ("data.crop=100", r"data.crop=100: Hyperprior takes multiples of 64"),
        ("data.val_crop=96", r"data.val_crop=96: Hyperprior takes multiples of 64"),
        ("objective.region=object", r"objective=object counts the insides of objects.* masks=objects"),
        ("optimizer.lr=-1", r"optimizer.lr=-1: use"),
        ("optimizer.aux_lr=0", r"optimizer.aux_lr=0: use"),
        ("optimizer.ema_decay=1.5", r"optimizer.ema_decay=1.5: use"),
        ("checkpoints.every_n_steps=0", r"checkpoints.every_n_steps=0: use 1 or more"),
        ("matmul_precision=low", r"matmul_precision=low: choose from highest, high, medium"),
        ("trainer.gradient_clip_algorithm=sum", r"trainer: .*sum"),
        ("objective.distortion=ms_ssim", r"data.crop=64: objective.distortion=ms_ssim takes 161 pixels or more"),
        ("objective.warmup=-5", r"objective.warmup=-5: must be"),
        ("+objective.identity_weight=-1", r"objective.identity_weight=-1: must be a number, 0 or above"),
        ("objective=private", r"objective.identity_weight=5: needs data that knows faces; use data=scenes"),
        ("validation.bitstreams=true", r"validation.bitstreams=True: use a number of pictures"),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(override, message, small, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        train.train(compose(*small, override), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments", [["hydra.run.dir=file/run"], ["-m", "hydra.sweep.dir=file/run", "objective.lmbda=0.01,0.02"]]
)
def test_a_folder_that_cannot_be_made_is_one_line_before_anything_else(arguments, tmp_path):
    (tmp_path / "file").touch()  # no permission bits: they do not stop root
    done = run(tmp_path, *arguments)
    assert done.returncode == 1
    assert re.fullmatch(
        r"train\.py: .*/file/run: no results can be written there \(Not a directory\); name another folder\n",
        done.stderr,
    )
    assert os.listdir(tmp_path) == ["file"]


def test_objective_object_brings_its_masks_and_runs_are_called_by_the_pixels_that_counted(small, tmp_path):
    labels = {
        (): "Hyperprior edge lambda 0.05",
        ("objective=object",): "Hyperprior object lambda 0.05",
        ("masks=objects",): "Hyperprior object lambda 0.05",
        ("masks=none",): "Hyperprior plain lambda 0.05",
        ("objective=plain",): "Hyperprior plain lambda 0.05",
    }
    for number, (options, label) in enumerate(labels.items()):
        training = train.train(compose(*small, *options, "debug=fdr"), tmp_path / str(number))
        assert training.summary["label"] == label
        # Strict JSON: without pixels outside the mask there is no selectivity.
        summary = json.loads((tmp_path / str(number) / "summary.json").read_text(), parse_constant=pytest.fail)
        assert ("selectivity" in summary["validation"]) == (options != ("masks=none",))


def test_a_run_that_has_nothing_left_to_train_says_so_and_stays_finished(small, tmp_path):
    first = train.train(compose(*small, "trainer.max_epochs=1"), tmp_path / "first")
    summary = (tmp_path / "first" / "summary.json").read_bytes()
    for options, folder in ((["existing=continue"], "first"), ([f"ckpt_path={first.checkpoint}"], "second")):
        with pytest.raises(UserError, match=r"nothing to train: step 4 is already at trainer.max_epochs=1"):
            train.train(compose(*small, "trainer.max_epochs=1", *options), tmp_path / folder)
    assert (tmp_path / "first" / "summary.json").read_bytes() == summary
    # Killed after the last step and before the summary.
    (tmp_path / "first" / "summary.json").unlink()
    assert train.train(compose(*small, "trainer.max_epochs=1"), tmp_path / "first").summary["steps"] == 4
    assert not (tmp_path / "second" / "summary.json").exists()


def test_diverged_training_is_an_error_and_keeps_what_was_good(small, tmp_path):
    good = train.train(compose(*small, "trainer.max_epochs=1"), tmp_path)
    with pytest.raises(UserError, match=r"training diverged: .*saved up to step 4 stays"):
        train.train(compose(*small, "existing=continue", "optimizer.lr=1e30"), tmp_path)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == good.summary["steps"]
    assert not (tmp_path / "summary.json").exists()


def test_averaging_and_both_learning_rates_may_change_in_a_run_that_goes_on(small, tmp_path):
    train.train(compose(*small, "trainer.max_epochs=1"), tmp_path)
    for epochs, decay in ((2, "0.9"), (3, "null")):
        options = [f"trainer.max_epochs={epochs}", f"optimizer.ema_decay={decay}", "optimizer.aux_lr=1e-5"]
        train.train(compose(*small, "existing=continue", *options), tmp_path)
        last = torch.load(tmp_path / "last.ckpt", weights_only=True)
        assert any(name.startswith("ema.") for name in last["state_dict"]) == (decay != "null")
        assert [group["lr"] for group in last["optimizer_states"][0]["param_groups"]] == [1e-3, 1e-5]


def test_an_interrupted_run_names_the_step_it_goes_on_from(small, tmp_path, monkeypatch, capsys):
    train.train(compose(*small, "trainer.max_epochs=1"), tmp_path)

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("models.lightning.CodecTraining.training_step", interrupt)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train.train(compose(*small, "existing=continue"), tmp_path)
    assert f"hydra.run.dir={tmp_path} with the same options goes on from step 4" in capsys.readouterr().out


def test_slurms_signal_saves_requeues_and_the_run_goes_on_at_the_next_step(small, tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "scontrol"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho $* >> {tmp_path}/asked\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    for name, value in (("JOB_ID", "47"), ("ARRAY_JOB_ID", "45"), ("ARRAY_TASK_ID", "2")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    from models.last_step import LastStep

    def signalled(callback, trainer, *args):
        if trainer.global_step == 2:
            os.kill(os.getpid(), signal.SIGUSR1)

    handler = signal.getsignal(signal.SIGUSR1)
    monkeypatch.setattr(LastStep, "on_train_batch_end", signalled)
    folder = tmp_path / "run"
    with pytest.raises(SystemExit) as stop:
        train.train(compose(*small), folder)
    assert stop.value.code == 0
    assert (tmp_path / "asked").read_text() == "requeue 45_2\n"
    assert not (folder / "summary.json").exists()
    assert signal.getsignal(signal.SIGUSR1) is handler
    monkeypatch.undo()
    assert train.train(compose(*small), folder).resumed_step == 2
    steps = [int(row["step"]) for row in csv.DictReader((folder / "metrics.csv").open()) if row["train/loss"]]
    assert steps == list(range(1, 2 * STEPS_AN_EPOCH + 1))


def test_slurms_signal_before_the_first_step_is_heeded_after_it(small, tmp_path):
    """Importing and reading the data take their time."""
    run = tmp_path / "run.py"
    run.write_text(
        "import os, runpy, signal, sys\n"
        "import icm.training.trainer\n"
        "build = icm.training.trainer.build_trainer\n"
        "def signalled(*arguments):\n"
        "    os.kill(os.getpid(), signal.SIGUSR1)\n"
        "    return build(*arguments)\n"
        "icm.training.trainer.build_trainer = signalled\n"
        f"runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')\n"
    )
    tool = tmp_path / "scontrol"
    tool.write_text(f"#!/bin/sh\necho $* > {tmp_path}/asked\n")
    tool.chmod(0o755)
    folder = tmp_path / "run"
    slurm = {"SLURM_JOB_ID": "47", "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(run), *small, f"hydra.run.dir={folder}"],
        cwd=tmp_path, env=environment(**slurm), capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "asked").read_text() == "requeue 47\n"
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 1


def test_a_run_stopped_within_an_epoch_goes_on_as_if_it_had_not_been(small, tmp_path, monkeypatch):
    """The same samples, the same noise, the same figures; here after step 6 of 8."""
    from models.last_step import LastStep

    class KilledError(Exception):
        pass

    def kill(callback, trainer, *args):
        if trainer.global_step == 6:
            raise KilledError

    options = [*small, "checkpoints.every_n_steps=1"]
    train.train(compose(*options), tmp_path / "whole")
    monkeypatch.setattr(LastStep, "on_train_batch_start", kill)
    with pytest.raises(KilledError):
        train.train(compose(*options), tmp_path / "stopped")
    monkeypatch.undo()
    assert train.train(compose(*options), tmp_path / "stopped").resumed_step == 6
    whole, stopped = (list(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in ("whole", "stopped"))
    for row in (*whole, *stopped):
        row.pop("train/images_per_second")
    assert stopped == whole
    ours, theirs = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "stopped"))
    assert all(torch.equal(value, theirs["state_dict"][name]) for name, value in ours["state_dict"].items())


@pytest.mark.parametrize("workers", [0, 1])
def test_sigterm_ends_a_training_at_its_step_with_status_143(workers, small, tmp_path, monkeypatch, capsys):
    """As clusters send it: to the processes that load pictures, too."""
    from models.last_step import LastStep

    def terminated(callback, trainer, *args):
        if trainer.global_step == 3:
            pids = [
                str(process.pid) for process in (*multiprocessing.active_children(), multiprocessing.current_process())
            ]
            subprocess.run(["kill", "-TERM", *pids], check=True)
            time.sleep(0.5 * workers)

    monkeypatch.setattr(LastStep, "on_train_batch_start", terminated)
    with pytest.raises(SystemExit) as ended:
        train.train(compose(*small, f"data.workers={workers}"), tmp_path)
    assert ended.value.code == 143
    assert "goes on from step 4" in capsys.readouterr().out
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 4


def test_a_worker_that_is_killed_ends_the_training_in_one_line_and_it_goes_on(small, tmp_path, monkeypatch):
    """As the kernel kills a process for want of memory."""
    import datamodules.coco

    read, tries = datamodules.coco.read_image, tmp_path / "tries"
    tries.touch()

    def killed_at_the_sixth(path):
        with tries.open("ab") as file:
            file.write(b".")
        if tries.stat().st_size == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(path)

    monkeypatch.setattr(datamodules.coco, "read_image", killed_at_the_sixth)
    options = [*small, "data.workers=1", "checkpoints.every_n_steps=1"]
    with pytest.raises(UserError, match=r"^data\.workers=1: a process that loads pictures was killed \(") as caught:
        train.train(compose(*options), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert "the same command goes on from the last checkpoint" in str(caught.value)
    assert train.train(compose(*options), tmp_path / "run").summary["steps"] == 2 * STEPS_AN_EPOCH


def test_processes_that_cannot_start_are_one_line(small, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")  # without /dev/shm

    processes = torch.utils.data.dataloader._MultiProcessingDataLoaderIter
    monkeypatch.setattr(processes, "__init__", refuse)
    monkeypatch.setattr(processes, "_shutdown", True, raising=False)  # what was not begun has nothing to end
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(UserError, match=r"^data\.workers=1: no process .*Read-only.*/dev/shm.*data\.workers=0$"):
        train.train(compose(*small, "data.workers=1"), tmp_path / "run")
    assert signal.getsignal(signal.SIGTERM) is handler


def test_killed_training_resumes_from_its_last_checkpoint_and_says_so(small, tmp_path, caplog):
    # A stand-in that leaves a trace when it is imported: logger=csv must do without wandb.
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "wandb.py").write_text("open('wandb_was_imported', 'w').close()\n")
    path = os.pathsep.join([str(tmp_path / "path"), str(ROOT)])
    epochs = 30
    arguments = [*small, "run=night", f"trainer.max_epochs={epochs}", "checkpoints.every_n_steps=3"]
    folder = tmp_path / "outputs" / "train" / "night"
    process = subprocess.Popen(
        command(*arguments), cwd=tmp_path, env=environment(PYTHONPATH=path),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 200
    while not (folder / "best.ckpt").is_file() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed_at = torch.load(folder / "last.ckpt", weights_only=True)["global_step"]
    assert 0 < killed_at < epochs * STEPS_AN_EPOCH
    assert not (folder / "summary.json").exists()

    with pytest.raises(UserError, match=r"objective.lmbda: 0.05 -> 0.01"):
        train.train(compose(*arguments, "objective.lmbda=0.01"), folder)
    with caplog.at_level("INFO"):
        done = train.train(compose(*arguments), folder)
    assert f"resumed from step {killed_at} of {folder / 'last.ckpt'}" in caplog.text
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["steps"], summary["resumed_step"]) == (epochs * STEPS_AN_EPOCH, killed_at)
    assert done.resumed_step == killed_at
    last = torch.load(folder / "last.ckpt", weights_only=True)
    assert {int(state["step"]) for state in last["optimizer_states"][0]["state"].values()} == {summary["steps"]}
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    losses = {int(row["step"]): float(row["val/loss"]) for row in rows if row["val/loss"]}
    assert sorted(losses) == list(range(STEPS_AN_EPOCH, summary["steps"] + 1, STEPS_AN_EPOCH))
    assert summary["validation"]["loss"] == pytest.approx(min(losses.values()), rel=1e-4)
    assert not (tmp_path / "wandb_was_imported").exists()


def test_two_cpu_processes_share_one_folder_that_one_of_them_writes(small, coco, tmp_path):
    done = run(tmp_path, *small, "trainer.devices=2", "validation.bitstreams=2")
    assert done.returncode == 0, done.stderr[-2000:]
    (folder,) = (tmp_path / "outputs" / "train").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.ckpt", "config.yaml", "last.ckpt", "metrics.csv", "run.json", "summary.json",
    ]  # fmt: skip
    # Half of the batches each, one of the two pictures that are coded to real bits, and one set of rows.
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == STEPS_AN_EPOCH
    assert summary["validation"]["real_bpp"] == pytest.approx(real_bpp(folder / "best.ckpt", coco), rel=1e-4)
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [row["step"] for row in rows if row["train/loss"]] == ["1", "2", "3", "4"]
    assert done.stdout.startswith("training Hyperprior (0.0 M parameters), objective edge, masks annotations, coco ")
    assert done.stdout.count("measure it:") == 1


def test_a_sweep_in_several_processes_is_refused_at_once(small, tmp_path):
    done = run(tmp_path, "-m", *small, "objective.lmbda=0.02,0.03", "trainer.devices=2")
    assert done.returncode == 1
    assert "train.py: -m with trainer.devices=2" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_sweep_trains_every_job_reports_the_failed_one_and_repeats_nothing(small, tmp_path):
    folder = tmp_path / "outputs" / "train" / "sweep"
    arguments = [*small, "run=sweep", "trainer.max_epochs=1"]
    trained = train.train(compose(*arguments, "objective.lmbda=0.02"), folder / "0").checkpoint
    stamp = trained.stat().st_mtime_ns
    done = run(tmp_path, "-m", *arguments, "objective.lmbda=0.02,-1,0.05")
    assert done.returncode == 1
    assert "job 1 failed: objective.lmbda=-1" in done.stderr
    assert f"{folder / '0'} is already trained: not repeated" in done.stdout
    assert trained.stat().st_mtime_ns == stamp
    assert OmegaConf.load(folder / "2" / "config.yaml").objective.lmbda == 0.05
    for job, lmbda in ((0, 0.02), (2, 0.05)):
        assert f"lambda {lmbda:g}: {folder / str(job) / 'best.ckpt'}" in done.stdout


def test_wandb_stays_offline_keeps_its_files_in_the_run_folder_and_its_id(
    small, tmp_path, monkeypatch, wandb_records, capsys
):
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    short = [option for option in small if not option.startswith("network")]
    short += ["network=gated_hyperprior", "network.N=8", "network.M=12", "network.gate=8", "validation.bitstreams=1"]
    short += ["logger=wandb", "data.batch_size=8"]
    folder = tmp_path / "a"
    train.train(compose(*short), folder)
    (record,) = (folder / "wandb").glob("offline-run-*")
    pictures = sorted(path.name for path in record.rglob("*.png"))
    assert len(pictures) == 4
    print_where(folder)
    line = f"W&B: recorded offline in {folder}; upload with: wandb sync {folder}/wandb/offline-run-*"
    assert line in capsys.readouterr().out

    records = wandb_records(folder / "wandb")
    (begun,) = (record.run for record in records if record.HasField("run"))
    assert (begun.job_type, begun.display_name) == ("train", "a: GatedHyperprior, edge, lambda 0.05, CocoEdges coco")
    assert list(begun.tags) == ["GatedHyperprior", "edge", "lambda 0.05", "CocoEdges coco"]
    assert begun.git.commit == json.loads((folder / "run.json").read_text())["git_commit"].removesuffix("-dirty")
    assert any(record.HasField("stats") for record in records)  # of the machine
    logged = {".".join(item.nested_key) for record in records for item in record.history.item}
    # Everything that metrics.csv has, and nothing that it has not; here nobody knows faces.
    columns = (folder / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {name for name in logged if "/" in name and not name.startswith("trainer/")} == {*columns[3:]} - {
        "train/gate_in_faces", "train/matcher_loss", "train/matcher_rank1",
    }  # fmt: skip
    best, last = (record.artifact for record in records if record.HasField("artifact"))
    for artifact, path in ((best, folder / "best.ckpt"), (last, folder / "last.ckpt")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert (artifact.name, artifact.type) == ("checkpoint", "model")
        assert set(artifact.aliases) == {path.stem, f"sha256-{digest[:16]}", "latest"}
        card = json.loads(artifact.metadata)
        assert (card["sha256"], card["objective"]["lmbda"], card["validation"]["step"] > 0) == (digest, 0.05, True)
        assert [(entry.path, entry.local_path) for entry in artifact.manifest.contents] == [("model.ckpt", str(path))]

    train.train(compose(*short, "existing=continue", "trainer.max_epochs=3"), folder)
    records = list((folder / "wandb").glob("offline-run-*"))
    assert len(records) == 2
    assert len({path.name.rsplit("-", 1)[1] for path in records}) == 1


@pytest.mark.parametrize("folder", ["/tmp/plain-1", "/tmp/a b", "/tmp/lambda=1", '/tmp/it\'s, (so) {it} "is"'])
def test_the_line_that_measures_a_checkpoint_reaches_hydra_as_it_was_meant(folder):
    line = train.evaluate_line(Path(folder) / "best.ckpt", "edge")
    words = shlex.split(line)
    assert words[:3] == ["python", "evaluate.py", "codec=sa_icm"]
    override = OverridesParser.create().parse_override(words[3])
    assert override.key_or_group == "codec.checkpoint"
    assert OmegaConf.create({"path": override.value()}).path == f"{folder}/best.ckpt"
    assert "codec=learned" in train.evaluate_line(Path(folder) / "best.ckpt", "plain")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_default_run_ends_with_a_line_that_measures_its_checkpoint(tmp_path):
    done = run(tmp_path, "logger=csv", "trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr[-2000:]
    words = shlex.split(done.stdout.partition("measure it:")[2].strip())
    assert words[:2] == ["python", "evaluate.py"]
    measured = subprocess.run(
        [sys.executable, str(ROOT / "evaluate.py"), *words[2:], "logger=csv", "hydra.run.dir=measured"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert measured.returncode == 0, measured.stderr[-2000:]
    summary = json.loads((tmp_path / "measured" / "summary.json").read_text())
    assert summary["codec"] == "sa_icm"
    assert summary["bpp"] > 0
