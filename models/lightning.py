"""Training of one codec network under one objective, as a LightningModule."""

import copy
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from icm.errors import UserError
from models.matcher import FaceMatcher, face_boxes
from models.network import CodecNetwork
from models.objective import RateDistortion, bits_by_latent, masked_psnr, selectivity

_QUANTILES = "quantiles"
_AVERAGE = "ema."
_MATCHER = "matcher."
# Adam's, of the recogniser that is trained along.
_MATCHER_RATE = 1e-3


class CodecTraining(pl.LightningModule):
    """``network`` trained under ``objective`` by one Adam with two parameter groups, or three.

    The network's weights learn from the objective at rate ``lr``, divided by 10 at each epoch of ``milestones``; the
    entropy bottleneck's quantiles learn from ``network.aux_loss()`` at the constant rate ``aux_lr``. Neither loss
    reaches the other's parameters, so one backward pass of their sum serves both. Gradients of the network group
    alone are clipped (``trainer.gradient_clip_val``, ``trainer.gradient_clip_algorithm``). Under an objective with an
    ``identity_weight`` the third group is a face recogniser (`models.matcher`), which learns from its own loss, while
    the network learns against that.

    A batch is {"image": (B, 3, H, W) float32 RGB in [0, 1], "mask": (B, 1, H, W) of 0 and 1} and, where pictures are
    padded, "valid": (B, 1, H, W), 0 in the padding; where faces are known, "faces": (B, 1, H, W), 1 inside them.

    Args:
        network: What is trained.
        objective: Under what; its warm-up is for training steps, validation is always under the whole objective.
        lr: Learning rate of the network, above 0.
        aux_lr: Learning rate of the quantiles, above 0.
        milestones: Epochs.
        ema_decay: None, or the decay of an exponential moving average of the weights (0.999 to 0.9999); the average is
            what is validated, and it lies in checkpoints under names that begin with ``ema.``.
        seed: Of the quantisation noise, which differs in every process and after every restart.
        config: Plain nested dict kept in checkpoints as ``hyper_parameters``.

    Raises:
        UserError: A rate or decay out of range.
    """

    def __init__(
        self,
        network: CodecNetwork,
        objective: RateDistortion,
        lr: float,
        aux_lr: float,
        milestones: Sequence[int] = (),
        ema_decay: float | None = None,
        seed: int = 0,
        config: Mapping | None = None,
    ):
        super().__init__()
        self.save_hyperparameters(dict(config or {}))
        for name, rate in (("lr", lr), ("aux_lr", aux_lr)):
            if not 0 < rate < math.inf:
                raise UserError(f"optimizer.{name}={rate}: use a learning rate above 0, such as 1e-4")
        if ema_decay and not 0 < ema_decay < 1:
            raise UserError(f"optimizer.ema_decay={ema_decay}: use a number between 0 and 1, such as 0.999, or null")
        self.network, self.objective = network, objective
        self.lr, self.aux_lr, self.milestones = lr, aux_lr, sorted(milestones)
        self.ema_decay, self.seed = ema_decay, seed
        self.ema = copy.deepcopy(network).requires_grad_(False) if ema_decay else None
        self.matcher = FaceMatcher() if objective.identity_weight else None
        self._sums: dict[str, Tensor] = {}
        self._bare = torch.zeros(())

    # Optimization

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups: tuple[list, list] = ([], [])
        for name, parameter in self.network.named_parameters():
            groups[name.endswith(_QUANTILES)].append(parameter)
        rated = [{"params": groups[0], "lr": self.lr}, {"params": groups[1], "lr": self.aux_lr}]
        if self.matcher is not None:
            rated.append({"params": list(self.matcher.parameters()), "lr": _MATCHER_RATE})
        return torch.optim.Adam(rated)

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        weights = optimizer.param_groups[0]["params"]
        if gradient_clip_val and gradient_clip_algorithm == "value":
            torch.nn.utils.clip_grad_value_(weights, gradient_clip_val)
        elif gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(weights, gradient_clip_val)

    def optimizer_step(self, *args, **kwargs) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.ema is not None:
            self._update_average()

    @torch.no_grad()
    def _update_average(self) -> None:
        # A young average follows quickly, or it would remember the random initial weights for thousands of steps.
        step = self.trainer.global_step  # of the steps before this one
        decay = min(self.ema_decay, (1 + step) / (10 + step))
        for average, current in zip(self.ema.parameters(), self.network.parameters(), strict=True):
            average.lerp_(current, 1 - decay)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["empty_masks"] = float(self._bare)  # in the epoch so far

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Averaging may be switched on or off in a run that goes on: an average begins at the weights as they are.

        Raises:
            UserError: The checkpoint was trained with a recogniser along and this is not, or the other way round.
        """
        matched = any(name.startswith(_MATCHER) for name in checkpoint["state_dict"])
        if matched != (self.matcher is not None):
            raise UserError(
                f"objective.identity_weight={self.objective.identity_weight}: the checkpoint was trained "
                f"{'with' if matched else 'without'} a recogniser along; start from its weights alone: init_from=FILE"
            )
        self._bare = torch.tensor(checkpoint.get("empty_masks", 0.0) if self.global_rank == 0 else 0.0)
        state = {name: value for name, value in checkpoint["state_dict"].items() if not name.startswith(_AVERAGE)}
        averaged = {name: value for name, value in checkpoint["state_dict"].items() if name.startswith(_AVERAGE)}
        if self.ema is not None and not averaged:
            averaged = {
                _AVERAGE + name.removeprefix("network."): value.clone()
                for name, value in state.items()
                if name.startswith("network.")
            }
        checkpoint["state_dict"] = state | (averaged if self.ema is not None else {})

    def setup(self, stage: str) -> None:
        if self.trainer.strategy.root_device.type == "cuda":
            self.to(memory_format=torch.channels_last)

    def on_train_start(self) -> None:
        # Also here: a run resumed within an epoch does not start that epoch again.
        self._set_rate()
        self._bare = self._bare.to(self.device)

    def on_train_batch_start(self, batch: dict, index: int) -> None:
        # A batch's noise follows from its place alone: a resumed run goes on with the noise of an uninterrupted one.
        # Lightning seeds all processes alike; the same noise in each would be no larger a batch of noise at all.
        place = [self.seed, self.global_rank, self.current_epoch, index]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def on_train_epoch_start(self) -> None:
        self._set_rate()
        self._bare = torch.zeros((), device=self.device)

    def _set_rate(self) -> None:
        # A function of the epoch alone: a resumed or prolonged run has the rate of an uninterrupted one.
        drops = bisect_right(self.milestones, self.current_epoch)
        network, quantiles, *_ = self.optimizers().param_groups
        network["lr"], quantiles["lr"] = self.lr * 0.1**drops, self.aux_lr

    def training_step(self, batch: dict, index: int) -> Tensor:
        x = self._arranged(batch["image"])
        step = self.trainer.global_step
        output = self.network(x)
        terms = self.objective(output, x, batch["mask"], batch.get("valid"), step, batch.get("faces"))
        auxiliary = self.network.aux_loss()
        bare = terms.pop("empty_masks")
        terms["masked_psnr"] = torch.where(bare < len(x), terms["masked_psnr"], torch.nan)
        loss = terms["loss"] + auxiliary
        if self.matcher is not None:
            boxes = face_boxes(batch["faces"])
            found = self.matcher(x, output["x_hat"], boxes, self.objective.identity_weight)
            loss = loss + found["loss"]
            terms |= {f"matcher_{name}": value for name, value in found.items()}
        curves = {f"train/{name}": value.detach() for name, value in {**terms, **_inside(output, batch)}.items()}
        rate = self.optimizers().param_groups[0]["lr"]
        self.log_dict({**curves, "train/aux_loss": auxiliary.detach(), "lr": rate}, batch_size=len(x))
        self.log_dict({"loss": terms["loss"].detach(), "bpp": terms["bpp"]}, prog_bar=True, logger=False, batch_size=1)
        self._bare = self._bare + bare
        return loss

    def on_train_epoch_end(self) -> None:
        # Summed here: Lightning would do it when the figure is first read, which is by the progress bar, in the first
        # process alone, while the others wait elsewhere.
        total = self.trainer.strategy.reduce(self._bare, reduce_op="sum")
        self.log("train/empty_masks", total, rank_zero_only=True)

    # Validation

    def on_validation_epoch_start(self) -> None:
        self._sums = {}

    def validation_step(self, batch: dict, index: int) -> None:
        x, mask, valid = self._arranged(batch["image"]), batch["mask"], batch.get("valid")
        output = self.coder(x)
        terms = self.objective(output, x, mask, valid)
        x_hat = output["x_hat"].float()
        for name in ("loss", "bpp", "distortion", "psnr"):
            self._add(name, terms[name].expand(len(x)))
        self._add("masked_psnr", masked_psnr(x, x_hat, mask))
        self._add("selectivity", selectivity(x, x_hat, mask, valid))

    def on_validation_epoch_end(self) -> None:
        """Means over the images of all processes; images whose mask (or its outside) is empty are left out of the
        figures that need one, and counted."""
        means = {}
        for name, sums in self._sums.items():
            total, count = self.trainer.strategy.reduce(sums, reduce_op="sum").tolist()
            means[name] = total / count if count else float("nan")
            if name == "psnr":
                images = count
            if name == "masked_psnr":
                means["empty_masks"] = images - count
        self.log_dict({f"val/{name}": value for name, value in means.items()}, sync_dist=True)

    def _add(self, name: str, values: Tensor) -> None:
        valid = ~values.isnan()
        sums = torch.stack([torch.where(valid, values, 0).sum(), valid.sum()]).double()
        self._sums[name] = self._sums.get(name, 0) + sums

    @property
    def coder(self) -> CodecNetwork:
        """The network that is validated and used afterwards: the averaged one, if there is one."""
        return self.network if self.ema is None else self.ema

    def _arranged(self, x: Tensor) -> Tensor:
        # Twice as fast on a GPU; on a CPU torch 2.12 aborts in the backward pass of the first block.
        return x.contiguous(memory_format=torch.channels_last) if x.is_cuda else x


@torch.no_grad()
def _inside(output: dict, batch: dict) -> dict[str, Tensor]:
    """What is watched besides the objective: the rate of each latent, and the share of the picture that masks cover
    and that the edge gate lets through, where there is one."""
    figures = {f"bpp_{name}": bits for name, bits in bits_by_latent(output["likelihoods"], batch["image"]).items()}
    figures["mask_coverage"] = batch["mask"].float().mean()
    if "edge_logits" in output:
        opened = output["edge_logits"].float().sigmoid()
        figures["gate_coverage"] = opened.mean()
        if "faces" in batch:
            figures["gate_in_faces"] = (opened * batch["faces"]).sum() / batch["faces"].sum()
    return figures
