"""Distortion between an original and a coded picture."""

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icm.errors import UserError

if TYPE_CHECKING:
    import torch

# Five scales, each half the one before, and a window of 11 pixels on the smallest.
MS_SSIM_LEAST_SIDE = 161
# AlexNet halves a picture five times.
LPIPS_LEAST_SIDE = 32


class QualityError(UserError):
    """The weights of a measure of quality that cannot be used."""


def psnr(original: np.ndarray, coded: np.ndarray, mask: np.ndarray | None = None) -> float | None:
    """Peak signal-to-noise ratio in dB over all channels, peak 255; infinity for equal pictures.

    Args:
        original, coded: (H, W, 3) uint8 of one shape.
        mask: (H, W), anything but 0 for the pixels that count; None: all of them.

    Returns:
        The ratio; None where the mask leaves no pixel.

    Raises ValueError for other shapes or types.
    """
    _check(original, coded)
    if mask is not None:
        if mask.shape != original.shape[:2]:
            raise ValueError(f"a mask of shape {mask.shape} does not fit a picture of {original.shape}")
        original, coded = original[mask != 0], coded[mask != 0]
    if original.size == 0:
        return None
    error = np.mean((original.astype(np.float64) - coded.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


def ms_ssim(original: np.ndarray, coded: np.ndarray) -> float | None:
    """Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003), mean over the three RGB channels.

    It is that of CompressAI's tables (package pytorch-msssim), in double precision.

    Args:
        original, coded: (H, W, 3) uint8 of one shape.

    Returns:
        0 to 1, 1 for equal pictures; None where a side is under 161 pixels, on which the five scales do not exist.

    Raises ValueError for other shapes or types.
    """
    _check(original, coded)
    if min(original.shape[:2]) < MS_SSIM_LEAST_SIDE:
        return None
    import torch
    from pytorch_msssim import ms_ssim

    with torch.inference_mode():
        return float(ms_ssim(_tensor(original).double(), _tensor(coded).double(), data_range=255))


def load_lpips(alexnet: Path | str) -> "torch.nn.Module":
    """LPIPS (Zhang et al. 2018), version 0.1, on AlexNet: the network for `lpips`, on the CPU.

    Its linear layers come with torchmetrics.

    Args:
        alexnet: torchvision's published AlexNet weights (``alexnet-owt-7be5be79.pth``, a state dict).

    Raises:
        QualityError: the file is missing or no AlexNet.
    """
    import pickle

    import torch
    from torchmetrics.functional.image.lpips import _LPIPS

    try:
        state = torch.load(alexnet, map_location="cpu", weights_only=True)
        network = _LPIPS(net="alex", pnet_rand=True)
        # slice2.3.weight of LPIPS is features.3.weight of AlexNet.
        names = {name: f"features.{name.partition('.')[2]}" for name in network.net.state_dict()}
        network.net.load_state_dict({name: state[source] for name, source in names.items()})
    except (OSError, EOFError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise QualityError(
            f"{alexnet}: cannot be loaded as torchvision's AlexNet ({reason}); fetch it again"
        ) from error
    return network.eval()


def lpips(
    original: np.ndarray, coded: np.ndarray, network: "torch.nn.Module", mask: np.ndarray | None = None
) -> float | None:
    """Learned perceptual image patch similarity: a distance, 0 for equal pictures.

    Args:
        original, coded: (H, W, 3) uint8 RGB of one shape.
        network: Of `load_lpips`.
        mask: (H, W), anything but 0 for the pixels that count: the mean there of the distance at every pixel, from the
            layers' maps scaled up to the picture (the spatial map of the authors' package). None: the published
            distance, the mean over each layer's own map.

    Returns:
        The distance; None where a side is under 32 pixels, of which AlexNet leaves nothing, or the mask is empty.

    Raises ValueError for other shapes or types.
    """
    _check(original, coded)
    if min(original.shape[:2]) < LPIPS_LEAST_SIDE or (mask is not None and not mask.any()):
        return None
    import torch

    pictures = [_tensor(picture) / 127.5 - 1 for picture in (original, coded)]
    with torch.inference_mode():
        if mask is None:
            return float(network(*pictures))
        spatial = copy.copy(network)  # of the same layers
        spatial.spatial = True
        distances = spatial(*pictures)[0, 0]
        return float(distances[torch.from_numpy(np.ascontiguousarray(mask != 0))].mean())


def _check(original: np.ndarray, coded: np.ndarray) -> None:
    if original.shape != coded.shape or original.dtype != np.uint8 or coded.dtype != np.uint8:
        raise ValueError(
            f"quality is measured on two uint8 pictures of one shape, not {original.dtype}{original.shape}"
            f" and {coded.dtype}{coded.shape}"
        )


def _tensor(picture: np.ndarray) -> "torch.Tensor":
    """(1, 3, H, W) float32 of 0 to 255."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)[None])).float()
