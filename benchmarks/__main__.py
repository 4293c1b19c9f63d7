"""``python -m benchmarks [NAME ...]``: how many times better than its peer each part is, measured in one run.

Results go to benchmarks/results/NAME.json and into the table of docs/performance.md.
"""

import argparse
import importlib
import os
import platform
import sys
from pathlib import Path

from benchmarks.case import Options, Unavailable
from benchmarks.measuring import measure
from benchmarks.page import PAGE, line, page, save
from icm.files import atomic_write
from icm.provenance import git_commit, versions

BENCHMARKS = (
    "start", "detection", "overlap", "embedders", "table", "vvc", "masks", "growth", "learned", "tcm", "training",
    "memory",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; default: all of them")
    parser.add_argument("--repeats", type=int, default=5, help="counted pairs of runs (default 5)")
    parser.add_argument(
        "--reference", type=Path, help="a checkout of the published SA-ICM or LIC-TCM code, for what is compared to it"
    )
    parser.add_argument("--no-save", action="store_true", help="print only")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {', '.join(unknown)}; choose from {', '.join(BENCHMARKS)}")
    # Bars would be part of what is measured.
    os.environ["TQDM_DISABLE"] = "1"
    options = Options(arguments.reference)
    for name in arguments.names or BENCHMARKS:
        results = []
        facts = _facts(name, arguments)
        try:
            for case in importlib.import_module(f"benchmarks.{name}").cases(options):
                results.append(measure(case, arguments.repeats))
                print(line(results[-1]), flush=True)
                if not arguments.no_save:  # at once: what is cut short keeps what it has
                    save(name, facts, results)
                    atomic_write(PAGE, page())
        except Unavailable as error:
            print(f"{name}: left out: {error}", file=sys.stderr)
    return 0


def _facts(name: str, arguments: argparse.Namespace) -> dict:
    command = f"python -m benchmarks {name} --repeats {arguments.repeats}"
    reference = " --reference DIR" if arguments.reference else ""
    cores = len(os.sched_getaffinity(0))
    return {
        "command": command + reference,
        "machine": f"{cores} cores of {_processor()}, load {os.getloadavg()[0]:.1f} when it began",
        "commit": git_commit(),
        "versions": versions(),
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    if "model name" not in told:
        return platform.machine()
    # Virtual machines often say no more than the make.
    return f"{told['model name']} (family {told.get('cpu family')}, model {told.get('model')})"


if __name__ == "__main__":
    sys.exit(main())
