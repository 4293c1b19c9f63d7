"""The machinery of the benchmarks, not the speed of anything."""

import importlib
import itertools
import json
from contextlib import suppress
from functools import partial

import pytest

from benchmarks import __main__ as command
from benchmarks import page
from benchmarks.case import Case, Options, Unavailable
from benchmarks.measuring import measure
from icm.files import atomic_write


def test_case_and_peer_take_turns_after_a_warm_up():
    calls, ours, peer = [], itertools.count(1), itertools.count(10)
    case = Case(
        "a", "b", lambda: calls.append("a") or next(ours), lambda: calls.append("b") or next(peer), goal=3, unit="MB"
    )
    result = measure(case, 3)
    assert "".join(calls) == "ababbaab"
    assert (result.ours, result.peer) == ([2, 3, 4], [11, 12, 13])
    assert result.ratios == [11 / 2, 4, 13 / 4]
    assert result.held
    assert page.line(result) == "| a | b | 3 MB | 12 MB | **4.00** (3.25 to 5.50) | 3, held |"


def test_what_returns_nothing_is_timed_and_without_a_peer_the_goal_is_a_limit():
    result = measure(Case("a", "", lambda: None, goal=0.5, note="small"), 2)
    assert 0 <= max(result.ours) < 0.5
    assert result.held
    assert page.line(result).startswith("| a (small) |  | ")
    assert page.line(result).endswith(" s |  |  | 0.5 s, held |")
    assert page.line(measure(Case("a", "", lambda: 2.0, goal=0.5), 2)).endswith("| 0.5 s, **missed** |")


def test_results_stand_in_the_page_and_its_own_text_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(page, "PAGE", tmp_path / "performance.md")
    text = page.ROOT.joinpath("docs", "performance.md").read_text()
    begin, end = text.index("<!-- measured"), text.index("<!-- end of measured")
    page.PAGE.write_text(text)
    for figure in ("1", "2"):
        result = measure(Case("a", "", partial(float, figure)), 1)
        page.save("alone", {"command": "run me", "machine": "here"}, [result])
        atomic_write(page.PAGE, page.page())
    written = page.PAGE.read_text()
    assert written.startswith(text[:begin])
    assert written.endswith(text[end:])
    assert "| a |  | 2 s |" in written
    assert "| 1 s |" not in written
    assert json.loads((tmp_path / "results" / "alone.json").read_text())["cases"][0]["ours"] == [2.0]


@pytest.mark.parametrize("name", command.BENCHMARKS)
def test_every_benchmark_finds_what_it_measures(name):
    with suppress(Unavailable):
        assert next(iter(importlib.import_module(f"benchmarks.{name}").cases(Options()))).title


def test_the_kept_results_are_those_of_the_page():
    assert page.page() == page.PAGE.read_text()
