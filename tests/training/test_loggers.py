"""Where curves are mirrored, as conf/logger says."""

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from icm.training.loggers import build_loggers
from icm.training.run_folder import RunFolder

CONF = str(Path(__file__).resolve().parents[2] / "conf")


def options(logger: str):
    with initialize_config_dir(CONF, version_base="1.3"):
        return compose("train", [f"logger={logger}"]).logger


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin({"run": "a"}, resuming=False)
    return folder


def test_files_alone_need_no_logger(folder):
    assert build_loggers(options("csv"), folder, None) == []


def test_wandb_takes_its_options_and_names_the_job_of_a_sweep(folder, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    chosen = options("wandb")
    chosen.project = "faces"
    (logger,) = build_loggers(chosen, folder, "lambdas")
    assert (logger._project, logger._name) == ("faces", "lambdas-run")
    assert (logger._wandb_init["group"], logger._wandb_init["id"]) == ("lambdas", folder.identity())


def test_several_loggers_are_one_list():
    both = options("[wandb,tensorboard]")
    assert list(both.train) == ["wandb", "tensorboard"]
    assert both.train.wandb.project == "icm"


def test_tensorboard_keeps_figures_and_pictures_in_the_run_folder(folder):
    (logger,) = build_loggers(options("tensorboard"), folder, None)
    logger.log_metrics({"val/loss": 1.0}, step=3)
    logger.log_image("validation", [np.zeros((8, 8, 3), np.uint8)], step=3, caption=["a.jpg"])
    logger.finalize("success")
    assert list((folder.directory / "tensorboard").glob("events.*"))
