"""Which of the processes of one training run this is, and the name they all agree on."""

import functools
import os
import signal
from collections.abc import Mapping
from datetime import datetime

from icm.errors import UserError

_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
_INTERACTIVE_JOBS = ("bash", "interactive")


def is_first_process() -> bool:
    """Whether this process is the one that writes: rank 0, or the only one.

    Read from what torchrun, Lightning's own launcher and SLURM set in the environment.
    """
    ranks = [os.environ[name] for name in _RANK_VARIABLES if name in os.environ]
    return not ranks or ranks[0] == "0"


def hold_back_requeue() -> None:
    """Let SLURM's SIGUSR1 wait until training can heed it (`models.requeue`): before, it would end the job as failed.

    For the start of a command: threads that are there already would still take the signal.
    """
    if "SLURM_JOB_ID" in os.environ:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})


@functools.cache
def default_run_name() -> str:
    """The name of a run that was given none: the time, but one and the same in every process of a distributed run.

    Under SLURM it is the job's, so that a requeued job finds its run again; under torchrun the first process to ask
    fixes it in torchrun's own key-value store, which also outlives an elastic restart.
    """
    environment = os.environ
    if "SLURM_PROCID" in environment and environment.get("SLURM_JOB_NAME") not in _INTERACTIVE_JOBS:
        return f"slurm-{environment['SLURM_JOB_ID']}-{environment.get('SLURM_STEP_ID', '0')}"
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    if "TORCHELASTIC_RUN_ID" not in environment:
        return now
    from torch.distributed import TCPStore

    store = TCPStore(environment["MASTER_ADDR"], int(environment["MASTER_PORT"]), is_master=False)
    return store.compare_set("icm/run_name", "", now).decode()


def refuse_distributed_sweep(trainer: Mapping) -> None:
    """Refuse a job of ``-m`` in more than one process.

    Lightning starts the other processes with this one's command line: each would begin a whole sweep of its own.

    Args:
        trainer: ``devices`` and ``num_nodes``.

    Raises:
        UserError: They ask for more than one.
    """
    devices, nodes = trainer["devices"], trainer["num_nodes"]
    alone = str(devices) == "1" or (not isinstance(devices, str | int) and len(devices) == 1)
    if alone and nodes == 1:
        return
    raise UserError(
        f"-m with trainer.devices={devices} trainer.num_nodes={nodes} cannot work: every process would start the whole "
        "sweep again; loop in the shell instead: for l in 0.02 0.03 0.05; do "
        f"python train.py objective.lmbda=$l run=lambda-$l trainer.devices={devices}; done"
    )
