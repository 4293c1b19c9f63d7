"""Original to coded picture: encode, decode back from the bytes alone, and remember both. Knows no task."""

import io

import numpy as np
from PIL import Image

from icm.codecs.base import Codec, CodecError, payload_size
from icm.evaluation.cache import Cache, content_key
from icm.metrics.rate import bits_per_pixel
from icm.parts import identity

Boxes = list[tuple[int, int, int, int]]


def code(
    image: np.ndarray, digest: str, codec: Codec, cache: Cache, faces: Boxes | None = None
) -> tuple[bytes, np.ndarray]:
    """Encode and decode one picture, or take both from the cache.

    Args:
        image: HWC uint8 RGB.
        digest: Its `icm.evaluation.cache.image_hash`.
        codec: What codes it.
        cache: Where both are kept.
        faces: Boxes (x, y, width, height) for a codec that works on faces (`Codec.uses_faces`); others ignore them.

    Returns:
        The bitstream and the coded picture, decoded back from those bytes alone.

    Raises:
        CodecError: The codec cannot code it.
        BitstreamError: The codec cannot read its own bytes.
    """
    seen = {"faces": [list(map(int, box)) for box in faces or []]} if codec.uses_faces else {}
    key = content_key(image=digest, codec=identity(codec), **seen)
    bitstream, png = (cache.get(kind, key) for kind in ("bitstream", "decoded"))
    if bitstream is not None and png is not None:
        return bitstream, _from_png(png)
    try:
        bitstream = codec.encode(image, faces or ())
        coded = codec.decode(bitstream)
    except OSError as error:  # no room for a temporary file
        raise CodecError(f"{codec.name} could not work ({error.strerror or error}); free some space") from error
    if coded.shape != image.shape:
        raise CodecError(f"{codec.name} gave back an image of shape {coded.shape} for one of {image.shape}")
    cache.put("bitstream", key, bitstream)
    cache.put("decoded", key, _png(coded))
    return bitstream, coded


def rate(image: np.ndarray, bitstream: bytes) -> dict[str, int | float]:
    """Size and rate of a coded picture, as columns of images.csv."""
    height, width = image.shape[:2]
    payload = payload_size(bitstream)
    return {
        "width": width,
        "height": height,
        "payload_bytes": payload,
        "bytes": len(bitstream),
        "bpp": bits_per_pixel(payload, height, width),
        "bpp_total": bits_per_pixel(len(bitstream), height, width),
    }


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG", compress_level=1)
    return file.getvalue()


def _from_png(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)
