"""``logger=`` of evaluate.py: what TensorBoard reads back, and several mirrors at once."""

import subprocess
import sys
import types
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from icm.evaluation.results import load_run
from icm.report import loggers

CONF = str(Path(__file__).resolve().parents[2] / "conf")


def options(logger: str):
    with initialize_config_dir(CONF, version_base="1.3"):
        return compose("evaluate", [f"logger={logger}"])


def test_tensorflow_stays_out(tmp_path):
    """Loaded for file names only, it takes seconds, and what imports Triton afterwards crashes."""
    code = (
        "import sys; from icm.report.tensorboard import _writer; from pathlib import Path; "
        f"_writer(Path({str(tmp_path)!r})).close(); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "tensors": 0}).Reload()


def text_of(events, tag):
    (event,) = events.Tensors(f"{tag}/text_summary")
    return event.tensor_proto.string_val[0].decode()


def test_a_run_has_its_numbers_table_figures_and_crops(synthetic, tmp_path, capsys):
    run = load_run(synthetic.write(tmp_path / "run"))
    cfg = options("tensorboard")
    loggers.check_logger(cfg)
    for _ in range(2):  # a second record replaces the first
        loggers.log_run(run, cfg)
    assert f"TensorBoard: tensorboard --logdir {run.directory}" in capsys.readouterr().out
    assert len(list((run.directory / "tensorboard").iterdir())) == 1
    events = read(run.directory / "tensorboard")
    scalars = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    assert scalars["bpp"] == pytest.approx(0.3)
    assert scalars["cosine_similarity/dlib"] == pytest.approx(0.85)
    assert scalars["cosine_similarity/dlib/low"] < 0.85 < scalars["cosine_similarity/dlib/high"]
    assert "VVC QP 37" in text_of(events, "table")
    assert "- codec: vvc" in text_of(events, "run")
    images = events.Tags()["images"]
    assert [tag for tag in images if tag.startswith("faces/")] == [
        "faces/a.png/0", "faces/a.png/1", "faces/b.png/0", "faces/c.png/0",
    ]  # fmt: skip
    assert "figures/strip" in images
    crop = events.Images("faces/a.png/0")[0]
    assert (crop.width, crop.height) == (80, 40)


def test_a_sweep_has_its_answer_and_a_curve_for_every_codec(runs, tmp_path):
    loggers.log_sweep(runs, tmp_path, options("tensorboard").logger)
    events = read(tmp_path / "tensorboard")
    assert "SA-ICM protects best" in text_of(events, "answer")
    assert "figures/calibrated_similarity" in events.Tags()["images"]
    (folder,) = (tmp_path / "tensorboard").glob("*_VVC")
    curve = read(folder).Scalars("by_rate/cosine_similarity/dlib")
    assert [event.step for event in curve] == [500, 360, 270, 170]
    assert [event.value for event in curve] == pytest.approx([0.92, 0.87, 0.82, 0.72])


def test_several_loggers_all_get_the_run_with_their_own_options(runs, monkeypatch):
    calls = []

    def mirror(name):
        return types.SimpleNamespace(
            ready=lambda: calls.append((name, "ready")),
            log_run=lambda run, config, group, **rest: calls.append((name, run, group, rest)),
            log_sweep=lambda runs, directory, **rest: calls.append((name, len(runs), rest)),
            print_where=lambda directory: calls.append((name, directory)),
        )

    for name in ("wandb", "tensorboard"):
        monkeypatch.setitem(sys.modules, f"icm.report.{name}", mirror(name))
    cfg = options("[wandb,tensorboard]")
    cfg.logger.project = "faces"
    loggers.check_logger(cfg)
    loggers.log_run(runs[0], cfg, Path("outputs/a"))
    loggers.log_sweep(runs, Path("outputs/a"), cfg.logger)
    account = {"project": "faces", "entity": None}
    assert calls == [
        ("wandb", "ready"), ("tensorboard", "ready"),
        ("wandb", runs[0], "a", account), ("tensorboard", runs[0], "a", {}),
        ("wandb", 7, account), ("wandb", Path("outputs/a")),
        ("tensorboard", 7, {}), ("tensorboard", Path("outputs/a")),
    ]  # fmt: skip
    calls.clear()
    loggers.log_run(runs[0], options("csv"))
    assert calls == []
