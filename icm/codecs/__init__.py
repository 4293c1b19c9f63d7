"""Codecs by name: `create` one, or `decode` any codec's bytes.

A codec is a class of `icm.codecs.base.Codec` and a file ``conf/codec/NAME.yaml``, which names the class (``_target_``)
and lists its options, a comment behind each. Nothing else knows of it; its module is imported when it is used.
"""

import importlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from icm.codecs.base import BitstreamError, Codec, CodecError, unpack
from icm.images import Pixels

FOLDER = Path(__file__).resolve().parents[2] / "conf" / "codec"
# conf/codec/point.yaml is no codec: it picks one of the others (`at`).
_POINT = "point"
_COMMENT = re.compile(r"^(\w+):.*?\s#\s*(.*)$", re.MULTILINE)


def names() -> tuple[str, ...]:
    """The names of all codecs, in alphabetical order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != _POINT))


NAMES = names()


def options(name: str) -> dict[str, str]:
    """The options of a codec and what each means, in the order of its file.

    Raises:
        CodecError: There is no such codec.
    """
    return _entry(name).options


def create(name: str, **options: Any) -> Codec:
    """A codec with its own options.

    Args:
        name: One of `names`.
        options: ``qp``, ``quality``, ``preset``, ...: see `options`; those left out are at their defaults.

    Raises:
        CodecError: There is no such codec or option, or a value is not allowed; names the field, the value and what is
            allowed.
    """
    entry = _entry(name)
    for option, value in options.items():
        if option not in entry.options:
            takes = f"it takes {', '.join(entry.options)}" if entry.options else "it takes none"
            raise CodecError(f"codec.{option}={value}: {name} has no such option; {takes}")
    codec: Codec = entry.load()(**entry.fixed, **options)
    return codec


def at(at: str) -> Codec:
    """The codec at an operating point given as ``NAME:VALUE:...``, so that one list can mix codecs.

    Args:
        at: A codec's name and the values of its first options, in the order of its file: ``vvc:32``, ``jpeg:10``,
            ``sa_icm:edge:mid``, ``vvc:32:fast``.

    Raises:
        CodecError: As `create`, or there are more values than options.
    """
    name, *values = str(at).split(":")
    known = options(name)
    if len(values) > len(known):
        raise CodecError(f"codec.at={at}: {name} takes at most {len(known)} values ({', '.join(known)})")
    return create(name, **{option: value_of(value) for option, value in zip(known, values, strict=False)})


def value_of(text: str) -> object:
    """An option's value as it is typed: JSON (a number, a list, null), and plain text where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def decode(bitstream: bytes, checkpoint: str | Path | None = None) -> Pixels:
    """The image inside a container of any codec.

    Args:
        bitstream: The container.
        checkpoint: The weights of a learned codec's file; None: the shipped network that it names.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        BitstreamError: The bytes are damaged, of an unknown codec, or made with other weights.
    """
    container = unpack(bitstream)
    return decoder(container.codec, container.weights_id, checkpoint).decode(bitstream)


def decoder(name: str, weights_id: str = "", checkpoint: str | Path | None = None) -> Codec:
    """A codec for decoding the bytes of the codec ``name``; its own settings do not matter.

    Args:
        name: The codec id of a container.
        weights_id: Its weights id.
        checkpoint: The weights of a learned codec; None: the shipped network that ``weights_id`` names.

    Raises:
        BitstreamError: There is no such codec, or no shipped network of that id.
    """
    if name not in names():
        raise BitstreamError(f"coded by {name!r}, which this program does not know; it knows {', '.join(names())}")
    make: Callable[..., Codec] | None = getattr(_entry(name).load(), "for_decoding", None)
    return make(weights_id, checkpoint) if make else create(name)


@dataclass(frozen=True)
class _Entry:
    target: str
    fixed: dict[str, str]  # the name, for a class of several codecs
    options: dict[str, str]

    def load(self) -> Any:
        module, _, cls = self.target.rpartition(".")
        return getattr(importlib.import_module(module), cls)


def _entry(name: str) -> _Entry:
    if name not in names():
        raise CodecError(f"codec.name={name}: no such codec; choose from {', '.join(names())}")
    return _read(FOLDER / f"{name}.yaml")


@cache
def _read(path: Path) -> _Entry:
    text = path.read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    comments = dict(_COMMENT.findall(text))
    known = {option: comments.get(option, "") for option in content if option not in ("_target_", "name")}
    return _Entry(content["_target_"], {"name": content["name"]} if "name" in content else {}, known)
