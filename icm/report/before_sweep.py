"""What is said before the first job of a multirun: what some jobs lack, and what the others will take.

Imported by Hydra when a command starts, so nothing heavy is imported here at the top.
"""

import sys
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from icm.errors import UserError
from icm.jobs import is_dry_run


class BeforeSweep(Callback):
    """Calls `foresee`."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        from icm.config import sweep_jobs

        params = config.hydra.sweeper.get("params") or {}
        foresee(sweep_jobs("evaluate", params, config.hydra.overrides.task), is_dry_run(config))


def foresee(jobs: list[DictConfig], dry: bool = False) -> None:
    """Say once what some jobs of a sweep lack, and with ``cost=true`` what the others will take.

    Where every job lacks something, the first of them says it at once, unless none is started (``dry``).
    """
    from icm.evaluation.configured import configured_job
    from icm.evaluation.forecast import cost, cost_table, missing

    lacking = missing(jobs)
    stopped = {number for numbers in lacking.values() for number in numbers}
    if len(stopped) == len(jobs) and not dry:
        return
    if lacking:
        others = "" if dry else "; the others run"
        print(f"{len(lacking)} thing(s) missing for {len(stopped)} of {len(jobs)} jobs{others}:", file=sys.stderr)
        for text, numbers in lacking.items():
            print(f"  - {text} (jobs {', '.join(map(str, numbers))})", file=sys.stderr)
    able = [cfg for number, cfg in enumerate(jobs) if number not in stopped]
    if able and all(cfg.cost for cfg in able):
        try:
            print(cost_table([cost(configured_job(cfg)) for cfg in able]))
        except UserError as error:
            print(f"cost=true: not known ({error})", file=sys.stderr)
