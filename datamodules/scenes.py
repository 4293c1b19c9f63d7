"""``data=scenes``: unlimited training scenes composed from a folder of photographs, with exact object edges.

Three kinds of scene, each a square crop with its edge mask:

- *plain*: a photograph with the boundaries that people drew in it (BSDS);
- *pasted*: objects cut from other photographs (COCO, Penn-Fudan, BSDS segments) laid over a labelled photograph;
- *leaves*: a dead-leaves composition, many random shapes filled with parts of photographs or plain colours.

The mask holds the visible outlines of what was pasted and the known edges of whatever remains visible below and inside.
"""

import logging
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from datamodules import transforms
from datamodules.coco import MaskedDataModule, MaskedImages
from datamodules.compose import Canvas, colour_change, fit, fit_edges, random_outline, random_window, soften
from datamodules.library import Library, Photograph, boundary_names, load_library
from datamodules.sampling import Counter, Key, sample_rng
from icm.masks.base import Masks, NoMasks
from icm.masks.boundaries import BoundaryMasks
from icm.masks.edges import dilate
from icm.splits import DataError, Split

log = logging.getLogger(__name__)

# Magnification of photographs: COCO and BSDS pictures are sharp down to about half their size.
_MAGNIFY = (0.6, 1.3)
_LEAF_MAGNIFY = (0.5, 2.0)
# Longest side of a pasted object as a share of the crop.
_OBJECT_SIDE = (0.25, 0.95)
# Radius of a leaf as a share of the crop; radii follow a power law, many small ones and few large.
_LEAF_RADIUS = (0.05, 0.4)


class Scenes(Dataset):
    """Composed scenes, other ones every epoch.

    ``dataset[index, epoch]`` is {"image": float32 (3, crop, crop) in [0, 1], "mask": float32 (1, crop, crop) of 0 and
    1, "name": str}.

    Args:
        library: What they are composed of.
        crop: Side of a scene, pixels.
        length: Scenes an epoch.
        shares: The parts of plain, pasted and leaves scenes.
        dilation: Side in pixels of the square that thickens the edges (odd, 1 = none).
        everywhere: The mask is all ones: the same scenes for plain rate-distortion training.
        seed: With epoch and index, all that a scene depends on.
    """

    def __init__(
        self,
        library: Library,
        crop: int,
        length: int,
        shares: tuple[float, float, float],
        dilation: int,
        everywhere: bool,
        seed: int,
    ):
        self.library, self.crop, self.length = library, crop, length
        self.dilation, self.everywhere, self.seed = dilation, everywhere, seed
        self.limits = np.cumsum(shares) / np.sum(shares)
        self.drawn = [photograph for photograph in library.photographs if photograph.drawn]
        self.labelled = [photograph for photograph in library.photographs if photograph.labelled]
        self.samples, self.damaged, self.bare = Counter(), Counter(), Counter()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: int | Key) -> dict[str, torch.Tensor | str]:
        key = key if isinstance(key, tuple) else (key, 0)
        rng = sample_rng(self.seed, key)
        kind = ("plain", "pasted", "leaves")[int(np.searchsorted(self.limits, rng.random(), side="right"))]
        canvas = getattr(self, kind)(rng)
        pixels = cv2.LUT(canvas.pixels, colour_change(rng, 0.4))
        edges = dilate(canvas.outlines() | canvas.own_edges, self.dilation)
        self.samples.add()
        if not edges.any():
            self.bare.add()
        mask = np.ones_like(edges) if self.everywhere else edges
        image, weights = transforms.to_tensors(*transforms.random_flip(pixels, mask, rng))
        return {"image": image, "mask": weights, "name": f"{kind}-{key[1]}-{key[0]}"}

    def plain(self, rng: np.random.Generator) -> Canvas:
        return self._background(self.drawn, rng)

    def pasted(self, rng: np.random.Generator) -> Canvas:
        canvas = self._background(self.labelled, rng)
        for _ in range(rng.integers(1, 5)):
            self._paste_object(canvas, rng)
        return canvas

    def leaves(self, rng: np.random.Generator) -> Canvas:
        canvas = self._background(self.labelled, rng)
        low, high = _LEAF_RADIUS
        # Enough leaves to cover a random part of the background; power law of exponent 3 in the radius.
        radii = 1 / np.sqrt(rng.uniform(1 / high**2, 1 / low**2, rng.integers(4, 31)))
        for radius in radii:
            self._paste_leaf(canvas, radius * self.crop, rng)
        return canvas

    def _background(self, photographs: list[Photograph], rng: np.random.Generator) -> Canvas:
        return Canvas(*self._part(photographs, self.crop, self.crop, _MAGNIFY, rng))

    def _part(
        self,
        photographs: list[Photograph],
        height: int,
        width: int,
        magnify: tuple[float, float],
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """A random part of a photograph and its known edges, both (height, width)."""
        photograph = photographs[rng.integers(len(photographs))]
        window = random_window(rng, *photograph.edges.shape, height, width, *magnify)
        return fit(photograph.pixels[window], height, width), fit_edges(photograph.edges[window], height, width)

    def _paste_object(self, canvas: Canvas, rng: np.random.Generator) -> None:
        cut = self.library.cut_outs[rng.integers(len(self.library.cut_outs))]
        factor = min(rng.uniform(*_OBJECT_SIDE) * self.crop / max(cut.mask.shape), _MAGNIFY[1])
        height, width = (max(2, round(side * factor)) for side in cut.mask.shape)
        pixels = cv2.LUT(fit(cut.pixels, height, width), colour_change(rng, 0.6))
        mask = fit(cut.mask * np.uint8(255), height, width) >= 128
        if rng.random() < 0.5:
            pixels, mask = pixels[:, ::-1], mask[:, ::-1]
        # Centred inside the crop, so that at least a part of it always shows.
        y, x = (int(rng.integers(self.crop)) - side // 2 for side in (height, width))
        canvas.paste(pixels, soften(mask), y, x)

    def _paste_leaf(self, canvas: Canvas, radius: float, rng: np.random.Generator) -> None:
        outline = random_outline(rng) * radius
        corner = np.floor(outline.min(axis=0)) - 2
        width, height = (np.ceil(outline.max(axis=0)) + 3 - corner).astype(int).tolist()
        # Vertices in sixteenths of a pixel.
        alpha = cv2.fillPoly(
            np.zeros((height, width), np.uint8),
            [np.rint((outline - corner) * 16).astype(np.int32)],
            255,
            cv2.LINE_AA,
            4,
        )
        if rng.random() < 0.15:
            pixels, edges = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8), None
        else:
            pixels, edges = self._part(self.labelled, height, width, _LEAF_MAGNIFY, rng)
            pixels = cv2.LUT(pixels, colour_change(rng, 0.6))
        y, x = (int(rng.integers(self.crop)) - side // 2 for side in (height, width))
        canvas.paste(pixels, alpha, y, x, edges)


class SceneEdges(MaskedDataModule):
    """Scenes for training; for validation the middle of photographs that are held out, with their drawn boundaries.

    Args:
        path: Folder with ``natural`` (photographs), ``natural_edges`` (boundary pictures ``<stem>.png``),
            ``natural_masks`` (pixel = number of the object), ``coco_scenes`` with ``instances.json``, and optionally
            ``instances_coco_all.json``.
        masks: ``masks=boundaries`` (its threshold and dilation) or ``masks=none`` (the same scenes, ones everywhere).
        held_out: How many photographs with drawn boundaries are kept from training: always the same ones, whatever the
            seed.
        scenes: Training scenes an epoch.
        plain: The part of plain scenes, in any unit.
        pasted: The part of pasted scenes.
        leaves: The part of leaves scenes.
        crop: Side of the square training crops, pixels.
        val_crop: That of validation.
        batch_size: Samples of one training batch of one process.
        val_batch_size: That of validation.
        workers: Processes that load.
        seed: What the random choices depend on.

    Raises:
        DataError: an option is out of range; in `setup` also, ``path`` lacks something.
    """

    def __init__(
        self,
        path: str,
        masks: Masks,
        held_out: int = 40,
        scenes: int = 8000,
        plain: float = 0.25,
        pasted: float = 0.45,
        leaves: float = 0.3,
        crop: int = 192,
        val_crop: int = 320,
        batch_size: int = 8,
        val_batch_size: int = 8,
        workers: int = 2,
        seed: int = 0,
    ):
        super().__init__(batch_size, val_batch_size, workers, seed)
        if not isinstance(masks, BoundaryMasks | NoMasks):
            raise DataError("data=scenes makes its own edges: use masks=boundaries or masks=none")
        if min(plain, pasted, leaves) < 0 or plain + pasted + leaves <= 0:
            raise DataError(f"data.plain={plain} data.pasted={pasted} data.leaves={leaves}: use shares >= 0, not all 0")
        for name, value, least in (
            ("scenes", scenes, 1),
            ("held_out", held_out, 1),
            ("crop", crop, 16),
            ("val_crop", val_crop, 16),
        ):
            if value < least:
                raise DataError(f"data.{name}={value}: use {least} or more")
        self.path, self.masks, self.held_out, self.scenes = path, masks, held_out, scenes
        self.shares, self.crop, self.val_crop = (plain, pasted, leaves), crop, val_crop

    def setup(self, stage: str | None = None) -> None:
        if self.train_set is not None:
            return
        root = self._root()
        edges = self.masks if isinstance(self.masks, BoundaryMasks) else BoundaryMasks()
        names = boundary_names(root)
        if self.held_out >= len(names):
            raise DataError(f"data.held_out={self.held_out}: only {len(names)} photographs have drawn boundaries")
        chosen = held_out_names(names, self.held_out)
        library = load_library(root, edges.threshold, set(chosen))
        log.info("%s: %d photographs, %d cut-outs", root, len(library.photographs), len(library.cut_outs))
        everywhere = self.masks.region == "plain"
        self.train_set = Scenes(library, self.crop, self.scenes, self.shares, edges.dilation, everywhere, self.seed)
        self.val_set = self._validation(root, chosen)

    def held_out_set(self) -> MaskedImages:
        """The photographs that training never sees, alone: no library of training scenes is loaded."""
        root = self._root()
        return self._validation(root, held_out_names(boundary_names(root), self.held_out))

    def _validation(self, root: Path, names: list[str]) -> MaskedImages:
        masks = self.masks
        if isinstance(masks, BoundaryMasks):
            masks = BoundaryMasks(masks.path or str(root / "natural_edges"), masks.threshold, masks.dilation)
        reader = masks.open(Split(root, "natural", root / "natural"))
        return MaskedImages(root / "natural", reader.usable(names), reader, self.val_crop, self.seed, augment=False)

    def _root(self) -> Path:
        if not self.path:
            raise DataError(
                "data.path is not set: data=scenes needs a folder with natural/, natural_edges/ and coco_scenes/"
            )
        root = Path(self.path).expanduser()
        for name in ("natural", "natural_edges"):
            if not (root / name).is_dir():
                raise DataError(f"data.path={self.path}: {root / name} is missing; data=scenes needs it")
        return root


def held_out_names(names: list[str], count: int) -> list[str]:
    """The ``count`` photographs of ``names`` that training never sees: the same for the same names, in sorted order."""
    chosen = np.random.default_rng(0).choice(len(names), count, replace=False)
    return sorted(names[index] for index in chosen)
