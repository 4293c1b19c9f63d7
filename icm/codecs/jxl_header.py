"""The picture size in a bare JPEG XL codestream's SizeHeader (ISO/IEC 18181-1), read without decoding anything."""

_SIGNATURE = b"\xff\x0a"
_LONG_BITS = (9, 13, 18, 30)
_RATIOS = ((1, 1), (1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def jxl_size(codestream: bytes) -> tuple[int, int]:
    """(width, height) in pixels.

    Raises:
        ValueError: ``codestream`` is no bare JPEG XL codestream.
    """
    if not codestream.startswith(_SIGNATURE) or len(codestream) < 12:
        raise ValueError("not a JPEG XL codestream")
    bits = int.from_bytes(codestream[2:12], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def side() -> int:
        return (take(5) + 1) * 8 if small else take(_LONG_BITS[take(2)]) + 1

    small = take(1)
    height = side()
    ratio = take(3)
    if not ratio:
        return side(), height
    numerator, denominator = _RATIOS[ratio]
    return height * numerator // denominator, height
