import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import wandb
from wandb.sdk.lib.wbauth import wbnetrc

from icm.report import wandb as mirror
from icm.report.wandb_session import run_id
from icm.wandb_mode import checkpoint_artifact, default_mode

SHA256 = hashlib.sha256(b"weights").hexdigest()
ROOT = Path(__file__).resolve().parents[2]
# Refuses every connection but those of W&B's own local service, and says so on the way out.
OFFLINE_RUN = """
import socket, sys
from pathlib import Path
tried = []
connect = socket.socket.connect
def guarded(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        tried.append(address)
        raise OSError("no network in this test")
    return connect(self, address)
socket.socket.connect = guarded
from icm.evaluation.results import load_run, load_runs
from icm.report.wandb import log_run, log_sweep, print_where
config = {"codec": {"name": "vvc", "checkpoint": str(Path(sys.argv[1]) / "best.ckpt")}}
from icm.report.write import write_reports
sweep = Path(sys.argv[1])
for _ in range(2):
    print(log_run(load_run(sweep / "0"), config, project="icm", group="sweep"))
runs = load_runs(sweep)
sys.stdout, kept = sys.stderr, sys.stdout
write_reports(runs, sweep)
sys.stdout = kept
print(log_sweep(runs, sweep))
print_where(sweep)
print(tried)
"""
FAILING_RUN = """
import logging, sys, types
from pathlib import Path
logging.basicConfig()
broken = types.ModuleType("wandb")
sys.modules["wandb"] = broken
from icm.evaluation.results import load_run
from icm.report.wandb import log_run
finished = []
class Run:
    offline = True
    class summary:
        update = staticmethod(lambda values: None)
    def log(self, values):
        raise RuntimeError("refused with secret-key")
    def finish(self, exit_code):
        finished.append(exit_code)
broken.init = lambda **options: Run()
broken.Settings = lambda **options: None
broken.util = types.SimpleNamespace()
broken.Image = lambda picture: None
class Table:
    def __init__(self, columns, data=()): pass
    def add_data(self, *cells): pass
broken.Table = Table
print(log_run(load_run(Path(sys.argv[1])), {}), finished)
"""


def python(code: str, directory: Path, **environment: str) -> subprocess.CompletedProcess:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    return subprocess.run(
        [sys.executable, "-c", code, str(directory)], cwd=ROOT, env={**kept, **environment}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip


# As long as W&B's own.
TOKEN = "5ec2e7" * 6 + "abcd"


@pytest.fixture(scope="module")
def offline(synthetic, tmp_path_factory):
    """A sweep folder of two jobs after the first, twice, and the sweep were recorded, and what that printed."""
    sweep = tmp_path_factory.mktemp("a sweep")
    home = tmp_path_factory.mktemp("home")
    skipped = [{"image": "x", "reason": "damaged"}]
    (sweep / "best.ckpt").write_bytes(b"weights")
    checkpoint = {"parameters": {"rate": "mid", "checkpoint_sha256": SHA256}}
    synthetic.write(sweep / "0", skipped=skipped, **checkpoint)
    (sweep / "0" / "timings.json").write_text('{"choosing": 1.5, "coding": 20.25}', encoding="utf-8")
    images = sweep / "0" / "images.csv"
    images.write_text(images.read_text(encoding="utf-8").replace("30.000000", "inf", 1), encoding="utf-8")
    synthetic.write(sweep / "1", point={"qp": 40}, bpp=0.2, scores={"dlib": [0.5] * 4})
    synthetic.write(sweep / "2", "jpeg", {"quality": 9}, 0.25, scores={"dlib": [0.4] * 4})
    tokens = {"WANDB_API_KEY": TOKEN, "HF_TOKEN": TOKEN}
    result = python(OFFLINE_RUN, sweep, HOME=str(home), WANDB_MODE="offline", **tokens)
    return sweep, home, result.stdout.splitlines()


@pytest.fixture
def record_of(wandb_records):
    """The records of the offline run of a folder, by kind, and where its files are."""

    def read(directory):
        identity = run_id(directory)
        (folder,) = (directory / "wandb").glob(f"offline-run-*-{identity}")
        found = {}
        for record in wandb_records(directory / "wandb", identity):
            kind = record.WhichOneof("record_type")
            found.setdefault(kind, []).append(getattr(record, kind))
        return found, folder

    return read


def summary_of(records):
    items = [item for record in records["summary"] for item in record.update]
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def table_of(folder, name):
    (path,) = (folder / "files" / "media" / "table").rglob(f"{name}_*.table.json")
    return json.loads(path.read_text(encoding="utf-8"))


def test_no_token_reaches_a_log_or_a_folder(offline):
    sweep, home, printed = offline
    files = [path for folder in (sweep, home) for path in folder.rglob("*") if path.is_file()]
    assert [path.suffix for path in files].count(".wandb") == 2
    assert [str(path) for path in files if TOKEN.encode() in path.read_bytes()] == []
    assert not any(TOKEN in line for line in printed)


def test_nothing_leaves_the_machine_or_the_folder(offline):
    sweep, home, printed = offline
    assert printed[-1] == "[]"
    assert [path for path in home.rglob("*") if path.is_file() and "artifacts" in path.parts] == []
    command = f"wandb sync '{sweep}'/wandb/offline-run-* '{sweep}'/*/wandb/offline-run-*"
    assert printed[-2] == f"W&B: recorded offline in {sweep}; upload with: {command}"


def test_a_job_is_a_run_with_everything_to_review_it(offline, record_of):
    sweep, _, printed = offline
    # A second record replaces the first.
    assert printed[0] == printed[1] == run_id(sweep / "0")
    records, folder = record_of(sweep / "0")
    (run,) = records["run"]
    assert (run.job_type, run.run_group, run.display_name) == ("evaluate", "sweep", "VVC QP 37, demo")
    assert list(run.tags) == ["vvc", "demo", "faces"]
    assert (run.notes, run.git.commit) == ("vvc qp 37 on demo: 3 images; data 0123", "0123abc")
    assert records["stats"]  # of the machine
    summary = summary_of(records)
    assert (summary["bpp"], summary["cosine_similarity/dlib"], summary["skipped"]) == (0.3, pytest.approx(0.85), 1)
    assert summary["cosine_similarity/dlib/low"] < 0.85 < summary["cosine_similarity/dlib/high"]
    assert (summary["seconds/choosing"], summary["seconds/coding"]) == (1.5, 20.25)
    assert (summary["point/qp"], summary["git_commit"]) == (37, "0123abc")
    images = table_of(folder, "images")
    assert images["columns"][:3] == ["image", "width", "height"]
    assert len(images["data"]) == 3
    assert images["data"][0][images["columns"].index("psnr")] is None
    faces = table_of(folder, "faces")
    assert faces["columns"] == ["image", "face", "width", "height", "original", "coded", "cosine similarity, Dlib",
                                "calibrated similarity, Dlib"]  # fmt: skip
    assert faces["data"][0][:4] == ["a.png", 0, 40, 40]
    assert faces["data"][0][6:] == [0.9, 0.8]
    crops = [path for path in (sweep / "0" / "wandb" / "data").rglob("*") if path.is_file()]
    assert len(crops) >= 8


def test_the_result_files_are_an_artifact_and_the_checkpoint_is_what_it_was_made_from(offline, record_of):
    sweep, _, _ = offline
    records, _ = record_of(sweep / "0")
    artifacts = {record.type: record for record in records["artifact"] if record.type in ("results", "model")}
    results, model = artifacts["results"], artifacts["model"]
    assert {entry.path for entry in results.manifest.contents} == {
        "config.yaml", "faces.csv", "images.csv", "summary.json", "timings.json",
    }  # fmt: skip
    assert json.loads(results.metadata)["checkpoint_sha256"] == SHA256
    # Offline no server can be asked: the upload makes the run a user of this very version, which a training named too.
    assert (model.name, model.use_after_commit, results.use_after_commit) == ("checkpoint", True, False)
    assert f"sha256-{SHA256[:16]}" in model.aliases
    trained = checkpoint_artifact(sweep / "best.ckpt", SHA256, {"label": "of a training"})
    assert model.digest == trained.digest
    # A job of a codec without a checkpoint uses none.
    records, _ = record_of(sweep)
    assert {record.type for record in records["artifact"]} >= {"sweep"}
    assert "model" not in {record.type for record in records["artifact"]}


def test_a_sweep_is_a_run_with_its_answer_table_differences_and_report(offline, record_of):
    sweep, _, printed = offline
    assert printed[2] == run_id(sweep)
    records, folder = record_of(sweep)
    (run,) = records["run"]
    assert (run.job_type, run.run_group, run.display_name) == ("sweep", sweep.name, f"{sweep.name}: all 3 points")
    assert list(run.tags) == ["vvc", "jpeg", "demo", "faces"]
    answer = "At 0.25 bpp, JPEG protects best: calibrated similarity"
    assert run.notes.startswith(answer)
    assert summary_of(records)["answer"].startswith(answer)
    (artifact,) = (record for record in records["artifact"] if record.type == "sweep")
    assert {entry.path for entry in artifact.manifest.contents} == {"table.csv", "table.md", "report.html"}
    assert len(table_of(folder, "table")["data"]) == 3
    assert table_of(folder, "calibrated_similarity")["data"][0][:3] == [
        "JPEG quality 9",
        "VVC",
        "0.250",
    ]
    (page,) = (folder / "files" / "media" / "html").glob("report_*.html")
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert {path.name.split("_")[0] for path in (folder / "files" / "media" / "images" / "figures").iterdir()} == {
        "psnr", "calibrated", "trade",
    }  # fmt: skip


class Server:
    """What the code calls of a W&B run that is online."""

    offline = False

    def __init__(self, known: bool):
        self.known, self.used, self.summary = known, [], {}

    def use_artifact(self, name, type):
        if not self.known:
            raise wandb.errors.CommError("artifact not found")
        self.used.append((name, type))


def test_a_run_is_linked_to_the_training_of_its_checkpoint():
    digest = "0123456789abcdef" * 4
    server = Server(known=True)
    mirror.use_checkpoint(server, digest, None)
    assert server.used == [("checkpoint:sha256-0123456789abcdef", "model")]
    elsewhere = Server(known=False)
    mirror.use_checkpoint(elsewhere, digest, None)
    assert elsewhere.summary == {"checkpoint": "checkpoint:sha256-0123456789abcdef is not in this project"}


def test_failure_is_a_warning_and_the_run_is_finished(synthetic, tmp_path):
    directory = synthetic.write(tmp_path / "run")
    result = python(FAILING_RUN, directory, WANDB_API_KEY="secret-key", WANDB_MODE="offline")
    assert result.stdout.split() == ["None", "[1]"]
    assert "did not record" in result.stderr
    assert "refused with <key>" in result.stderr
    assert "secret-key" not in result.stderr


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    """A user who is not logged in."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path / "netrc"


def test_offline_unless_logged_in(nobody, monkeypatch):
    assert default_mode() == "offline"
    nobody.write_text("machine example.org login user password key\n", encoding="utf-8")
    assert default_mode() == "offline"
    # As `wandb login` writes it, for whichever host this version of wandb logs in to.
    wbnetrc.write_netrc_auth(host=wandb.Settings().base_url, api_key="k" * 40)
    assert default_mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert default_mode() == "disabled"


def test_a_key_in_the_environment_is_a_login(nobody, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "key")
    assert default_mode() == "online"


def test_id_follows_the_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_id("0") == run_id(tmp_path / "0") != run_id(tmp_path / "1")
    assert len(run_id("0")) == 16
