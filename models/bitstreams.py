"""Real bits of whole validation pictures, beside the estimate that training goes by."""

import copy
import logging

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F

from icm.errors import UserError
from icm.images import ImageError, read_image
from models.network import CodecNetwork

log = logging.getLogger(__name__)


class ValidationBitstreams(pl.Callback):
    """Codes the first validation pictures, whole, after every validation.

    It logs ``val/real_bpp``, the size of their strings, and ``val/estimated_bpp``, the estimate for the same pictures,
    in bits for each pixel of the original, means over pictures. Processes share the work. What is coded is a copy of
    the network that is validated, in float32: training itself goes on as without.

    Args:
        count: How many pictures; 0: none, nothing is logged.

    Raises:
        UserError: Another number.
    """

    def __init__(self, count: int):
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise UserError(f"validation.bitstreams={count}: use a number of pictures, 0 for none")
        self.count = count

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not self.count or trainer.sanity_checking:
            return
        network = copy.deepcopy(module.coder).eval()
        network.update(force=True)
        pictures = trainer.datamodule.val_set
        names = pictures.names[: self.count][trainer.global_rank :: trainer.world_size]
        sums = torch.zeros(3, device=module.device)
        for name in names:
            try:
                image = read_image(pictures.folder / name)
            except ImageError as error:
                log.warning("not coded for val/real_bpp: %s", error)
                continue
            sums += sums.new_tensor([*rate(network, image, module.device), 1])
        real, estimated, coded = trainer.strategy.reduce(sums, reduce_op="sum").tolist()
        if coded:
            figures = {"val/real_bpp": real / coded, "val/estimated_bpp": estimated / coded}
            module.log_dict(figures, sync_dist=True)


def rate(network: CodecNetwork, image: np.ndarray, device: torch.device) -> tuple[float, float]:
    """Real and estimated bits for each pixel of a whole picture.

    Args:
        network: In eval mode, its coding tables made.
        image: (H, W, 3) uint8 RGB, of any size: it is padded by edge replication to what the network takes.
        device: Where the network is.
    """
    height, width = image.shape[:2]
    x = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None].float() / 255
    x = F.pad(x, (0, -width % network.multiple, 0, -height % network.multiple), mode="replicate")
    likelihoods, strings = network(x)["likelihoods"], network.compress(x)["strings"]
    estimated = sum(-float(values.double().log2().sum()) for values in likelihoods.values())
    real = 8 * sum(len(string) for part in strings for string in part)
    return real / (height * width), estimated / (height * width)
