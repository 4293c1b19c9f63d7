"""What can be told of a configuration before anything is written or trained."""

from typing import TYPE_CHECKING

from icm.errors import UserError

if TYPE_CHECKING:
    from pytorch_lightning import LightningDataModule

    from models.network import CodecNetwork
    from models.objective import RateDistortion

MATMUL_PRECISIONS = ("highest", "high", "medium")


def check_matmul_precision(precision: str) -> None:
    """UserError for a precision that there is not."""
    if precision not in MATMUL_PRECISIONS:
        raise UserError(f"matmul_precision={precision}: choose from {', '.join(MATMUL_PRECISIONS)}")


def check_parts(network: "CodecNetwork", objective: "RateDistortion", data: "LightningDataModule") -> None:
    """UserError when parts that are well on their own do not go together."""
    from models.objective import MS_SSIM_SIDE

    for name in ("crop", "val_crop"):
        side = getattr(data, name)
        if side % network.multiple:
            raise UserError(f"data.{name}={side}: {type(network).__name__} takes multiples of {network.multiple}")
        if objective.distortion == "ms_ssim" and side < MS_SSIM_SIDE:
            raise UserError(f"data.{name}={side}: objective.distortion=ms_ssim takes {MS_SSIM_SIDE} pixels or more")
    if objective.region == "object" and data.masks.region != "object":
        raise UserError("objective=object counts the insides of objects, which masks=objects has; add that")
    if objective.identity_weight:
        if not getattr(data, "faces", None):
            raise UserError(
                f"objective.identity_weight={objective.identity_weight}: needs data that knows faces; use data=scenes "
                "with data.faces=FILE, or 0"
            )
        if getattr(network, "trained", "all") == "gate":
            raise UserError(
                f"objective.identity_weight={objective.identity_weight} network.trained=gate: the gate alone learns "
                "nothing from what is decoded; use network.trained=all or codec"
            )
