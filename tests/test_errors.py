"""What a command does first, so that odd surroundings do not end it in a traceback."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

_COMMAND = """
import sys
from icm.errors import begin_command
begin_command("work.py")
with open("result", "w") as file:
    for number in range(2000):
        print("a line of text, \u03bb \u6df1")
    file.write("whole")
"""


def work(folder, shell: str, **environment: str) -> subprocess.CompletedProcess:
    """The command above in a shell line that calls it ``"$@"``."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        ["bash", "-c", shell, "-", sys.executable, "-c", _COMMAND],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("shell", "reason"), [('"$@" | true', "Broken pipe"), ('"$@" > /dev/full', "No space left on device")]
)
def test_work_goes_on_when_nobody_reads_what_it_prints(tmp_path, shell, reason):
    done = work(tmp_path, f"set -o pipefail; {shell}")
    assert done.returncode == 0
    assert done.stderr == f"work.py: output is lost, the work goes on ({reason})\n"
    assert (tmp_path / "result").read_text() == "whole"


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_of_the_work_takes_the_place_of_a_closed_output(tmp_path, closed):
    done = work(tmp_path, f'"$@" {closed}')
    assert done.returncode == 0
    assert done.stderr == ""
    assert (tmp_path / "result").read_text() == "whole"


def test_characters_that_the_terminal_lacks_are_escapes(tmp_path):
    done = work(tmp_path, '"$@"', PYTHONIOENCODING="ascii")
    assert done.stdout.splitlines()[0] == "a line of text, \\u03bb \\u6df1"


@pytest.mark.parametrize("entry", [["evaluate.py"], ["train.py"], ["-m", "icm"]])
def test_a_working_folder_that_was_deleted_is_one_line(tmp_path, entry):
    command = [str(ROOT / word) if word.endswith(".py") else word for word in entry]
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        ["bash", "-c", 'rmdir "$PWD"; exec "$@"', "-", sys.executable, *command, "masks"],
        cwd=tmp_path / "gone", env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"{entry[-1]}: the working folder has been deleted; change to one that is there\n"
