"""TCM through `icm.codecs`, against the published network with the same weights, pixels in and pixels out."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import reference
from benchmarks.case import Case, Options
from benchmarks.pictures import photograph
from benchmarks.worker import Tasks, Worker

_RATES = (0.2, 0.5)


def cases(options: Options) -> Iterator[Case]:
    published = reference.find(options.reference)
    with tempfile.TemporaryDirectory() as folder:
        weights = trained_like(64, Path(folder, "weights.safetensors"))
        for height, width in ((512, 512), (512, 768)):
            image = photograph(height, width)
            ours, peer = Worker(ours_tasks, weights, image), Worker(peer_tasks, published, weights, image)
            yield from _pair(ours, peer, f"{height} x {width}")
            ours.end()
            peer.end()


def _pair(ours: Worker, peer: Worker, size: str) -> Iterator[Case]:
    def same_strings() -> None:
        rates = ours("bits per pixel"), peer("bits per pixel")
        if not _RATES[0] <= rates[0] <= _RATES[1] or abs(rates[1] / rates[0] - 1) > 0.005:
            raise RuntimeError(f"the two code at {rates[0]:.4f} and {rates[1]:.4f} bpp")

    def encode() -> float:
        seconds = ours.seconds("encode")
        same_strings()
        return seconds

    note = "random weights at 0.2 to 0.5 bpp"
    title = "published code"
    yield Case(f"TCM N=64 encode, {size}", title, encode, lambda: peer.seconds("encode"), goal=1.7, note=note)
    yield Case(
        f"TCM N=64 decode, {size}",
        title,
        lambda: ours.seconds("decode"),
        lambda: peer.seconds("decode"),
        goal=1.7,
        note=note,
    )


def trained_like(N: int, path: Path) -> Path:
    """Random weights that code a photograph at 0.2 to 0.5 bpp, most symbols 0, as trained ones do.

    Torch's initial weights, but for the ends: the latent is scaled to a standard deviation of 0.25, its predicted means
    are near 0, its predicted scales near 0.25, and the density of the hyper-latent is a narrow one.
    """
    import torch

    from models.checkpoint import save_safetensors
    from models.entropy import EntropyBottleneck
    from models.tcm import TCM

    torch.manual_seed(0)
    network = TCM(N=N).eval()
    narrow = EntropyBottleneck(network.hyper, init_scale=0.2)
    network.entropy_bottleneck.load_state_dict(narrow.state_dict())
    with torch.inference_mode():
        for transforms, mean in ((network.cc_mean_transforms, 0.0), (network.cc_scale_transforms, 0.25)):
            for transform in transforms:
                transform[-1].weight.mul_(0.1)
                transform[-1].bias.fill_(mean)
        last = network.g_a[-1]
        last.bias.zero_()
        x = torch.from_numpy(photograph(256, 256)).permute(2, 0, 1)[None].float() / 255
        y = network.g_a(x)
        last.weight.mul_(0.25 / y.std())
    return save_safetensors(network, path, half=False)


def ours_tasks(weights: Path, image: np.ndarray) -> Tasks:
    from icm.codecs import create
    from icm.codecs.base import payload_size

    codec, kept = create("learned", checkpoint=weights), {}

    def encode() -> None:
        kept["stream"] = codec.encode(image)

    def rate() -> float:
        return 8 * payload_size(kept["stream"]) / image[..., 0].size

    encode()
    return {"encode": encode, "decode": lambda: codec.decode(kept["stream"]) is None, "bits per pixel": rate}


def peer_tasks(published: Path, weights: Path, image: np.ndarray) -> Tasks:
    import torch

    from models.checkpoint import load_network

    network = reference.network(published, 64).eval()
    network.load_state_dict(load_network(weights).state_dict())
    network.update(force=True)
    kept: dict = {}

    def encode() -> None:
        with torch.no_grad():
            kept.update(network.compress(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255))

    def decode() -> None:
        with torch.no_grad():
            x = network.decompress(kept["strings"], kept["shape"])["x_hat"]
            (x[0] * 255).round().byte().permute(1, 2, 0).numpy()

    def rate() -> float:
        return 8 * sum(len(string) for (string,) in kept["strings"]) / image[..., 0].size

    encode()
    return {"encode": encode, "decode": decode, "bits per pixel": rate}
