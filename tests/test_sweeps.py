"""What becomes of a sweep whose jobs fail or are stopped."""

import subprocess
import sys

import pytest

from icm.errors import UserError, is_interruption
from icm.sweeps import ERROR_FILE, failures_recorded
from tests.conftest import ROOT


def torn(*_arguments, **_options):
    """Ctrl-C while a library holds an object half changed, which its clean-up does not expect."""
    try:
        raise KeyboardInterrupt
    finally:
        None._invalidate_flags_cache()


def test_an_interruption_is_known_behind_what_it_made_of_others():
    with pytest.raises(AttributeError) as raised:
        torn()
    assert is_interruption(raised.value)
    assert is_interruption(KeyboardInterrupt())
    assert not is_interruption(UserError("a bad value"))
    assert not is_interruption(None)


def test_a_job_that_is_interrupted_has_not_failed(tmp_path):
    with pytest.raises(KeyboardInterrupt), failures_recorded(tmp_path):
        torn()
    assert not (tmp_path / ERROR_FILE).exists()


_COMMAND = """
import runpy
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from tests.test_sweeps import torn
ConfigLoaderImpl.load_sweep_config = torn
runpy.run_path("evaluate.py", run_name="__main__")
"""


def test_a_sweep_interrupted_while_hydra_composes_a_job_says_so(tmp_path):
    options = ["-m", "qp=32,37", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    done = subprocess.run([sys.executable, "-c", _COMMAND, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 130, done.stderr[-2000:]
    assert "interrupted; what was finished is cached" in done.stdout
    assert "Traceback" not in done.stdout
