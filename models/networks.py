"""The networks that weights on disk may belong to."""

from collections.abc import Mapping

from torch import Tensor

from models.gated import GatedHyperprior
from models.hyperprior import Hyperprior
from models.network import CodecNetwork
from models.tcm import TCM
from models.zoo import Cheng2020Anchor, Cheng2020Attention, Factorized, JointAutoregressive, ScaleHyperprior

NETWORKS: tuple[type[CodecNetwork], ...] = (
    TCM, Hyperprior, GatedHyperprior, Factorized, ScaleHyperprior, JointAutoregressive, Cheng2020Anchor,
    Cheng2020Attention,
)  # fmt: skip


def network_class(state: Mapping[str, Tensor]) -> type[CodecNetwork] | None:
    """The class that `CodecNetwork.matches`; of several, the one with the longest signature; None without."""
    found = [network for network in NETWORKS if network.matches(state)]
    return max(found, key=lambda network: len(network.signature), default=None)
