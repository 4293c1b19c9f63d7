import os
import subprocess
import sys
from pathlib import Path

import pytest
import wandb
from wandb.sdk.lib.wbauth import wbnetrc

from icm.report import wandb as mirror
from icm.wandb_mode import default_mode

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
from icm.evaluation.results import load_run
from icm.report.wandb import log_run
for _ in range(2):
    print(log_run(load_run(Path(sys.argv[1])), {"codec": {"name": "vvc"}}, project="icm", group="sweep"))
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
    class summary:
        update = staticmethod(lambda values: None)
    def log(self, values):
        raise RuntimeError("refused with secret-key")
    def finish(self, exit_code):
        finished.append(exit_code)
broken.init = lambda **options: Run()
broken.Settings = lambda **options: None
broken.Image = lambda picture: None
class Table:
    def __init__(self, columns): pass
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


def test_offline_run_is_written_once_without_network(synthetic, tmp_path):
    directory = synthetic.write(tmp_path / "run", skipped=[{"image": "x", "reason": "damaged"}])
    home = tmp_path / "home"
    home.mkdir()
    result = python(OFFLINE_RUN, directory, HOME=str(home), WANDB_MODE="offline")
    identity = mirror.run_id(directory)
    assert result.stdout.split() == [identity, identity, "[]"]
    assert result.stderr == ""
    (record,) = (directory / "wandb").glob(f"offline-run-*-{identity}/run-{identity}.wandb")
    content = record.read_bytes()
    for text in (b"cosine_similarity/dlib/low", b"VVC QP 37", b"sweep"):
        assert text in content
    crops = [path for path in (directory / "wandb" / "data").rglob("*") if path.is_file()]
    assert len(crops) >= 8
    assert [path for path in home.rglob("*") if path.is_file() and "artifacts" in path.parts] == []


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
    assert mirror.run_id("0") == mirror.run_id(tmp_path / "0") != mirror.run_id(tmp_path / "1")
    assert len(mirror.run_id("0")) == 16
