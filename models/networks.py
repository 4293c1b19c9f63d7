"""The networks that weights on disk may belong to."""

from collections.abc import Mapping

from torch import Tensor

from models.gated import GatedHyperprior
from models.hyperprior import Hyperprior
from models.network import CodecNetwork
from models.tcm import TCM

NETWORKS: tuple[type[CodecNetwork], ...] = (TCM, Hyperprior, GatedHyperprior)


def network_class(state: Mapping[str, Tensor]) -> type[CodecNetwork] | None:
    """The class whose `CodecNetwork.signature` is in ``state``; of several, the one with the longest; None without."""
    found = [network for network in NETWORKS if all(name in state for name in network.signature)]
    return max(found, key=lambda network: len(network.signature), default=None)
