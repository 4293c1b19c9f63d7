"""Sweeps in other processes: what is killed costs nothing else, and what is finished is not run again."""

import errno
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hydra_plugins import icm_launchers
from hydra_plugins.icm_launchers import Planned, SubmititSlurm
from icm.jobs import SLURM, Started, missing, read_jobs
from icm.sweeps import LOST

pytest.importorskip("submitit", reason="submitit is not installed; run: make setup")
from submitit.core.utils import JobPaths

ROOT = Path(__file__).resolve().parents[1]
APP = """
import contextlib, json, os, signal, sys, time
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig
from icm.files import atomic_write
from icm.sweeps import failures_recorded

class Plan:
    def plan(self, config, folder):
        return str(config.x), (folder / "finished.json").is_file()
    def on_multirun_end(self, **arguments):
        print("REPORT")
    def __getattr__(self, name):
        return lambda **arguments: None

@hydra.main(version_base="1.3", config_path=None, config_name="app")
def main(cfg):
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / "error.txt").unlink(missing_ok=True)
    with open(folder / "ran.txt", "a") as file:
        print(cfg.x, file=file)
    if cfg.x == "killed":
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.x == "raises":
        raise ValueError("no such picture")
    if cfg.x == "full":
        with contextlib.suppress(OSError), open(folder / "fill", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with failures_recorded(folder):
            atomic_write(folder / "finished.json", "{}")
        return
    if cfg.x == "read-only":
        (folder / "finished.json").touch()
        os.system(f"mount -o remount,ro {folder.parent.parent}")
        return
    if cfg.x == "fails":
        (folder / "error.txt").write_text("no weights")
        return
    while cfg.until and not Path(cfg.until).exists():
        time.sleep(0.05)
    (folder / "finished.json").write_text("{}")

if __name__ == "__main__":
    main()
"""
CONFIG = """
defaults: [_self_, {override hydra/job_logging: stdout}]
x: a
until: null    # a job goes on when this file is there
hydra:
  sweep: {dir: sweep, subdir: "${hydra.job.num}"}
  output_subdir: null
  callbacks: {plan: {_target_: app.Plan}}
"""


class App:
    """A tiny sweep: a cell is done once its folder holds finished.json, and ran.txt has a line for each time it ran."""

    def __init__(self, folder: Path):
        self.folder, self.sweep = folder, folder / "sweep"
        (folder / "app.py").write_text(APP, encoding="utf-8")
        (folder / "app.yaml").write_text(CONFIG, encoding="utf-8")
        (folder / "hydra").mkdir()
        shutil.copytree(ROOT / "conf/hydra/launcher", folder / "hydra/launcher")

    def start(self, launcher: str, *overrides: str) -> subprocess.Popen:
        command = [sys.executable, "app.py", "--config-dir", ".", "-m", f"hydra/launcher={launcher}", *overrides]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{self.folder}"}
        # A file: jobs that outlive the command would keep a pipe open.
        with open(self.folder / "output.txt", "w") as output:
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=output, stderr=output)

    def run(self, launcher: str, *overrides: str, status: int = 0) -> str:
        code = self.start(launcher, *overrides).wait(timeout=200)
        output = (self.folder / "output.txt").read_text()
        assert code == status, output
        return output

    def take_up(self, launcher: str, options: list[str], words: str, go: Path) -> None:
        """The same command again; jobs may end once it has said ``words``."""
        process = self.start(launcher, *options)
        deadline = time.monotonic() + 100
        while words not in (output := (self.folder / "output.txt").read_text()):
            assert time.monotonic() < deadline, output
            time.sleep(0.1)
        go.touch()
        assert process.wait(timeout=200) == 0

    def times(self) -> list[int]:
        """How often each cell ran."""
        folders = sorted(path for path in self.sweep.iterdir() if path.name.isdigit())
        return [len((folder / "ran.txt").read_text().split()) for folder in folders]

    def wait_for(self, *files: str) -> None:
        deadline = time.monotonic() + 100
        while not all((self.sweep / name).exists() for name in files):
            assert time.monotonic() < deadline, f"{files} in {list(self.sweep.rglob('*'))}"
            time.sleep(0.1)


@pytest.fixture
def app(tmp_path) -> App:
    return App(tmp_path)


def test_a_killed_process_of_joblib_costs_the_others_nothing(app):
    output = app.run("joblib", "x=a,killed", "hydra.launcher.n_jobs=2")
    assert "2 jobs to run" in output
    assert missing(app.sweep) == {"1 (x=killed)": f"{LOST}its process was killed, perhaps for want of memory"}
    assert (app.sweep / "0/finished.json").is_file()


def test_a_killed_process_of_ray_costs_the_others_nothing(app):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    options = ["x=a,killed,fails,raises"]
    assert "4 jobs to run" in app.run("ray", *options)
    found = missing(app.sweep)
    assert found["1 (x=killed)"].startswith(LOST)
    assert found["2 (x=fails)"] == "no weights"
    assert "no such picture" in found["3 (x=raises)"]
    for name in ("1", "2", "3"):
        (app.sweep / name / "finished.json").touch()
    assert "0 jobs to run (4 measured already)" in app.run("ray", *options)
    assert app.times() == [1, 1, 1, 1]


def test_the_same_command_again_runs_only_what_has_no_result(app):
    options = ["x=a,fails,killed,raises,a", "hydra.launcher.cpus_per_task=1"]
    assert "4 jobs to run (1 repeat another)" in app.run("submitit_local", *options)
    found = missing(app.sweep)
    assert list(found) == ["1 (x=fails)", "2 (x=killed)", "3 (x=raises)"]
    assert found["1 (x=fails)"] == "no weights"
    assert found["2 (x=killed)"].startswith(f"{LOST}process ")
    assert "no such picture" in found["3 (x=raises)"]
    (app.sweep / "2/finished.json").touch()
    (app.sweep / "3/finished.json").touch()
    assert "1 jobs to run (3 measured already, 1 repeat another)" in app.run("submitit_local", *options)
    assert app.times() == [1, 2, 1, 1]


def test_jobs_outlive_the_command_that_started_them(app):
    go = app.folder / "go"
    options = ["x=a,b", f"until={go}", "hydra.launcher.cpus_per_task=64"]  # one after the other
    first = app.start("submitit_local", *options)
    app.wait_for("0/ran.txt")
    first.kill()
    first.wait()
    states = missing(app.sweep)
    assert states["0 (x=a)"].startswith("running: process ")
    assert states["1 (x=b)"] == f"{LOST}it was not started yet"
    # Nobody else may write into the folder of a job that runs.
    assert "of an earlier command still works in" in app.run("submitit_local", "x=c,d", f"until={go}", status=1)
    app.take_up("submitit_local", options, "goes on as process", go)
    assert missing(app.sweep) == {}
    assert app.times() == [1, 1]


def test_a_result_that_a_network_disk_does_not_show_yet_is_no_lost_job(tmp_path, unseen):
    path = JobPaths(tmp_path / "%j", "7_1").result_pickle
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(("success", None)))
    unseen(path)
    launcher = SubmititSlurm(submitit_folder=f"{tmp_path}/%j")
    assert launcher._outcome(Started("1", (), SLURM, "7_1")) == ""


def test_a_disk_that_is_away_for_a_while_ends_neither_the_command_nor_a_job(tmp_path, monkeypatch):
    launcher = SubmititSlurm(submitit_folder=f"{tmp_path}/%j")
    launcher.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    board = icm_launchers._Board(launcher, [Planned(0, tmp_path / "0", (), (), ())], [], 0, SLURM)
    board.update([Started("0", (), SLURM, "7_0")])
    away = [OSError(errno.ENOTCONN, "away")] * 5

    def outcome(self, job):
        if away:
            raise away.pop()
        return ""

    monkeypatch.setattr(SubmititSlurm, "_outcome", outcome)
    monkeypatch.setattr(SubmititSlurm, "poll_seconds", 0)
    monkeypatch.setattr(icm_launchers, "alive", lambda jobs: {})
    launcher._follow(board, [])
    assert [job.over for job in read_jobs(tmp_path)] == [True]
    assert missing(tmp_path) == {}
    # It does not come back.
    board.update([Started("0", (), SLURM, "7_0")])
    away.append(OSError(errno.ENOTCONN, "away"))
    monkeypatch.setattr(icm_launchers, "_AWAY", 0)
    with pytest.raises(SystemExit, match="away; the same command goes on"):
        launcher._follow(board, [])


def _has_slurm() -> bool:
    try:
        return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.mark.slow  # half a minute, most of it SLURM's
@pytest.mark.skipif(not _has_slurm(), reason="no SLURM answers here (sinfo)")
def test_a_sweep_on_slurm_survives_scancel_requeue_and_the_death_of_its_command(app):
    go = app.folder / "go"
    options = ["x=a,b,fails", f"until={go}", "hydra.launcher.cpus_per_task=1"]
    first = app.start("submitit_slurm", *options)
    app.wait_for("0/ran.txt", "1/ran.txt", "jobs.json")
    array = read_jobs(app.sweep)[0].id.partition("_")[0]
    subprocess.run(["scancel", f"{array}_0"], check=True)
    subprocess.run(["scontrol", "requeue", f"{array}_1"], check=True)
    first.kill()
    first.wait()
    # submitit lets a job live on at SIGTERM; SLURM kills it half a minute later.
    deadline = time.monotonic() + 100
    while missing(app.sweep)["0 (x=a)"].startswith("running") and time.monotonic() < deadline:
        time.sleep(1)
    # SLURM holds a requeued job back for minutes.
    subprocess.run(["scontrol", "update", f"jobid={array}_1", "starttime=now"], check=True)
    states = missing(app.sweep)
    assert states["0 (x=a)"] == f"{LOST}SLURM job {array}_0 ended without a result (CANCELLED)"
    assert states["1 (x=b)"].startswith(("queued: SLURM job", "running: SLURM job"))
    app.take_up("submitit_slurm", options, f"goes on as SLURM job {array}_1", go)
    assert missing(app.sweep) == {"2 (x=fails)": "no weights"}
    assert app.times()[:2] == [2, 2]
    shown = subprocess.run(["scontrol", "show", "job", "-o", f"{array}_2"], capture_output=True, text=True).stdout
    assert "JobState=FAILED" in shown


@pytest.mark.parametrize(
    ("launcher", "fault"),
    [("basic", "full"), ("basic", "read-only"), ("joblib", "read-only"), ("submitit_local", "full")],
)
def test_a_sweep_whose_disk_takes_nothing_more_ends_in_a_report_and_one_line_and_goes_on(
    app, launcher, fault, small_disk
):
    disk = small_disk(256)
    options = [*["hydra.launcher.n_jobs=1"] * (launcher == "joblib"), f"hydra.sweep.dir={disk}/sweep"]
    output = app.run(launcher, *options, f"x=a,{fault},b,c", status=1)
    assert "Traceback" not in output
    assert output.count("REPORT") == 1
    assert ("No space left on device" if fault == "full" else "Read-only file system") in output.splitlines()[-1]
    assert output.splitlines()[-1].endswith(f"the same command with hydra.sweep.dir={disk}/sweep goes on")
    subprocess.run(["mount", "-o", "remount,rw,size=8m", disk], check=True)
    app.run(launcher, *options, "x=a,d,b,c")
    for number in range(4):
        assert (disk / "sweep" / str(number) / "finished.json").is_file()
