"""Rate: bits per pixel."""


def bits_per_pixel(size: int, height: int, width: int) -> float:
    """Rate of ``size`` bytes over an original picture of ``height`` x ``width`` pixels (not the padded one)."""
    if height < 1 or width < 1:
        raise ValueError(f"a picture of {width} x {height} pixels has no rate")
    return 8.0 * size / (height * width)
