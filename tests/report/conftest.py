"""The synthetic run directories, importable under a name of their own."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """The module tests/report/synthetic.py."""
    spec = importlib.util.spec_from_file_location("synthetic_runs", Path(__file__).with_name("synthetic.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sweep_directory(synthetic, tmp_path_factory) -> Path:
    """A finished sweep; read only."""
    return synthetic.write_sweep(tmp_path_factory.mktemp("sweep"))


@pytest.fixture
def runs(sweep_directory):
    from icm.evaluation.results import load_runs

    return load_runs(sweep_directory)
