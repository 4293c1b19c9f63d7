"""The embedded faces: two public-domain portraits composed into scenes that vary as photographs do.

The portraits are NASA's of the astronaut Eileen Collins (scikit-image) and the US Navy's of Rear Admiral Grace Hopper
(matplotlib); the backgrounds are photographs inside scikit-image. Everything is read from the installed packages, and
every scene is the same bytes each time it is made. These are **two people**, each from **one photograph**: enough to
run every part for real and to see how coding changes a face, not enough to say how well strangers are told apart.
"""

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from icm.errors import UserError

REVISION = 1  # of the scenes: raise it when one of them changes


class DemoError(UserError):
    """A picture that should lie inside an installed package does not."""


@dataclass(frozen=True)
class Portrait:
    """A photograph of one person: the person's outline and the face's box, in pixels of the file.

    ``standing`` is the lowest row that may show: below it the photograph cuts the person off.
    """

    package: str
    member: str
    face: tuple[int, int, int, int]
    standing: int
    outline: tuple[tuple[int, int], ...]


PORTRAITS = {
    "collins": Portrait(
        "skimage", "data/astronaut.png", (176, 60, 92, 121), 462,
        ((201, 23), (185, 38), (163, 51), (156, 58), (153, 68), (157, 104), (170, 116), (174, 128), (182, 132),
         (184, 150), (160, 149), (142, 158), (130, 172), (125, 188), (114, 187), (112, 200), (114, 210), (100, 214),
         (76, 235), (62, 250), (45, 285), (36, 310), (27, 335), (24, 370), (20, 395), (20, 419), (24, 450), (27, 480),
         (30, 511), (511, 511), (511, 478), (500, 458), (496, 452), (494, 420), (485, 395), (468, 370), (445, 353),
         (420, 346), (400, 343), (385, 345), (366, 350), (364, 340), (358, 325), (352, 287), (347, 275), (338, 262),
         (320, 245), (303, 236), (299, 215), (289, 200), (272, 183), (256, 174), (256, 163), (264, 149), (266, 137),
         (275, 134), (290, 117), (299, 98), (299, 72), (293, 52), (286, 40), (276, 31), (248, 18), (227, 16)),
    ),
    "hopper": Portrait(
        "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", (180, 130, 165, 205), 440,
        ((332, 54), (305, 42), (298, 46), (290, 46), (279, 35), (263, 35), (255, 31), (240, 35), (227, 46), (210, 43),
         (197, 49), (183, 64), (176, 82), (160, 95), (152, 115), (150, 140), (153, 190), (154, 210), (162, 240),
         (164, 265), (163, 280), (175, 290), (190, 297), (200, 302), (203, 315), (198, 322), (185, 335), (160, 345),
         (125, 356), (90, 366), (60, 379), (48, 392), (36, 412), (27, 440), (24, 480), (20, 520), (15, 560), (12, 599),
         (511, 599), (511, 434), (505, 431), (492, 393), (464, 377), (422, 366), (365, 342), (330, 313), (330, 301),
         (350, 283), (356, 266), (361, 262), (367, 227), (375, 207), (373, 185), (369, 183), (371, 135), (368, 96),
         (363, 87), (352, 86), (344, 65)),
    ),
}  # fmt: skip

BACKGROUNDS = {
    name: ("skimage", f"data/{file}")
    for name, file in {
        "coffee": "coffee.png",
        "rocket": "rocket.jpg",
        "garage": "motorcycle_left.png",
        "space": "hubble_deep_field.jpg",
        "brick": "brick.png",
        "grass": "grass.png",
        "gravel": "gravel.png",
        "moon": "moon.png",
    }.items()
}


@dataclass(frozen=True)
class Person:
    """Someone in a scene: the face's centre (share of the width), its height in pixels, a tilt in degrees."""

    who: str
    x: float
    face_height: int
    tilt: float = 0.0
    mirror: bool = False
    lower: float = 0.0
    """How much further down than the frame demands, as a share of the face's height."""


@dataclass(frozen=True)
class SceneSpec:
    """A scene: what is shown and how it is lit.

    Attributes:
        size: Width and height.
        background: A key of ``BACKGROUNDS``; ``region`` is the part of it (x, y, width as shares of its width and
            height; the height follows from the scene's shape), ``tint`` a colour for grey ones, ``defocus`` the blur.
        gain, gamma, warmth: Exposure, tone curve (above 1 darkens the middle) and red over blue.
        shade: Light falls off across the picture by this share, from the side given in degrees.
        blur, noise: Standard deviations, in pixels and in grey levels.
    """

    name: str
    size: tuple[int, int]
    background: str
    people: tuple[Person, ...]
    region: tuple[float, float, float] = (0.0, 0.0, 1.0)
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    defocus: float = 2.0
    gain: float = 1.0
    gamma: float = 1.0
    warmth: float = 1.0
    shade: tuple[float, float] = (0.0, 0.0)
    blur: float = 0.0
    noise: float = 0.0


def _collins(*args, **kwargs) -> Person:
    return Person("collins", *args, **kwargs)


def _hopper(*args, **kwargs) -> Person:
    return Person("hopper", *args, **kwargs)


SCENES = (
    SceneSpec("launch-pad", (640, 480), "rocket", (_collins(0.36, 118),), gain=0.95, warmth=0.96),
    SceneSpec("garage", (640, 480), "garage", (_hopper(0.6, 150, mirror=True),), defocus=3.0, noise=2.0),
    SceneSpec("brick-wall", (640, 480), "brick", (_collins(0.55, 96, -3.0, mirror=True),), tint=(0.86, 0.56, 0.45),
              warmth=1.05, shade=(0.35, 20.0)),
    SceneSpec("lawn", (640, 480), "grass", (_hopper(0.42, 130, 2.5),), tint=(0.62, 0.8, 0.42), gain=1.08),
    SceneSpec("cafe", (640, 480), "coffee", (_collins(0.7, 86, 4.0),), defocus=3.5, warmth=1.08, gamma=1.1),
    SceneSpec("night-sky", (640, 480), "space", (_hopper(0.5, 120, -2.0),), gain=0.8, gamma=1.15, warmth=0.94,
              noise=4.0),
    SceneSpec("crew", (640, 480), "rocket", (_hopper(0.27, 120), _collins(0.7, 104, mirror=True)),
              region=(0.1, 0.0, 0.9), gain=1.05),
    SceneSpec("workshop", (640, 480), "garage", (_collins(0.3, 100, 2.0), _hopper(0.74, 110, mirror=True)),
              defocus=2.5, shade=(0.3, 180.0)),
    SceneSpec("gravel-path", (512, 384), "gravel", (_collins(0.48, 76, -5.0),), tint=(0.9, 0.86, 0.78), noise=2.0),
    SceneSpec("moonlight", (512, 384), "moon", (_hopper(0.35, 96, 3.0),), tint=(0.75, 0.85, 1.0), gain=0.75,
              warmth=0.9, gamma=1.1),
    SceneSpec("counter", (512, 384), "coffee", (_hopper(0.3, 84, mirror=True), _collins(0.73, 70, 2.0)),
              region=(0.05, 0.0, 0.9), warmth=1.12, defocus=4.0),
    SceneSpec("far-lawn", (512, 384), "grass", (_collins(0.25, 52), _hopper(0.68, 58, -2.0)),
              tint=(0.6, 0.76, 0.45), defocus=1.0, gain=1.1),
    SceneSpec("portrait-wall", (480, 640), "brick", (_hopper(0.5, 170, -3.0, lower=0.1),), tint=(0.7, 0.72, 0.78),
              shade=(0.45, 0.0), gamma=1.05),
    SceneSpec("portrait-pad", (480, 640), "rocket", (_collins(0.5, 150, 3.0, mirror=True),), region=(0.25, 0.0, 0.5),
              gain=1.1, warmth=0.95, blur=0.7),
    SceneSpec("dim-garage", (640, 480), "garage", (_collins(0.52, 110, -4.0),), region=(0.3, 0.1, 0.7), gain=0.6,
              gamma=1.2, warmth=1.1, noise=5.0),
    SceneSpec("bright-yard", (640, 480), "gravel", (_hopper(0.68, 100, 4.0, mirror=True),), tint=(1.0, 0.95, 0.85),
              gain=1.2, gamma=0.9, blur=0.6),
)  # fmt: skip


def missing_files() -> list[Path | str]:
    """The pictures that are not where the installed packages should have them."""
    members = {(portrait.package, portrait.member) for portrait in PORTRAITS.values()} | set(BACKGROUNDS.values())
    return [f"{package}/{member}" for package, member in sorted(members) if not _is_there(package, member)]


def _is_there(package: str, member: str) -> bool:
    spec = importlib.util.find_spec(package)
    return spec is not None and (Path(spec.origin).parent / member).is_file()


@functools.lru_cache(maxsize=16)
def _picture(package: str, member: str) -> np.ndarray:
    """A picture from inside an installed package (not imported), HWC uint8 RGB."""
    if not _is_there(package, member):
        raise DemoError(f"{package}/{member}: not in the installed package; run: python -m pip install {package}")
    from PIL import Image

    with Image.open(Path(importlib.util.find_spec(package).origin).parent / member) as image:
        return np.asarray(image.convert("RGB"))


def compose(spec: SceneSpec) -> np.ndarray:
    """The scene as an image, HWC uint8 RGB."""
    width, height = spec.size
    canvas = _background(spec)
    for person in spec.people:
        matrix = placement(person, spec.size)
        portrait = PORTRAITS[person.who]
        cutout = _picture(portrait.package, portrait.member).astype(np.float32)
        # Averaging over the pixels that will become one keeps a shrunk portrait free of aliasing.
        scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        if scale < 1:
            cutout = cv2.GaussianBlur(cutout, (0, 0), 0.45 * (1 / scale - 1) + 0.05)
        options = {"dsize": (width, height), "flags": cv2.INTER_CUBIC}
        layer = cv2.warpAffine(cutout, matrix, borderMode=cv2.BORDER_REPLICATE, **options)
        alpha = cv2.warpAffine(_matte(person.who), matrix, borderMode=cv2.BORDER_CONSTANT, **options)
        alpha = alpha.clip(0, 1)[..., None]
        canvas = layer * alpha + canvas * (1 - alpha)
    return _light(canvas, spec)


@functools.lru_cache(maxsize=2)
def _matte(who: str) -> np.ndarray:
    """A person's opacity, HW float32 0..1, soft at the outline."""
    portrait = PORTRAITS[who]
    height, width = _picture(portrait.package, portrait.member).shape[:2]
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.array(portrait.outline)], 255)
    mask = cv2.erode(mask, np.ones((3, 3), np.uint8))
    return cv2.GaussianBlur(mask, (0, 0), 1.6).astype(np.float32) / 255


def placement(person: Person, size: tuple[int, int]) -> np.ndarray:
    """The 2x3 affine map from a portrait's pixels to the scene's: the person stands on the lower edge of the frame."""
    portrait = PORTRAITS[person.who]
    x, y, face_width, face_height = portrait.face
    centre_x, centre_y = x + face_width / 2, y + face_height / 2
    scale = person.face_height / face_height
    angle = np.deg2rad(person.tilt)
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    if person.mirror:
        turn = turn @ np.diag([-1.0, 1.0])
    width, height = size
    target_y = height - scale * (portrait.standing - centre_y) + person.lower * person.face_height
    shift = np.array([person.x * width, target_y]) - turn @ np.array([centre_x, centre_y])
    return np.column_stack([turn, shift])


def face_box(person: Person, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Where a person's face lies in the scene: x, y, width, height of the upright box around it, in whole pixels."""
    x, y, width, height = PORTRAITS[person.who].face
    corners = np.array([(x, y), (x + width, y), (x, y + height), (x + width, y + height)], np.float64)
    moved = cv2.transform(corners[None], placement(person, size))[0]
    left, top = np.floor(moved.min(axis=0)).astype(int)
    right, bottom = np.ceil(moved.max(axis=0)).astype(int)
    return int(left), int(top), int(right - left), int(bottom - top)


def _background(spec: SceneSpec) -> np.ndarray:
    """The part of the background picture that fills the scene, HWC float32 0..255."""
    picture = _picture(*BACKGROUNDS[spec.background])
    width, height = spec.size
    full_height, full_width = picture.shape[:2]
    share_x, share_y, share = spec.region
    crop_width = share * full_width
    crop_height = crop_width * height / width
    if crop_height > full_height * (1 - share_y):
        crop_height = full_height * (1 - share_y)
        crop_width = crop_height * width / height
    left, top = int(share_x * full_width), int(share_y * full_height)
    part = picture[top : top + int(crop_height), left : left + int(crop_width)].astype(np.float32)
    flags = cv2.INTER_AREA if part.shape[1] > width else cv2.INTER_CUBIC
    filled = cv2.resize(part, spec.size, interpolation=flags).clip(0, 255)
    if spec.defocus:
        filled = cv2.GaussianBlur(filled, (0, 0), spec.defocus)
    return filled * np.array(spec.tint, np.float32)


def _light(canvas: np.ndarray, spec: SceneSpec) -> np.ndarray:
    height, width = canvas.shape[:2]
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    amount, side = spec.shade
    angle = np.deg2rad(side)
    shading = 1 - amount * (0.5 + x * np.cos(angle) + y * np.sin(angle)).clip(0, 1)
    colour = np.array([spec.warmth, 1.0, 1 / spec.warmth])
    image = (canvas.clip(0, 255) / 255) ** spec.gamma * spec.gain * shading[..., None] * colour
    if spec.blur:
        image = cv2.GaussianBlur(image, (0, 0), spec.blur)
    if spec.noise:
        # The scene's place in the list seeds its noise.
        image = image + np.random.default_rng(SCENES.index(spec)).normal(0, spec.noise / 255, image.shape)
    return np.rint(image * 255).clip(0, 255).astype(np.uint8)
