"""Edge masks: Segment Anything once for all alphas, and masks that keep up with the pictures of a training."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.case import Case, Options, lazily
from icm.masks.base import NoMasks
from icm.masks.edges import union_of_edges
from icm.masks.instances import rasterize
from icm.masks.make import Task, make
from icm.masks.sam import SamMasks
from icm.masks.sam_generator import SamSettings, ScoredMask
from icm.masks.store import MaskStore
from icm.splits import Split

_ALPHAS = (0.78, 0.82, 0.86, 0.9, 0.93)
_PICTURES, _MASKS = 32, 80
_POINTS = 4
_CROP = 256


def cases(options: Options) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        yield Case(
            f"loading {_PICTURES} crops of {_CROP} x {_CROP} with SAM masks ({_MASKS} a picture), on one core",
            "without masks",
            *lazily(_loading, Path(folder, "loading")),
            goal=0.6,
            note="640 x 480 JPEG files; the edges were derived and kept by an earlier epoch",
        )
        yield Case(
            f"edge masks of a 640 x 480 picture at {len(_ALPHAS)} alphas",
            "SamAutomaticMaskGenerator for each alpha",
            *lazily(_making, Path(folder, "making")),
            goal=4.5,
            note=f"ViT-B's width, 1 of its 12 blocks, random weights, {_POINTS} x {_POINTS} points",
        )


def _photographs(folder: Path, count: int) -> Split:
    """``count`` pictures of 640 x 480 as JPEG files: the demo's scenes, turned and cut in turn."""
    from icm.faces.sources import DemoFaces

    scenes = [scene.load() for scene in DemoFaces().images()]
    folder.mkdir(parents=True)
    for number in range(count):
        picture = np.rot90(scenes[number % len(scenes)], 2 * (number // len(scenes)))
        Image.fromarray(cv2.resize(picture, (640, 480))).save(folder / f"{number:03}.jpg", quality=92)
    return Split(folder, ".", folder)


def _loading(folder: Path) -> tuple[Callable, Callable]:
    from datamodules.coco import MaskedImages

    split = _photographs(folder / "photos", _PICTURES)
    options = SamMasks(path=str(folder / "store"))
    store = MaskStore.create(options.folder(split), options.model, "none", options.settings(), {})
    for number, name in enumerate(split.images()):
        store.write(name, 480, 640, _discs(number))

    def pass_over(masks: SamMasks | NoMasks) -> Callable[[], None]:
        names = split.images()
        pictures = MaskedImages(split.folder, names, masks.open(split), _CROP, seed=0, augment=True)
        cv2.setNumThreads(1)  # as in a worker of a training

        def load() -> None:
            for index in range(len(names)):
                pictures[index]

        return load

    return pass_over(options), pass_over(NoMasks())


def _discs(seed: int) -> list[ScoredMask]:
    """Masks of a picture of 640 x 480: ellipses of all sizes."""
    from pycocotools import mask as coco

    rng = np.random.default_rng(seed)
    found = []
    for _ in range(_MASKS):
        drawn = np.zeros((480, 640), np.uint8, order="F")
        centre, axes = rng.integers(0, 640, 2), rng.integers(5, 160, 2)
        drawn = cv2.ellipse(np.ascontiguousarray(drawn), centre.tolist(), axes.tolist(), 30, 0, 360, 1, -1)
        counts = coco.encode(np.asfortranarray(drawn))["counts"].decode()
        found.append(ScoredMask(counts, float(rng.uniform(0.78, 1)), 1.0))
    return found


def _making(folder: Path) -> tuple[Callable, Callable]:
    import torch
    from segment_anything import SamAutomaticMaskGenerator

    split = _photographs(folder / "photos", 1)
    picture = np.asarray(Image.open(split.folder / "000.jpg"))
    sam = _random_sam()
    settings = SamSettings(_ALPHAS[0], points_per_side=_POINTS, stability=0.0)
    runs = iter(range(10**6))

    def one_pass() -> list[np.ndarray]:
        path = folder / str(next(runs))  # nothing is kept from one run to the next
        options = SamMasks(path=str(path), points_per_side=_POINTS, stability=0.0)
        store = options.folder(split)
        MaskStore.create(store, options.model, "random", settings, {})
        list(make([Task(split.folder, store, ("000.jpg",))], lambda: sam, settings, "cpu"))
        readers = [SamMasks(alpha=alpha, path=str(path)).open(split) for alpha in _ALPHAS]
        return [reader.read("000.jpg", *picture.shape[:2]) for reader in readers]

    def pass_for_each() -> list[np.ndarray]:
        found = []
        for alpha in _ALPHAS:
            generator = SamAutomaticMaskGenerator(
                sam, points_per_side=_POINTS, pred_iou_thresh=alpha, stability_score_thresh=0.0, output_mode="coco_rle"
            )
            masks = (rasterize(mask["segmentation"], *picture.shape[:2]) for mask in generator.generate(picture))
            found.append(union_of_edges(masks, *picture.shape[:2]))
        return found

    torch.set_grad_enabled(False)
    found, expected = one_pass(), pass_for_each()
    if not all(map(np.array_equal, found, expected)) or not all(edges.any() for edges in found):
        raise RuntimeError("the edges of one pass are not those of a pass for each alpha")

    def ours() -> None:
        one_pass()

    def peer() -> None:
        pass_for_each()

    return ours, peer


def _random_sam():
    """A Segment Anything with random weights whose predicted IoUs lie around 0.85."""
    import torch
    from segment_anything.build_sam import _build_sam

    torch.manual_seed(0)
    sam = _build_sam(encoder_embed_dim=768, encoder_depth=1, encoder_num_heads=12, encoder_global_attn_indexes=[])
    torch.nn.init.normal_(sam.mask_decoder.iou_prediction_head.layers[-1].weight, std=0.05)
    torch.nn.init.constant_(sam.mask_decoder.iou_prediction_head.layers[-1].bias, 0.86)
    return sam.eval()
