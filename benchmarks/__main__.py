"""``python -m benchmarks [NAME ...]``: run the benchmarks and print how many times faster than its peer each one is."""

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable

BENCHMARKS = ("faces", "vvc", "learned")


def seconds(function: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ratio(ours: Callable[[], object], peer: Callable[[], object], repeats: int) -> tuple[float, float, list[float]]:
    """Median seconds of both and the ratio peer / ours of each pair; one warm-up, then the two in turn."""
    ours(), peer()
    pairs = [(seconds(ours), seconds(peer)) for _ in range(repeats)]
    mine, theirs = zip(*pairs, strict=True)
    return statistics.median(mine), statistics.median(theirs), [b / a for a, b in pairs]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="default: all of them")
    parser.add_argument("--repeats", type=int, default=5, help="counted pairs of runs (default 5)")
    arguments = parser.parse_args()
    print(f"{'benchmark':<52}{'ours':>9}{'peer':>9}  times faster (min-max)")
    for name in arguments.names or BENCHMARKS:
        for title, ours, peer in importlib.import_module(f"benchmarks.{name}").cases():
            mine, theirs, ratios = ratio(ours, peer, arguments.repeats)
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            print(f"{title:<52}{mine:>8.2f}s{theirs:>8.2f}s  {spread}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
