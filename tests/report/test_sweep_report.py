import subprocess
import sys
from pathlib import Path

import pytest

from icm.report.sweep_report import finish_sweep
from icm.sweeps import failed_jobs

ROOT = Path(__file__).resolve().parents[2]
APP = """
import sys
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig
sys.path.insert(0, {tests!r})
import synthetic

@hydra.main(version_base="1.3", config_path=None, config_name="app")
def main(cfg):
    folder = Path(HydraConfig.get().runtime.output_dir)
    if cfg.qp in (99, 98):
        (folder / "error.txt").write_text("no weights for qp %d\\n" % cfg.qp)
    elif cfg.qp == 50:
        synthetic.write(folder, point={{"qp": 50}})
        (folder / "faces.csv").unlink()
    else:
        synthetic.write(folder, point={{"qp": cfg.qp}}, bpp=10.0 / cfg.qp)

if __name__ == "__main__":
    main()
"""
CONFIG = """
qp: 37
hydra:
  sweep: {dir: sweep, subdir: "${hydra.job.num}"}
  callbacks:
    report: {_target_: icm.report.sweep_report.SweepReport}
"""


@pytest.fixture
def sweep(tmp_path):
    """Run the tiny Hydra application over the given QPs in a process of its own."""
    (tmp_path / "app.py").write_text(APP.format(tests=str(Path(__file__).parent)), encoding="utf-8")
    (tmp_path / "app.yaml").write_text(CONFIG, encoding="utf-8")

    def run(qps: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "app.py", "--config-dir", ".", "-m", f"qp={qps}"]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_finished_sweep_has_table_and_report(sweep, tmp_path):
    result = sweep("32,40")
    assert result.returncode == 0, result.stderr
    table = (tmp_path / "sweep" / "table.csv").read_text(encoding="utf-8").splitlines()
    assert len(table) == 3
    for name in ("table.csv", "table.md", "report.html"):
        assert (tmp_path / "sweep" / name).is_file()
        assert str(tmp_path / "sweep" / name) in result.stdout
    assert "VVC QP 32" in result.stdout


def test_a_sweep_is_mirrored_as_its_logger_says(sweep, tmp_path):
    with open(tmp_path / "app.yaml", "a", encoding="utf-8") as file:
        file.write("logger: {evaluate: {wandb: {project: icm, entity: null}}}\n")
    result = sweep("32,40")
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "sweep"
    assert result.stdout.count("wandb sync ") == 1
    assert f"recorded offline in {folder}; upload with: wandb sync {folder}/wandb/offline-run-*" in result.stdout
    assert len(list(folder.glob("wandb/offline-run-*"))) == 1


def test_failed_jobs_are_named_and_lose_nothing(sweep, tmp_path):
    result = sweep("32,99,98")
    assert result.returncode == 1
    assert "job 1 failed: no weights for qp 99" in result.stderr
    assert "job 2 failed: no weights for qp 98" in result.stderr
    assert "2 job(s) of" in result.stderr
    assert len((tmp_path / "sweep" / "table.csv").read_text(encoding="utf-8").splitlines()) == 2


def test_nothing_finished_is_said(sweep, tmp_path):
    result = sweep("99")
    assert result.returncode == 1
    assert "no job finished" in result.stderr
    assert not (tmp_path / "sweep" / "table.csv").exists()


def test_a_report_that_fails_is_no_success(sweep):
    result = sweep("50")
    assert result.returncode == 1
    assert "faces.csv: missing" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_earlier_result_of_a_failed_job_is_not_shown(synthetic, tmp_path, capsys):
    synthetic.write(tmp_path / "0", point={"qp": 32})
    synthetic.write(tmp_path / "1", point={"qp": 40})
    (tmp_path / "1" / "error.txt").write_text("stopped", encoding="utf-8")
    assert finish_sweep(tmp_path) == {"1": "stopped"}
    assert "QP 40" not in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_failures_come_in_job_order_and_a_shared_reason_is_told_once(tmp_path, capsys):
    for name, text in (("10", "a is missing\n  - b"), ("2", "a is missing\n  - b\n"), ("extra", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "error.txt").write_text(text, encoding="utf-8")
    assert list(failed_jobs(tmp_path)) == ["2", "10", "extra"]
    finish_sweep(tmp_path)
    printed = capsys.readouterr().err
    assert "jobs 2, 10 failed: a is missing\n  - b\n" in printed
    assert "job extra failed: unknown reason" in printed
    assert "3 job(s) of" in printed


def test_starting_up_imports_nothing_heavy():
    heavy = {"numpy", "matplotlib", "jinja2", "wandb"}
    code = f"import sys, icm.report.sweep_report; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
