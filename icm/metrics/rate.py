"""Rate: bits per pixel."""


def bits_per_pixel(size: float, height: int, width: int) -> float:
    """Rate of a coded picture.

    Args:
        size: Bytes of the coded picture; an estimate may have a fraction.
        height: Rows of the original picture, not of a padded one.
        width: Columns of the original picture.

    Returns:
        Bits per pixel.

    Raises:
        ValueError: the picture has no pixels.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a picture of {width} x {height} pixels has no rate")
    return 8.0 * size / (height * width)
