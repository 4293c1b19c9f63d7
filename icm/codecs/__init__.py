"""Codecs by name: `create` one, or `decode` any codec's bytes. Each codec's module is imported when it is used."""

import importlib
import inspect
from pathlib import Path

import numpy as np

from icm.codecs import shipped
from icm.codecs.base import BitstreamError, Codec, CodecError, unpack

_CLASSES = {
    "vvc": ("icm.codecs.video", "VideoCodec"),
    "hevc": ("icm.codecs.video", "VideoCodec"),
    "av1": ("icm.codecs.video", "VideoCodec"),
    "jpeg": ("icm.codecs.still", "StillCodec"),
    "webp": ("icm.codecs.still", "StillCodec"),
    "jpeg2000": ("icm.codecs.still", "StillCodec"),
    "avif": ("icm.codecs.still", "StillCodec"),
    "jxl": ("icm.codecs.still", "StillCodec"),
    "none": ("icm.codecs.plain", "NoCodec"),
    "yuv420": ("icm.codecs.plain", "ColourOnly"),
    "sa_icm": ("icm.codecs.learned", "LearnedCodec"),
}
NAMES = tuple(_CLASSES)


def create(name: str, **options) -> Codec:
    """The codec ``name`` of `NAMES`, with its own options (``qp``, ``quality``, ``preset``, ...).

    Raises CodecError naming the field, the value and what is allowed.
    """
    if name not in _CLASSES:
        raise CodecError(f"codec.name={name}: no such codec; choose from {', '.join(NAMES)}")
    cls = _class(name)
    known = [parameter for parameter in inspect.signature(cls).parameters if parameter != "name"]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise CodecError(
            f"codec.{unknown[0]}={options[unknown[0]]}: {name} has no such option; it takes {', '.join(known)}"
        )
    return cls(name, **options) if "name" in inspect.signature(cls).parameters else cls(**options)


def decode(bitstream: bytes, checkpoint: str | Path | None = None) -> np.ndarray:
    """The image inside a container of any codec: (height, width, 3) uint8 RGB.

    ``checkpoint`` names the weights of a learned codec's file. Raises BitstreamError for bytes that are damaged, of an
    unknown codec, or made with other weights.
    """
    container = unpack(bitstream)
    return decoder(container.codec, container.weights_id, checkpoint).decode(bitstream)


def decoder(name: str, weights_id: str = "", checkpoint: str | Path | None = None) -> Codec:
    """A codec for decoding ``name``'s bytes; its own settings do not matter.

    A learned codec takes its weights from ``checkpoint``, or from the shipped network that ``weights_id`` names;
    BitstreamError when there is none.
    """
    if name not in _CLASSES:
        raise BitstreamError(f"coded by {name!r}, which this program does not know; it knows {', '.join(NAMES)}")
    if "checkpoint" not in inspect.signature(_class(name)).parameters:
        return create(name)
    return create(name, checkpoint=checkpoint or shipped.path_of(weights_id))


def _class(name: str) -> type:
    module, cls = _CLASSES[name]
    return getattr(importlib.import_module(module), cls)
