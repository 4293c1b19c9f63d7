"""Damage, drawn at random: to any bytes, and to what an ``.icm`` container holds."""

import hashlib
import json
import struct

import numpy as np

from icm.codecs.base import CHECKSUM_BYTES, MAGIC, Container, unpack

_SIZES = (0, 1, 2, 15, 16, 17, 24, 32, 40, 64, 255, 256, 1000, 16384, 60_000, 65535, 2**31, 2**32 - 1)
_VALUES = (0, 1, -1, 2**31, 2**63, 10**30, 1e308, "", "bt601", "full", "\x00", True, [], {}, None, "9" * 5000)
_NUMBERS = (b"0", b"-1", b"1e999", b"NaN", b"99999999999999999999", b"null", b"[]", b"{}", b'""', b"true", b"\xff")


def damage(data: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """Bytes with one kind of damage: flipped bits, other bytes, a hole, a copy, an end cut off, a part of another."""
    found = bytearray(data)
    kind = rng.integers(8)
    at = int(rng.integers(len(found))) if found else 0
    if kind in (0, 1):  # bits, more often near the start, where headers are
        for _ in range(rng.integers(1, 9)):
            end = len(found) if rng.random() < 0.5 else min(len(found), 64)
            if end:
                found[rng.integers(end)] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        for _ in range(rng.integers(1, 9)):
            if found:
                found[rng.integers(len(found))] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
    elif kind == 3:
        del found[at:]
    elif kind == 4:
        del found[at : at + int(rng.integers(1, 65))]
    elif kind == 5:
        found[at:at] = rng.bytes(int(rng.integers(1, 65)))
    elif kind == 6:
        other = others[rng.integers(len(others))]
        cut = int(rng.integers(len(other))) if other else 0
        found[at:] = other[cut:] if rng.random() < 0.5 else other[at:]
    else:
        length = int(rng.integers(1, 200))
        found[at : at + length] = bytes([int(rng.choice([0, 255]))]) * length
    return bytes(found)


def damaged_text(data: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """`damage`, or a text (JSON, CSV) in which a number or word has become another, or a piece is there twice."""
    kind = rng.integers(4)
    if kind == 0 or not data:
        return damage(data, rng, others)
    at = int(rng.integers(len(data)))
    if kind == 1:
        return data[:at] + _NUMBERS[rng.integers(len(_NUMBERS))] + data[at + int(rng.integers(1, 9)) :]
    end = at + int(rng.integers(1, 400))
    return data[:end] + data[at:] if kind == 2 else data[:at] + data[end:]


def seal(content: bytes) -> bytes:
    """A container's content with the checksum that fits it."""
    return content + hashlib.blake2b(content, digest_size=CHECKSUM_BYTES).digest()


def encode(container: Container, **lies: int) -> bytes:
    """A sealed container, whatever it claims; ``lies`` replace the lengths of ``parameters`` and ``payload``."""
    codec, weights = container.codec.encode("utf-8", "replace")[:255], bytes.fromhex(container.weights_id)[:255]
    parameters = json.dumps(container.parameters, separators=(",", ":")).encode()[:65535]
    lengths = {"parameters": len(parameters), "payload": len(container.payload), **lies}
    return seal(
        b"".join(
            (
                MAGIC,
                struct.pack(">BB", 1, len(codec)),
                codec,
                struct.pack(">B", len(weights)),
                weights,
                struct.pack(">IIH", container.width, container.height, lengths["parameters"] & 0xFFFF),
                parameters,
                struct.pack(">I", lengths["payload"] & 0xFFFFFFFF),
                container.payload,
            )
        )
    )


def mutant(streams: list[bytes], rng: np.random.Generator) -> tuple[bytes, bytes]:
    """A damaged stream, and the sound one it was made of: half with a checksum that fits, which decoders get to see.

    Args:
        streams: Sound containers; one is damaged, the others lend their parts.
        rng: Draws the damage.
    """
    sound = streams[rng.integers(len(streams))]
    kind = rng.integers(8)
    if kind < 2:  # the checksum tells
        return damage(sound, rng, streams), sound
    if kind == 2:  # anything, sealed
        return seal(damage(sound[:-CHECKSUM_BYTES], rng, streams)), sound
    container = unpack(sound)
    other = unpack(streams[rng.integers(len(streams))])
    fields = dict(vars(container))
    if kind < 6:
        fields["payload"] = damage(container.payload, rng, [unpack(stream).payload for stream in streams])
    if kind == 6:
        fields |= {name: int(rng.choice(_SIZES)) for name in ("width", "height") if rng.random() < 0.6}
    if kind == 7:
        fields["parameters"] = _parameters(container.parameters, other.parameters, rng)
    if rng.random() < 0.03:
        fields["codec"] = rng.choice([other.codec, "none", "jpeg", "hevc", "h267", ""])
    if rng.random() < 0.03:
        fields["weights_id"] = rng.choice([other.weights_id, "", "00", rng.bytes(8).hex()])
    lies = {name: int(rng.choice(_SIZES)) for name in ("parameters", "payload") if rng.random() < 0.02}
    return encode(Container(**fields), **lies), sound


def _parameters(known: dict, other: dict, rng: np.random.Generator) -> dict:
    found = dict(known)
    for name in [*known, "planes", "symbols", "y_bytes", "listed_at"]:
        chance = rng.random()
        if chance < 0.1:
            found.pop(name, None)
        elif chance < 0.4:
            value = known.get(name, 7)
            near = value + int(rng.integers(-9, 10)) if isinstance(value, int) else value
            found[name] = [near, other.get(name, near), _VALUES[rng.integers(len(_VALUES))]][rng.integers(3)]
    return found
