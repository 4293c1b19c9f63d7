"""Classical restoration: make the coded crop look less coded before the recogniser sees it.

``deblock``: a Gaussian low-pass rounds the corners of blocks. Recognisers take the edges of blocks for edges of the
    face: against pixelation this is the strongest of the four.
``wiener``: deconvolution of a Gaussian blur (Wiener filter with a Laplacian prior, Orieux, Giovannelli, Rodet 2010).
``sharpen``: unsharp masking, a milder deconvolution that needs no exact idea of the blur.
``upscale``: Lanczos interpolation up to what recognisers take, in place of their own bilinear one.

Sizes are shares of the crop's shorter side, because what hides a face is a matter of its size in the picture.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

import cv2
import numpy as np

from icm.attacks.base import Attack, AttackError


def deblock(crop: np.ndarray, size: float) -> np.ndarray:
    """Low-pass by a Gaussian of standard deviation ``size``."""
    return cv2.GaussianBlur(crop, (0, 0), size * min(crop.shape[:2]))


def wiener(crop: np.ndarray, size: float, noise: float) -> np.ndarray:
    """Deconvolution of a Gaussian of standard deviation ``size``; ``noise`` balances sharpness against noise."""
    from skimage.restoration import wiener

    sigma = size * min(crop.shape[:2])
    reach = max(1, int(np.ceil(3 * sigma)))
    bell = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    point_spread = np.outer(bell, bell) / bell.sum() ** 2
    # The filter takes the picture for periodic: a mirrored border keeps what that does off the face.
    border = 2 * reach
    padded = np.pad(crop / 255, ((border, border), (border, border), (0, 0)), mode="symmetric")
    planes = [wiener(padded[..., channel], point_spread, noise, clip=False) for channel in range(3)]
    return _pixels(255 * np.stack(planes, axis=-1)[border:-border, border:-border])


def sharpen(crop: np.ndarray, size: float, amount: float) -> np.ndarray:
    """Add ``amount`` times what a Gaussian of standard deviation ``size`` takes away."""
    smooth = cv2.GaussianBlur(crop, (0, 0), size * min(crop.shape[:2])).astype(np.float64)
    return _pixels(crop + amount * (crop - smooth))


def upscale(crop: np.ndarray, side: float) -> np.ndarray:
    """Enlarge a crop whose shorter side is below ``side`` pixels to that."""
    factor = side / min(crop.shape[:2])
    if factor <= 1:
        return crop
    height, width = (round(factor * length) for length in crop.shape[:2])
    return cv2.resize(crop, (width, height), interpolation=cv2.INTER_LANCZOS4)


def _pixels(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class _Method:
    title: str
    apply: Callable[..., np.ndarray]
    options: dict[str, float]


_METHODS = {
    "deblock": _Method("deblocking", deblock, {"size": 0.02}),
    "wiener": _Method("Wiener deconvolution", wiener, {"size": 0.03, "noise": 0.01}),
    "sharpen": _Method("sharpening", sharpen, {"size": 0.05, "amount": 2.0}),
    "upscale": _Method("upscaling", upscale, {"side": 224}),
}


class Restoration(Attack):
    """``deblock``, ``wiener``, ``sharpen`` or ``upscale``.

    Args:
        method: Which of them.
        options: Those of the method's function, each above 0; those left out are at their defaults.

    Raises:
        AttackError: no such method or option, or a value that is not above 0.
    """

    def __init__(self, method: str, **options: float):
        if method not in _METHODS:
            raise AttackError(f"attack method={method}: choose from {', '.join(_METHODS)}")
        chosen = _METHODS[method]
        for option, value in options.items():
            if option not in chosen.options:
                raise AttackError(
                    f"attack.{method}.{option}={value}: no such option; it has {', '.join(chosen.options)}"
                )
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
                raise AttackError(f"attack.{method}.{option}={value}: must be a number above 0")
        self.name = method
        self.title = chosen.title
        self._apply = chosen.apply
        self._options = {**chosen.options, **options}
        package = "scikit-image" if method == "wiener" else "opencv-contrib-python-headless"
        self.version = f"1, {package} {metadata.version(package)}"

    @property
    def parameters(self) -> dict:
        return dict(self._options)

    def restore(self, crop: np.ndarray) -> np.ndarray:
        return self._apply(crop, **self._options)
