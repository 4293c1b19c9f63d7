"""Masks of everything in an image by Segment Anything's automatic generator (Kirillov et al. 2023).

One pass at the lowest alpha serves every higher one: the generator keeps masks by falling predicted IoU, so that a mask
of lower score never removes one of higher score, and dropping the low ones afterwards gives what a pass at the higher
alpha gives. With crops or cleaned regions other scores decide, and a pass serves its own alpha alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icm.download import DownloadError
from icm.files import file_sha256
from icm.images import ImageError
from icm.masks.edges import MaskError, check_number
from icm.masks.sam_weights import fetch_checkpoint, find_checkpoint, published
from icm.preflight import Problem, check

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

# Points whose masks are held at once for an image of a megapixel: three float32 masks each, about 0.8 GB.
_POINTS_AT_ONCE = 64
_MEGAPIXEL = 1024 * 1024


@dataclass(frozen=True)
class SamSettings:
    """What shapes the masks, besides the weights.

    Attributes:
        alpha: A mask is kept whose predicted IoU is above it (`above`).
        points_per_side: Prompts lie on a grid of this many points squared; 1 to 64.
        stability: The least stability score (IoU of a mask under a shifted cut-off of its logits) of a mask that is
            kept.
        box_nms: Box IoU from which the lower-scored of two masks is a duplicate.
        crop_n_layers: The image is searched again in crops: 4 in the first of these layers, 16 in the second; 0 to 4.
        min_mask_region_area: Holes and islands of fewer pixels are removed from the masks; 0: none.

    Raises:
        MaskError: a value out of range.
    """

    alpha: float
    points_per_side: int = 32
    stability: float = 0.95
    box_nms: float = 0.7
    crop_n_layers: int = 0
    min_mask_region_area: int = 0

    def __post_init__(self) -> None:
        for name in ("alpha", "stability", "box_nms"):
            check_number(name, getattr(self, name), 0, 1)
        check_number("points_per_side", self.points_per_side, 1, 64, whole=True)
        check_number("crop_n_layers", self.crop_n_layers, 0, 4, whole=True)
        check_number("min_mask_region_area", self.min_mask_region_area, 0, 2**31, whole=True)

    @property
    def serves_higher_alphas(self) -> bool:
        """Whether dropping the low scores of a pass gives the masks of a pass at a higher alpha."""
        return not self.crop_n_layers and not self.min_mask_region_area


def above(score: float, alpha: float) -> bool:
    """Whether a mask passes: as in Segment Anything's generator, strictly, in single precision, 0 letting all pass."""
    return alpha <= 0 or bool(np.float32(score) > np.float32(alpha))


@dataclass(frozen=True)
class ScoredMask:
    """One mask.

    Attributes:
        counts: COCO's compressed run lengths; the mask's size is the image's.
        score: Predicted IoU.
        stability: Stability score.
    """

    counts: str
    score: float
    stability: float


class MaskGenerator:
    """Segment Anything with its settings on one device."""

    def __init__(self, sam: "Sam", settings: SamSettings, device: str):
        from segment_anything import SamAutomaticMaskGenerator

        self._generator = SamAutomaticMaskGenerator(
            sam.to(device),
            points_per_side=settings.points_per_side,
            pred_iou_thresh=settings.alpha,
            stability_score_thresh=settings.stability,
            box_nms_thresh=settings.box_nms,
            crop_n_layers=settings.crop_n_layers,
            min_mask_region_area=settings.min_mask_region_area,
            output_mode="coco_rle",
        )

    def generate(self, image: np.ndarray) -> list[ScoredMask]:
        """Masks of an image (H, W, 3) uint8 RGB, best score first.

        Raises:
            ImageError: Segment Anything cannot take it: it is too thin for the resize to a longer side of 1024, or too
                large for the device's memory.
        """
        import torch

        pixels = image.shape[0] * image.shape[1]
        self._generator.points_per_batch = max(1, min(_POINTS_AT_ONCE, _POINTS_AT_ONCE * _MEGAPIXEL // pixels))
        try:
            masks = self._generator.generate(image)
        except (ValueError, torch.OutOfMemoryError) as error:
            reason = str(error).splitlines()[0]
            raise ImageError(
                f"Segment Anything cannot take an image of {image.shape[1]}x{image.shape[0]} pixels ({reason})"
            ) from error
        found = [
            ScoredMask(mask["segmentation"]["counts"], float(mask["predicted_iou"]), float(mask["stability_score"]))
            for mask in masks
        ]
        return sorted(found, key=lambda mask: -mask.score)


def resolve_checkpoint(model: str, path: str | None) -> tuple[Path, str]:
    """The weight file of a model and its SHA-256.

    Args:
        model: vit_b, vit_l or vit_h.
        path: A file of one's own, taken as it is; None: the published file in the cache folder, downloaded when it is
            not there.

    Raises:
        PreflightError: there is none and it cannot be downloaded.
        MaskError: the published file's checksum is not the published one.
    """
    expected = published(model).sha256
    if path is not None:
        found = Path(path).expanduser()
        if not found.is_file():
            remedy = f"Fetch the published one with: python -m icm download sam {model}"
            check([Problem(f"masks.checkpoint={path} is missing", remedy)])
        return found, file_sha256(found)
    here = find_checkpoint(model)
    if isinstance(here, Problem):
        try:
            found = fetch_checkpoint(model)
        except DownloadError as error:
            check([Problem(f"{here.what}, and it could not be downloaded ({error})", here.remedy)])
    else:
        found = here
    digest = file_sha256(found)
    if digest != expected:
        raise MaskError(
            f"{found} is damaged: its SHA-256 is not the published one; "
            f"delete it and run: python -m icm download sam {model}"
        )
    return found, digest


def load_sam(model: str, checkpoint: Path) -> "Sam":
    """A published architecture (vit_b, vit_l, vit_h) with the weights of ``checkpoint``, on the CPU, in eval mode."""
    import torch
    from segment_anything import sam_model_registry

    # The package's own loading unpickles whatever the file holds; weights_only takes tensors alone.
    sam = sam_model_registry[model]()
    try:
        sam.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load and load_state_dict raise many types on a wrong file
        reason = str(error).splitlines()[0]
        raise MaskError(f"{checkpoint} does not hold the weights of {model} ({reason}); check masks.model") from error
    return sam.eval()
