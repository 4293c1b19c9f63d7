"""A learned codec: this project's coding path against CompressAI's own, same architecture, weights and picture."""

import numpy as np
import torch


def cases():
    """One case: the mean-scale hyperprior with N = 64, compress and decompress of a 512 x 512 picture."""
    from compressai.models import MeanScaleHyperprior

    from icm.faces.sources import DemoFaces
    from models.hyperprior import Hyperprior

    torch.manual_seed(0)
    ours, peer = Hyperprior(64, 96).eval(), MeanScaleHyperprior(64, 96).eval()
    state = {name: value for name, value in ours.state_dict().items() if name in peer.state_dict()}
    peer.load_state_dict(state, strict=False)
    for network in (ours, peer):
        network.update(force=True)
    image = np.resize(DemoFaces().images()[0].load(), (512, 512, 3))
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255

    def round_trip(network):
        with torch.inference_mode():
            coded = network.compress(x)
            return network.decompress(coded["strings"], coded["shape"])

    yield "learned: hyperprior here / in CompressAI", lambda: round_trip(ours), lambda: round_trip(peer)
