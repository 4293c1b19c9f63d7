"""Ten optimizer steps on random images in some CPU processes; run as a script by test_lightning.py.

python ddp_steps.py OUTPUT BATCH: saves the network's state and, from each of two processes, random numbers as its
quantisation noise would draw them. The noise itself is off, so that steps can be compared. The processes are forked
once everything is imported, and find each other as under torchrun.
"""

import os
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.sampling import EpochSampler
from models.hyperprior import Hyperprior
from models.lightning import CodecTraining
from models.objective import RateDistortion

STEPS = 10


class Images(Dataset):
    def __len__(self) -> int:
        return 4 * STEPS

    def __getitem__(self, key):
        generator = torch.Generator().manual_seed(key[0])
        image = torch.rand(3, 8, 8, generator=generator)
        image = torch.nn.functional.interpolate(image[None], size=(64, 64), mode="bicubic")[0].clamp(0, 1)
        return {"image": image, "mask": (torch.rand(1, 64, 64, generator=generator) < 0.3).float(), "name": str(key[0])}


class Data(pl.LightningDataModule):
    def __init__(self, batch: int):
        super().__init__()
        self.batch = batch

    def train_dataloader(self) -> DataLoader:
        sampler = EpochSampler(Images(), self.trainer.world_size, self.trainer.global_rank, shuffle=True, seed=3)
        return DataLoader(Images(), self.batch, sampler=sampler)


class Recorder(pl.Callback):
    """What the random generator of every process gives after the first step."""

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:
        if index == 0:
            self.draws = module.all_gather(torch.rand(8))


def steps(output: str | Path, devices: int, batch: int) -> dict:
    pl.seed_everything(1, workers=True, verbose=False)
    network = Hyperprior(N=8, M=12)
    network.noise = False
    module = CodecTraining(network, RateDistortion(0.05, "edge"), lr=1e-3, aux_lr=1e-3, seed=1)
    recorder = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu", devices=devices, strategy="auto" if devices == 1 else "ddp", max_steps=STEPS,
        gradient_clip_val=1.0, callbacks=[recorder], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, Data(batch))
    result = {"state": network.state_dict(), "draws": recorder.draws, "steps": trainer.global_step}
    if trainer.is_global_zero:
        torch.save(result, output)
    return result


def work(rank: int, port: str) -> None:
    os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    steps(sys.argv[1], 2, int(sys.argv[2]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = str(server.getsockname()[1])
    torch.multiprocessing.start_processes(work, (free,), nprocs=2, start_method="fork")
