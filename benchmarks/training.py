"""A step of training TCM, against that of the published loop with the same weights and pictures."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import reference
from benchmarks.case import Case, Options
from benchmarks.pictures import photograph
from benchmarks.worker import Tasks, Worker

_CROPS, _SIDE, _N, _LAMBDA = 8, 256, 64, 0.05
# Dense bf16 operations a second, by what torch calls the card.
_PEAKS = {"H100 80GB HBM3": 989e12, "H100 PCIe": 756e12, "H200": 989e12, "A100": 312e12}


def cases(options: Options) -> Iterator[Case]:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    published = reference.find(options.reference)
    title = f"training step of TCM N={_N}, {_CROPS} x {_SIDE} x {_SIDE}"
    peer = Worker(peer_tasks, published, device)
    for precision, goal in (("float32", None), ("bf16", 4 if device == "cuda" else 1.8)):
        ours = Worker(ours_tasks, device, precision)
        yield _against(ours, peer, f"{title}, {precision}", "published loop, float32", goal)
        if (peak := _peak(device)) and precision == "bf16":

            def utilisation(ours: Worker = ours, peak: float = peak) -> float:
                return 100 * ours("operations") / ours("step") / peak

            yield Case("its operations over the card's peak (MFU)", "", utilisation, unit="%")
        ours.end()
    peer.end()
    plain = Worker(ours_tasks, device, "bf16")
    for variant in _VARIANTS:
        varied = Worker(ours_tasks, device, "bf16", variant)
        yield _against(varied, plain, f"not built: {title}, bf16, {variant}", "as it is trained")
        varied.end()
    plain.end()


def _against(ours: Worker, peer: Worker, title: str, peer_title: str, goal: float | None = None) -> Case:
    return Case(title, peer_title, lambda: ours("step"), lambda: peer("step"), goal)


def _peak(device: str) -> float | None:
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else ""
    return next((peak for card, peak in _PEAKS.items() if card in name), None)


def ours_tasks(device: str, precision: str, variant: str = "") -> Tasks:
    import torch

    from models.lightning import CodecTraining
    from models.objective import RateDistortion

    training = CodecTraining(_network().to(device), RateDistortion(_LAMBDA, "plain"), lr=1e-4, aux_lr=1e-3)
    network, optimizer = training.network, training.configure_optimizers()
    x = training._arranged(_pictures(device))
    if device == "cuda":
        network.to(memory_format=torch.channels_last)
    if variant:
        _VARIANTS[variant](network, optimizer)

    def step() -> float:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            loss = training.objective(network(x), x)["loss"]
        (loss + network.aux_loss()).backward()
        training.configure_gradient_clipping(optimizer, 1.0, "norm")
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return _tasks(step, device)


def peer_tasks(published: Path, device: str) -> Tasks:
    """As the published train.py does it, by its own parts."""
    import torch

    torch.backends.cudnn.deterministic = True
    network = reference.network(published, _N).train()
    network.load_state_dict(_network().state_dict())
    network.to(device)
    quantiles = [value for name, value in network.named_parameters() if name.endswith(".quantiles")]
    weights = [value for name, value in network.named_parameters() if not name.endswith(".quantiles")]
    optimizer, auxiliary = torch.optim.Adam(weights, lr=1e-4), torch.optim.Adam(quantiles, lr=1e-3)
    x = _pictures(device)

    def step() -> float:
        optimizer.zero_grad()
        auxiliary.zero_grad()
        output = network(x)
        bits = -sum(likelihoods.log2().sum() for likelihoods in output["likelihoods"].values())
        loss = bits * 3 / x.numel() + _LAMBDA * 255**2 * torch.nn.functional.mse_loss(output["x_hat"], x)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        network.aux_loss().backward()
        auxiliary.step()
        return float(loss.detach())

    return _tasks(step, device)


def _tasks(step: Callable[[], float], device: str) -> Tasks:
    """``step`` in seconds: of the card, or of the one core that computes. And what it multiplies and adds, counted."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def timed() -> float:
        if device == "cpu":
            before = time.process_time()
            step()
            return time.process_time() - before
        torch.cuda.synchronize()
        before = time.perf_counter()
        step()
        torch.cuda.synchronize()
        return time.perf_counter() - before

    def operations() -> int:
        with FlopCounterMode(display=False) as counter:
            step()
        return counter.get_total_flops()

    return {"step": timed, "loss": step, "operations": operations}


def _network():
    import torch

    from models.tcm import TCM

    torch.manual_seed(0)
    return TCM(N=_N).train()


def _pictures(device: str):
    import torch

    picture = torch.from_numpy(photograph(_SIDE + 32, _SIDE + 32)).permute(2, 0, 1).float() / 255
    crops = [picture[:, 4 * i : 4 * i + _SIDE, 4 * i : 4 * i + _SIDE] for i in range(_CROPS)]
    return torch.stack(crops).to(device)


def _fused_adam(network, optimizer) -> None:
    for group in optimizer.param_groups:
        group["fused"] = True


def _torchs_attention(network, optimizer) -> None:
    from models import layers

    attend = layers.attend
    vars(layers)["attend"] = lambda *arguments: attend(*arguments[:5])


_VARIANTS = {
    "torch's scaled_dot_product_attention": _torchs_attention,
    "fused Adam": _fused_adam,
}
