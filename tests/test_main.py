import subprocess
import sys
from pathlib import Path

import pytest

from icm import preflight, provenance
from icm.__main__ import COMMANDS, main

ROOT = Path(__file__).resolve().parents[1]


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


def test_no_command_and_an_unknown_one_fail(capsys):
    assert main([]) == 2
    assert main(["transmogrify"]) == 2
    assert "transmogrify" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_help_without_heavy_imports(name):
    code = (
        "import sys\nfrom icm.__main__ import main\n"
        f"try: main([{name!r}, '--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "sys.exit(str({'torch', 'tensorflow', 'deepface', 'wandb'} & set(sys.modules) or '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"python -m icm {name}" in done.stdout


def test_a_user_error_is_one_line_and_a_failure(capsys, tmp_path):
    assert main(["report", str(tmp_path / "absent")]) == 1
    text = capsys.readouterr().err
    assert "absent" in text
    assert len(text.splitlines()) == 1


def test_preflight_lists_each_problem_once():
    preflight.check([])
    one, two = preflight.Problem("no weights", "Fetch them."), preflight.Problem("no images", "Get them.")
    with pytest.raises(preflight.PreflightError, match="2 thing") as caught:
        preflight.check([one, two, one])
    assert str(caught.value).count("no weights. Fetch them.") == 1


def test_provenance_names_versions_and_the_commit():
    versions = provenance.versions()
    assert versions["torch"].startswith("2.12.1")
    assert "not installed" not in versions.values()
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode == 0:
        assert provenance.git_commit().removesuffix("-dirty") == head.stdout.strip()
