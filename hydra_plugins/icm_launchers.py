"""Launchers of sweeps: ``hydra/launcher=basic``, ``joblib``, ``ray``, ``submitit_local`` and ``submitit_slurm``.

Each ends a sweep whose folder takes no files any more with the report of what there is, and one line.

Those that run jobs in other processes have the options of the plugins for Hydra, or of Ray (conf/hydra/launcher), and
lose no job:

- a job that finished under an earlier command in the same sweep folder, or is still in the queue from one, is not
  started again, and a job that repeats another is not started at all; what a job is, says a callback's ``plan``;
- a job that is killed, cancelled or on a machine that goes away costs no other job its result: its folder gets an
  ``error.txt`` that begins with "lost: ";
- a job that fails ends with a non-zero status, so that SLURM shows it as FAILED.

Hydra looks for launchers in the package hydra_plugins alone, and imports it when a command starts.
"""

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from icm.files import atomic_write, look_again
from icm.jobs import PROCESS, SLURM, Started, alive, read_jobs, why_gone, write_jobs
from icm.sweeps import ERROR_FILE, LOST, SweepStop, put_back
from icm.threads import cores

log = logging.getLogger(__name__)
_ROOT = str(Path(__file__).resolve().parents[1])
# Looks at the queue without finding a job before it is taken for lost: a network disk may show its result late.
_PATIENCE = 3
# Seconds without the disk of the sweep before a command gives up; its jobs do not.
_AWAY = 600


@dataclass(frozen=True)
class Planned:
    """A job of the sweep: its number and folder, its overrides, those typed by a person, those in which jobs differ."""

    number: int
    folder: Path
    overrides: tuple[str, ...]
    typed: tuple[str, ...]
    shown: tuple[str, ...]


def _python_path() -> str:
    """With it a job imports this very checkout, wherever it starts."""
    paths = [_ROOT, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return os.pathsep.join(dict.fromkeys(paths))


class JobFailedError(Exception):
    """Ends the process of a failed job with a non-zero status; the job has said why."""


@contextlib.contextmanager
def _stopping(context: HydraContext, config: DictConfig) -> Iterator[None]:
    """End a sweep for which no file or folder can be written any more: Hydra would end it in a traceback."""
    try:
        yield
    except (OSError, SweepStop) as error:
        where = str(error)
        if isinstance(error, OSError) and error.filename:
            where = f"{error.filename}: {error.strerror}"
        with contextlib.suppress(SystemExit):
            context.callbacks.on_multirun_end(config=config, config_name=None)
        raise SystemExit(
            f"{Path(sys.argv[0]).name}: {where}: no further job is started; once files can be written again, the same "
            f"command with hydra.sweep.dir={Path(config.hydra.sweep.dir).absolute()} goes on"
        ) from error


class Basic(BasicLauncher):  # type: ignore[misc]
    """``hydra/launcher=basic``, the default: one job after the other, in this process."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        with _stopping(self.hydra_context, self.config):
            return super().launch(job_overrides, initial_job_idx)


# In place of Hydra's own: a file of conf/ would be checked against that.
_BASIC = {"_target_": f"{Basic.__module__}.{Basic.__qualname__}"}
ConfigStore.instance().store(group="hydra/launcher", name="basic", node=_BASIC, provider="icm")


class _Elsewhere(Launcher):  # type: ignore[misc]
    """What the other launchers share: which jobs of a sweep have to run, and how one of them runs in its process."""

    def __init__(self, **options: Any):
        self.options = {
            key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for key, value in options.items()
        }
        self.config: DictConfig
        self.context: HydraContext
        self.task_function: TaskFunction

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        # As it is now: the time, or the name of a run, would be another one in the job.
        with read_write(self.config), open_dict(self.config):
            self.config.hydra.sweep.dir = str(Path(self.config.hydra.sweep.dir).absolute())
        jobs, finished, repeated = self.plan(job_overrides, initial_job_idx)
        already = [f"{len(finished)} measured already"] * bool(finished)
        already += [f"{len(repeated)} repeat another"] * bool(repeated)
        log.info("%d jobs to run%s", len(jobs), f" ({', '.join(already)})" if already else "")
        with _stopping(self.context, self.config):
            self.start(jobs, finished, initial_job_idx)
        # What became of each job is in its folder.
        return [JobReturn(overrides=list(typed), status=JobStatus.COMPLETED) for typed in job_overrides]

    def start(self, jobs: Sequence[Planned], finished: Sequence[Planned], first: int) -> None:
        """Run the jobs, and take up those that are finished; ``first`` is the number of the first job of them all."""
        raise NotImplementedError

    def plan(
        self, job_overrides: Sequence[Sequence[str]], first: int
    ) -> tuple[list[Planned], list[Planned], list[Planned]]:
        """The jobs to run, those finished in their folders, and those that repeat another."""
        callbacks = self.context.callbacks.callbacks
        planner = next((callback for callback in callbacks if hasattr(callback, "plan")), None)
        typed = [tuple(filter_overrides(overrides)) for overrides in job_overrides]
        common = set.intersection(*map(set, typed)) if len(typed) > 1 else set()
        to_run: list[Planned] = []
        finished: list[Planned] = []
        repeated: list[Planned] = []
        cells = {""}
        before = HydraConfig.instance().cfg
        for number, overrides in enumerate(job_overrides, first):
            config = self.job_config(overrides, number)
            HydraConfig.instance().set_config(config)
            folder = Path(config.hydra.sweep.dir, str(config.hydra.sweep.subdir))
            words = typed[number - first]
            shown = tuple(word for word in words if word not in common)
            job = Planned(number, folder, tuple(overrides), words, shown)
            cell, done = planner.plan(config, folder) if planner else ("", False)
            (finished if done else repeated if cell in cells - {""} else to_run).append(job)
            cells.add(cell)
        HydraConfig.instance().cfg = before
        return to_run, finished, repeated

    def job_config(self, overrides: Sequence[str], number: int) -> DictConfig:
        """The configuration of one job."""
        config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def run(self, job: Planned, state: dict[Any, Any]) -> None:
        """Run one job in this process, which ``launch`` handed it to.

        Raises:
            JobFailedError: It has no result.
        """
        setup_globals()
        Singleton.set_state(state)
        config = self.job_config(job.overrides, job.number)
        HydraConfig.instance().set_config(config)
        done = run_job(
            hydra_context=self.context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        if done.status == JobStatus.FAILED:
            raise done._return_value
        error = job.folder / ERROR_FILE
        if error.is_file():
            raise JobFailedError(error.read_text(encoding="utf-8").strip())


class Joblib(_Elsewhere):
    """``hydra/launcher=joblib``: processes of this machine that end with the command."""

    def start(self, jobs: Sequence[Planned], finished: Sequence[Planned], first: int) -> None:
        from concurrent.futures.process import BrokenProcessPool

        board = _Board(self, jobs, finished, first, PROCESS)
        board.update(replace(board.jobs[job.folder.name], id=str(os.getpid())) for job in jobs)
        try:
            for name, reason in self._run(jobs, self.options["n_jobs"]):
                board.end(name, reason)
        except BrokenProcessPool:
            left = [job for job in jobs if not board.jobs[job.folder.name].over]
            log.warning("a process was killed, and with it all others; the %d jobs left run one at a time", len(left))
            for job in left:
                try:
                    for name, reason in self._run([job], 2):  # in one process this would be the command's own
                        board.end(name, reason)
                except BrokenProcessPool:
                    board.end(job.folder.name, f"{LOST}its process was killed, perhaps for want of memory")

    def _run(self, jobs: Sequence[Planned], count: int) -> Iterator[tuple[str, str]]:
        """Name of the folder and reason of failure, if any, of jobs as they end."""
        from joblib import Parallel, delayed

        options = {**self.options, "n_jobs": count, "backend": "loky", "return_as": "generator_unordered"}
        state = Singleton.get_state()
        return Parallel(**options)(delayed(_run_told)(self, job, state) for job in jobs)


class Ray(_Elsewhere):
    """``hydra/launcher=ray``: processes of a Ray cluster, or of this machine alone, that end with the command."""

    def start(self, jobs: Sequence[Planned], finished: Sequence[Planned], first: int) -> None:
        try:
            import ray
        except ImportError:
            name = Path(sys.argv[0]).name
            raise SystemExit(f"{name}: hydra/launcher=ray needs Ray; run: pip install 'icm[ray]'") from None
        board = _Board(self, jobs, finished, first, PROCESS)
        board.update(replace(board.jobs[job.folder.name], id=str(os.getpid())) for job in jobs)
        options = dict(self.options)
        ray.init(
            address=options.pop("address"),
            log_to_driver=False,
            include_dashboard=False,
            runtime_env={"env_vars": {"PYTHONPATH": _python_path()}},
        )
        # A job that is killed may be killed again, with all that shares its machine: the next command tries again.
        remote = ray.remote(max_retries=0, max_calls=1, **options)(_run_there)
        state = Singleton.get_state()
        waiting = {remote.remote(Path.cwd(), self, job, state): job.folder.name for job in jobs}
        while waiting:
            (ended,), _ = ray.wait(list(waiting), num_returns=1)
            name = waiting.pop(ended)
            try:
                _, reason = ray.get(ended)
            except ray.exceptions.RayError as error:
                reason = f"{LOST}{' '.join(str(error).split())}"
            board.end(name, reason)
        ray.shutdown()


def _run_there(folder: Path, *arguments: Any) -> tuple[str, str]:
    os.chdir(folder)
    return _run_told(*arguments)


def _run_told(launcher: _Elsewhere, job: Planned, state: dict[Any, Any]) -> tuple[str, str]:
    try:
        launcher.run(job, state)
    except Exception as error:
        return job.folder.name, str(error)
    except SystemExit as error:
        return job.folder.name, str(error.code)
    return job.folder.name, ""


class _Submitit(_Elsewhere):
    """Jobs that go on when the command that started them is gone; the next one finds them by ``jobs.json``."""

    cluster: ClassVar[str]
    engine: ClassVar[str]
    poll_seconds: ClassVar[float]  # how often to look after them

    def start(self, jobs: Sequence[Planned], finished: Sequence[Planned], first: int) -> None:
        board = _Board(self, jobs, finished, first, self.engine)
        try:
            self._follow(board, [job for job in jobs if board.jobs[job.folder.name].id is None])
        except (KeyboardInterrupt, OSError):
            self.interrupted(board.open)
            raise

    def at_once(self) -> int | None:
        """Started jobs at a time; None: all, and whoever runs them has a limit of its own."""
        return None

    def interrupted(self, jobs: Sequence[Started]) -> None:
        """What Ctrl-C, or a disk that takes no word of them, does to jobs that are not over."""

    def checkpoint(self, *arguments: Any) -> Any:
        """What submitit puts back into the queue when SLURM preempts a job or its time ends: the same job."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *arguments)

    def __call__(self, job: Planned, state: dict[Any, Any]) -> None:
        """What submitit calls in the job."""
        self.run(job, state)

    def _follow(self, board: "_Board", waiting: list[Planned]) -> None:
        limit = self.at_once()
        missed: dict[str, int] = {}
        seen = time.monotonic()
        while waiting or board.open:
            room = len(waiting) if limit is None else max(0, limit - len(board.open))
            if now := waiting[:room]:
                ids = self._submit(now)
                board.update(replace(board.jobs[job.folder.name], id=name) for job, name in zip(now, ids, strict=True))
                waiting = waiting[room:]
            try:
                self._look_after(board, missed)
                seen = time.monotonic()
            except OSError as error:  # a network disk that is away
                if time.monotonic() - seen > _AWAY:
                    raise SystemExit(f"{Path(sys.argv[0]).name}: {error}; the same command goes on") from error
                log.warning("%s; looking again", error)
            if board.open:
                time.sleep(self.poll_seconds)

    def _look_after(self, board: "_Board", missed: dict[str, int]) -> None:
        """Take note of jobs that have ended; ``missed``: how often in a row each was not in the queue."""
        lively = alive(board.open)
        for job in board.open:
            outcome = self._outcome(job)
            if lively is not None:
                missed[job.folder] = 0 if job.folder in lively else missed.get(job.folder, 0) + 1
            if outcome is None and missed.get(job.folder, 0) >= _PATIENCE:
                outcome = f"{why_gone(job)}; what it printed: {self._paths(job).stderr}"
            if outcome is not None:
                board.end(job.folder, outcome)

    def _paths(self, job: Started) -> Any:
        from submitit.core.utils import JobPaths

        return JobPaths(self.options["submitit_folder"], job.id)

    def _outcome(self, job: Started) -> str | None:
        """Why a job has no result; empty where it has one, or said so itself; None while it has not ended."""
        from submitit.core.utils import pickle_load

        path = self._paths(job).result_pickle
        look_again(path.parent)
        if not path.exists():
            return None
        outcome, trace = pickle_load(path)
        if outcome == "success":
            return ""
        reason = str(trace).strip().splitlines()[-1]
        return f"{LOST}{reason.partition(': ')[2]}" if "UncompletedJobError" in reason else reason

    def _submit(self, jobs: Sequence[Planned]) -> list[str]:
        """Hand jobs to submitit; their ids."""
        import submitit

        os.environ["PYTHONPATH"] = _python_path()
        options = {key: value for key, value in self.options.items() if value is not None}
        folder = options.pop("submitit_folder")
        most = {f"{self.cluster}_max_num_timeout": options.pop("max_num_timeout", 0)}
        executor = submitit.AutoExecutor(folder=folder, cluster=self.cluster, **most)
        shared = executor._typed_parameters()
        executor.update_parameters(
            **{key if key in shared else f"{self.cluster}_{key}": value for key, value in options.items()}
        )
        state = Singleton.get_state()
        try:
            return [job.job_id for job in executor.map_array(self, jobs, [state] * len(jobs))]
        except submitit.core.utils.FailedJobError as error:
            reason = str(error).strip().splitlines()[-1]
            raise SystemExit(f"{Path(sys.argv[0]).name}: the jobs were refused: {reason}") from error


class SubmititLocal(_Submitit):
    """``hydra/launcher=submitit_local``: processes of this machine that outlive the command; Ctrl-C ends them."""

    cluster, engine, poll_seconds = "local", PROCESS, 0.5

    def at_once(self) -> int:
        return max(1, cores() // (self.options["cpus_per_task"] or cores()))

    def interrupted(self, jobs: Sequence[Started]) -> None:
        for job in jobs:
            if job.id and alive([job]):
                os.kill(int(job.id), signal.SIGINT)


class SubmititSlurm(_Submitit):
    """``hydra/launcher=submitit_slurm``: an array of SLURM jobs, whose submission needs no more than sbatch."""

    cluster, engine, poll_seconds = "slurm", SLURM, 5.0


class DryRun(_Elsewhere):
    """``--dry-run``: says what jobs a sweep has; what they will take, `icm.report.before_sweep` has said."""

    def start(self, jobs: Sequence[Planned], finished: Sequence[Planned], first: int) -> None:
        for job in sorted([*jobs, *finished], key=lambda job: job.number):
            print(f"job {job.number} ({' '.join(job.shown)}): {'measured already' if job in finished else 'to run'}")


class _Board:
    """``jobs.json`` of the sweep while a launcher is at work: every change is on disk at once."""

    def __init__(
        self, launcher: _Elsewhere, jobs: Iterable[Planned], finished: Iterable[Planned], first: int, engine: str
    ):
        self.sweep = Path(launcher.config.hydra.sweep.dir)
        for job in finished:
            put_back(job.folder)
        before = {job.folder: job for job in read_jobs(self.sweep)}
        lively = alive([job for job in before.values() if not job.over]) or {}
        self.jobs = dict(before) if first else {}
        for job in jobs:
            name = job.folder.name
            running = before[name] if name in lively else None
            if running and (running.overrides != job.typed or not isinstance(launcher, _Submitit)):
                raise SystemExit(
                    f"{Path(sys.argv[0]).name}: {running.engine} {running.id} of an earlier command still works in "
                    f"{job.folder}; wait for it, end it (scancel, kill), or name another hydra.sweep.dir"
                )
            how = f" (goes on as {running.engine} {running.id})" if running else ""
            log.info("\t#%s : %s%s", name, " ".join(job.shown), how)
            self.jobs[name] = running or Started(name, job.typed, engine)
        write_jobs(self.sweep, list(self.jobs.values()))

    @property
    def open(self) -> list[Started]:
        """Jobs that were started and are not over."""
        return [job for job in self.jobs.values() if job.id is not None and not job.over]

    def update(self, jobs: Iterable[Started]) -> None:
        self.jobs |= {job.folder: job for job in jobs}
        write_jobs(self.sweep, list(self.jobs.values()))

    def end(self, name: str, reason: str = "") -> None:
        """A job is over; ``reason`` is why it has no result, in case it could not say so itself."""
        look_again(self.sweep / name)
        if reason and not (self.sweep / name / ERROR_FILE).is_file():
            atomic_write(self.sweep / name / ERROR_FILE, reason + "\n")
        self.update([replace(self.jobs[name], over=True)])
        over = sum(job.over for job in self.jobs.values())
        log.info("job %s %s (%d of %d)", name, "has no result" if reason else "is over", over, len(self.jobs))
