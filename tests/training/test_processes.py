"""Names and ranks that the processes of one run agree on."""

import multiprocessing

import pytest
from omegaconf import OmegaConf

from icm.errors import UserError
from icm.training.processes import default_run_name, is_first_process, refuse_distributed_sweep

VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_JOB_NAME")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in (*VARIABLES, "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    default_run_name.cache_clear()
    yield
    default_run_name.cache_clear()


def test_only_rank_zero_is_first(monkeypatch):
    assert is_first_process()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not is_first_process()
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert is_first_process()
    # The first GPU of the second machine is not the first process.
    monkeypatch.setenv("RANK", "4")
    assert not is_first_process()


def test_a_slurm_job_keeps_its_name_when_requeued_but_an_interactive_shell_does_not(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    assert default_run_name() == "slurm-4711-0"
    default_run_name.cache_clear()
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")
    assert not default_run_name().startswith("slurm")


def _name(port: int, clock: str, names) -> None:
    import os
    from datetime import datetime

    import icm.training.processes as processes

    class Clock:
        @staticmethod
        def now() -> datetime:
            return datetime.fromisoformat(clock)

    processes.datetime = Clock
    os.environ |= {"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    names.put(processes.default_run_name())


def test_processes_of_torchrun_agree_on_a_name_although_their_clocks_do_not():
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("spawn")
    names = context.Queue()
    clocks = ("2026-01-01T10:00:00", "2026-01-01T10:00:01")
    workers = [context.Process(target=_name, args=(store.port, clock, names)) for clock in clocks]
    for worker in workers:
        worker.start()
    found = {names.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert found < {"2026-01-01_10-00-00", "2026-01-01_10-00-01"}
    assert len(found) == 1


@pytest.mark.parametrize(("devices", "nodes"), [(4, 1), ("auto", 1), (-1, 1), ([0, 1], 1), (1, 2)])
def test_a_sweep_over_several_processes_is_refused_with_the_way_to_do_it(devices, nodes):
    trainer = OmegaConf.create({"devices": devices, "num_nodes": nodes})
    with pytest.raises(UserError, match=r"-m with trainer.devices=.*for l in .*; do python train.py") as caught:
        refuse_distributed_sweep(trainer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("devices", [1, "1", [2]])
def test_a_sweep_in_one_process_is_not_refused(devices):
    refuse_distributed_sweep(OmegaConf.create({"devices": devices, "num_nodes": 1}))
