"""Peak memory of coding and decoding a picture of 12 megapixels: tiles against the whole picture."""

from collections.abc import Iterator
from functools import partial

from benchmarks.case import Case, Options
from benchmarks.pictures import photograph
from benchmarks.worker import Tasks, added_megabytes

_SIZE = (3008, 4032)  # multiples of 64: CompressAI's network takes no other


def cases(options: Options) -> Iterator[Case]:
    yield Case(
        "hyperprior, 12 megapixels to bytes and back",
        "CompressAI",
        partial(added_megabytes, ours_tasks, *_SIZE),
        partial(added_megabytes, peer_tasks, *_SIZE),
        goal=1 / 0.7,
        unit="MB",
        note="shipped control, mid, tiles of 1024",
    )


def ours_tasks(height: int, width: int) -> Tasks:
    from icm.codecs import create

    codec, image = create("sa_icm", variant="control"), photograph(height, width)
    codec.decode(codec.encode(image[:64, :64]))
    return {"run": lambda: codec.decode(codec.encode(image)) is None}


def peer_tasks(height: int, width: int) -> Tasks:
    import torch

    from benchmarks.learned import compressai_network

    network, image = compressai_network(), photograph(height, width)

    def run() -> None:
        with torch.no_grad():
            coded = network.compress(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
            x = network.decompress(coded["strings"], coded["shape"])["x_hat"]
            (x[0] * 255).round().byte().permute(1, 2, 0).numpy()

    return {"run": run}
