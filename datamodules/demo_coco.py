"""``data=demo``: a small COCO-format data set made offline from photographs inside pinned packages.

Each picture is a photograph of scikit-image's ``data`` folder with 3 to 7 shapes cut from other photographs laid over
it; the annotations hold the visible part of each shape exactly (the polygon itself where nothing covers it, RLE where
something does). The portraits astronaut and grace_hopper are not used: they are the faces of the demo evaluation.
"""

import io
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from datamodules.coco import CocoEdges
from datamodules.compose import Canvas, colour_change, fit, random_outline, random_window, soften
from icm.download import cache_folder
from icm.files import atomic_write, unwritable
from icm.images import read_image
from icm.masks.base import Masks
from icm.masks.instances import rasterize
from icm.splits import DataError

PHOTOGRAPHS = (
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
# Part of the folder's name: raise it whenever the pictures change, so that an old cache is not taken for the new set.
VERSION = 1
_SIDES = (256, 288, 320)
_SEED = 20


class DemoEdges(CocoEdges):
    """`CocoEdges` over the demo set, which `prepare_data` makes when it is not there (a few seconds).

    Args:
        masks: As the other options that are not named here, `CocoEdges`'.
        cache: Where the set is kept; None: the project's cache folder (`icm.download.cache_folder`).
        train_images: Number of training images.
        val_images: Number of validation images.

    Raises:
        DataError: an option is out of range.
    """

    def __init__(
        self,
        masks: Masks,
        cache: str | None = None,
        train_images: int = 64,
        val_images: int = 8,
        crop: int = 256,
        val_crop: int = 256,
        flip: bool = True,
        scale: Sequence[float] | None = None,
        min_edge: float = 0,
        batch_size: int = 8,
        val_batch_size: int = 8,
        workers: int = 0,
        seed: int = 0,
    ):
        for name, value in (("train_images", train_images), ("val_images", val_images)):
            if value < 1:
                raise DataError(f"data.{name}={value}: use 1 or more")
        self.counts = {"train2017": train_images, "val2017": val_images}
        folder = (
            Path(cache).expanduser() if cache else cache_folder()
        ) / f"demo-v{VERSION}-{train_images}-{val_images}"
        super().__init__(
            str(folder),
            masks,
            crop=crop,
            val_crop=val_crop,
            flip=flip,
            scale=scale,
            min_edge=min_edge,
            batch_size=batch_size,
            val_batch_size=val_batch_size,
            workers=workers,
            seed=seed,
        )

    def prepare_data(self) -> None:
        make_demo(Path(self.path), self.counts)


def make_demo(folder: Path, counts: dict[str, int]) -> Path:
    """Make a demo set in COCO's layout, unless it is there. It appears whole or not at all.

    Args:
        folder: The set.
        counts: Number of images of each split, such as {"train2017": 64}; the same counts give the same pixels.

    Returns:
        ``folder``.

    Raises:
        WriteError: It cannot be written.
    """
    if folder.is_dir():
        return folder
    with unwritable(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            photographs = [read_image(photograph_folder() / name) for name in PHOTOGRAPHS]
            for number, (split, count) in enumerate(counts.items()):
                _make_split(temporary, split, count, photographs, np.random.default_rng([_SEED, number]))
            temporary.chmod(0o755)
            os.rename(temporary, folder)
        except OSError:
            # Another process may have finished the same set first.
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def photograph_folder() -> Path:
    """Where scikit-image keeps its pictures; found without importing it."""
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise DataError("data=demo needs the package scikit-image; run: pip install -r requirements.txt")
    return Path(spec.origin).parent / "data"


def _make_split(root: Path, split: str, count: int, photographs: list[np.ndarray], rng: np.random.Generator) -> None:
    images, annotations = [], []
    for image_id in range(1, count + 1):
        pixels, segmentations = _compose(photographs, rng)
        name = f"{image_id:012d}.jpg"
        atomic_write(root / split / name, _jpeg(pixels))
        height, width = pixels.shape[:2]
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for segmentation in segmentations:
            annotations.append(_annotation(len(annotations) + 1, image_id, segmentation, height, width))
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "shape"}]}
    atomic_write(root / "annotations" / f"instances_{split}.json", json.dumps(content))


def _compose(photographs: list[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, list]:
    """One picture, (H, W, 3) uint8 RGB, and the COCO segmentations of its shapes."""
    height, width = (int(rng.choice(_SIDES)) for _ in range(2))
    canvas = Canvas(_part(photographs, height, width, rng))
    polygons, masks = [], []
    for _ in range(rng.integers(3, 8)):
        centre = rng.uniform(0.1, 0.9, 2) * (width, height)
        outline = random_outline(rng) * rng.uniform(0.1, 0.3) * min(height, width) + centre
        polygon = np.round(np.clip(outline, 0, (width, height)), 2).ravel().tolist()
        mask = rasterize([polygon], height, width)
        x, y, w, h = cv2.boundingRect(mask)
        if not w:
            continue
        inside = mask[y : y + h, x : x + w]
        canvas.paste(_part(photographs, h, w, rng), np.where(inside, np.maximum(soften(inside), 128), 0), y, x)
        polygons.append(polygon)
        masks.append(mask)
    segmentations = []
    for label, (polygon, mask) in enumerate(zip(polygons, masks, strict=True), start=1):
        visible = (canvas.labels == label).astype(np.uint8)
        if visible.any():
            segmentations.append([polygon] if np.array_equal(visible, mask) else _rle(visible))
    return canvas.pixels, segmentations


def _part(photographs: list[np.ndarray], height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    photograph = photographs[rng.integers(len(photographs))]
    window = random_window(rng, *photograph.shape[:2], height, width, 0.5, 1.0)
    part = cv2.LUT(np.ascontiguousarray(photograph[window]), colour_change(rng, 0.8))
    return fit(part, height, width)


def _annotation(key: int, image_id: int, segmentation: list | dict, height: int, width: int) -> dict:
    mask = rasterize(segmentation, height, width)
    return {
        "id": key,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "area": int(mask.sum()),
        "bbox": list(cv2.boundingRect(mask)),
        "segmentation": segmentation,
    }


def _rle(mask: np.ndarray) -> dict:
    from pycocotools import mask as coco

    rle = coco.encode(np.asfortranarray(mask))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def _jpeg(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
