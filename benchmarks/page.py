"""The table of docs/performance.md, from benchmarks/results/*.json."""

import json
import statistics
from pathlib import Path

from benchmarks.measuring import Result
from icm.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"
_BEGIN, _END = "<!-- measured: written by python -m benchmarks -->", "<!-- end of measured -->"


def save(name: str, facts: dict, results: list[Result]) -> Path:
    """Write one benchmark's results with the facts of its run (machine, versions, command)."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    atomic_write(path, json.dumps({**facts, "cases": [vars(result) for result in results]}, indent=1) + "\n")
    return path


def page() -> str:
    """The page with a table of all results between its two marks, its own text left alone."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(_BEGIN)
    after = rest.split(_END)[1]
    tables = "\n".join(_section(path) for path in sorted(RESULTS.glob("*.json")))
    return f"{before}{_BEGIN}\n{tables}{_END}{after}"


def line(result: Result) -> str:
    """Medians of both, the ratio with its spread, and the goal, as a row of a Markdown table."""
    ratios = result.ratios
    times = f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
    peer = _figure(result.peer, result.unit) if result.peer else ""
    goal = "" if result.goal is None else f"{result.goal:g}{'' if ratios else ' ' + result.unit}"
    verdict = {None: "", True: ", held", False: ", **missed**"}[result.held]
    title = f"{result.title} ({result.note})" if result.note else result.title
    ours = _figure(result.ours, result.unit)
    return f"| {title} | {result.peer_title} | {ours} | {peer} | {times} | {goal}{verdict} |"


def _figure(figures: list[float], unit: str) -> str:
    return f"{statistics.median(figures):.3g} {unit}"


def _section(path: Path) -> str:
    stored = json.loads(path.read_text(encoding="utf-8"))
    head = "| what | peer | here | peer | times better (spread) | goal |\n|---|---|---|---|---|---|\n"
    rows = "\n".join(line(Result(**case)) for case in stored["cases"])
    return f"\n### {path.stem}\n\n`{stored['command']}`, {stored['machine']}\n\n{head}{rows}\n"
