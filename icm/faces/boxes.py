"""Where faces are in a picture: boxes that a detector found, and faces that labels tell of."""

from dataclasses import dataclass

Point = tuple[int, int]


@dataclass(frozen=True)
class Box:
    """A face that was found.

    Attributes:
        x, y, width, height: Whole pixels, inside the picture; ``x`` and ``y`` are the top left corner.
        confidence: 0 to 1.
        eyes: Centres (x, y) of the two eyes in pixels of the picture, the person's right eye, which an upright face
            has on the left of the picture, first; None where the detector tells of none.
    """

    x: int
    y: int
    width: int
    height: int
    confidence: float
    eyes: tuple[Point, Point] | None = None

    def __post_init__(self) -> None:
        if self.eyes is not None:  # JSON brings lists
            right, left = self.eyes
            object.__setattr__(self, "eyes", (tuple(right), tuple(left)))


@dataclass(frozen=True)
class KnownFace:
    """A face that labels tell of.

    Attributes:
        identity: Who it is; None where nobody knows.
        x, y, width, height: Its box in whole pixels, ``x`` and ``y`` the top left corner.
    """

    identity: str | None
    x: int
    y: int
    width: int
    height: int

    def overlap(self, box: Box) -> float:
        """Intersection over union with a box, 0 to 1."""
        across = min(self.x + self.width, box.x + box.width) - max(self.x, box.x)
        down = min(self.y + self.height, box.y + box.height) - max(self.y, box.y)
        shared = max(0, across) * max(0, down)
        return shared / (self.width * self.height + box.width * box.height - shared)

    def holds_centre(self, box: Box) -> bool:
        """Whether the centre of a box lies inside."""
        x, y = box.x + box.width / 2, box.y + box.height / 2
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height
