"""The shipped hyperprior network, against CompressAI's model with the same weights."""

from collections.abc import Iterator

from benchmarks.case import Case, Options
from benchmarks.pictures import photograph
from benchmarks.worker import Tasks, Worker


def cases(options: Options) -> Iterator[Case]:
    ours, peer = Worker(ours_tasks), Worker(peer_tasks)
    yield Case(
        "hyperprior round trip, 512 x 512",
        "CompressAI",
        lambda: ours.seconds("round trip"),
        lambda: peer.seconds("round trip"),
        goal=1.3,
        note="shipped control, mid: 0.2 bpp",
    )
    yield Case(
        "its entropy coding alone, to bytes and back, five times",
        "CompressAI",
        lambda: ours.seconds("entropy coding"),
        lambda: peer.seconds("entropy coding"),
        goal=1.6,
    )
    ours.end()
    peer.end()


def ours_tasks() -> Tasks:
    from icm.malloc import keep_large_blocks

    keep_large_blocks()  # as icm.codecs.learned does
    return _tasks(_network())


def peer_tasks() -> Tasks:
    return _tasks(compressai_network())


def compressai_network():
    """CompressAI's class with the weights and tables of the shipped network."""
    from compressai.models import MeanScaleHyperprior

    network = MeanScaleHyperprior(64, 96).eval()
    network.load_state_dict(_network().state_dict())
    return network


def _network():
    from icm.codecs import shipped
    from models.checkpoint import load_network
    from models.hyperprior import Hyperprior

    # The shipped networks have a gate in front; their codec is a hyperprior.
    gated = load_network(shipped.find("control", "mid").path)
    network = Hyperprior(64, 96).eval()
    network.load_state_dict({name: value for name, value in gated.state_dict().items() if not name.startswith("gate.")})
    network.update(force=True)
    return network


def _tasks(network) -> Tasks:
    import torch

    x = torch.from_numpy(photograph(512, 512)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        y = network.g_a(x)
        bottleneck, conditional = network.entropy_bottleneck, network.gaussian_conditional
        z = network.h_a(y)
        scales, means = network.h_s(bottleneck.decompress(bottleneck.compress(z), z.shape[-2:])).chunk(2, 1)

    def round_trip() -> None:
        with torch.inference_mode():
            coded = network.compress(x)
            network.decompress(coded["strings"], coded["shape"])

    def entropy_coding() -> None:
        with torch.inference_mode():
            for _ in range(5):
                z_strings = bottleneck.compress(z)
                bottleneck.decompress(z_strings, z.shape[-2:])
                strings = conditional.compress(y, conditional.build_indexes(scales), means=means)
                conditional.decompress(strings, conditional.build_indexes(scales), means=means)

    return {"round trip": round_trip, "entropy coding": entropy_coding}
