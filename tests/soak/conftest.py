"""How much: a taste in `make test`, everything in `make soak`."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

# 1 in `make soak`; a fraction makes it that much shorter.
LONG = float(os.environ.get("ICM_SOAK", "0"))


@pytest.fixture
def amount():
    """The function ``amount(short, long)``: the number of cases that this run is for."""
    return lambda short, long: max(short, round(long * LONG))


@pytest.fixture
def note(request):
    """The function ``note(**figures)``: in a long run, keeps figures in outputs/soak/, one file for each test."""

    def keep(**figures: object) -> None:
        if LONG:
            name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
            folder = Path(request.config.rootpath, "outputs", "soak")
            folder.mkdir(parents=True, exist_ok=True)
            plain = {key: dict(value) if isinstance(value, Mapping) else value for key, value in figures.items()}
            (folder / f"{name}.json").write_text(json.dumps(plain, indent=1) + "\n")

    return keep


def pytest_collection_modifyitems(items) -> None:
    """Hours instead of minutes for the long run."""
    if LONG:
        for item in items:
            if "/soak/" in str(item.path):
                item.add_marker(pytest.mark.timeout(6 * 3600))
