"""Learned codecs: this project's coding path against others' with the same architecture, weights and pictures."""

from collections.abc import Iterator

import numpy as np

from benchmarks.case import Case, Options
from icm.faces.sources import DemoFaces


def cases(options: Options) -> Iterator[Case]:
    import torch
    from compressai.models import MeanScaleHyperprior

    from models.hyperprior import Hyperprior

    torch.manual_seed(0)
    ours, peer = Hyperprior(64, 96).eval(), MeanScaleHyperprior(64, 96).eval()
    state = {name: value for name, value in ours.state_dict().items() if name in peer.state_dict()}
    peer.load_state_dict(state, strict=False)
    for network in (ours, peer):
        network.update(force=True)
    image = np.resize(DemoFaces().images()[0].load(), (512, 512, 3))
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255

    def round_trip(network) -> None:
        with torch.inference_mode():
            coded = network.compress(x)
            network.decompress(coded["strings"], coded["shape"])

    yield Case(
        "hyperprior round trip, 512 x 512", "CompressAI", lambda: round_trip(ours), lambda: round_trip(peer), goal=1.3
    )
