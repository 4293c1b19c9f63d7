"""``data=scenes``: unlimited training scenes composed from a folder of photographs, with exact object edges.

Four kinds of scene, each a square crop with its edge mask:

- *plain*: a photograph with the boundaries that people drew in it (BSDS);
- *pasted*: objects cut from other photographs (COCO, Penn-Fudan, BSDS segments) laid over a labelled photograph;
- *leaves*: a dead-leaves composition, many random shapes filled with parts of photographs or plain colours;
- *portraits*: a part of a labelled photograph about a face, or a person with a face cut out and laid over one.

The mask holds the visible outlines of what was pasted and the known edges of whatever remains visible below and inside,
save those inside faces, where faces are known.
"""

import logging
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from datamodules import transforms
from datamodules.coco import MaskedDataModule, MaskedImages
from datamodules.compose import (
    Box,
    Canvas,
    colour_change,
    draw_faces,
    fit,
    fit_edges,
    random_outline,
    random_window,
    soften,
)
from datamodules.library import CutOut, Library, Photograph, boundary_names, load_library
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
# Height of the face of a portrait, pixels, and how far it may be magnified for it; smaller faces show nothing.
_FACE_HEIGHT, _FACE_MAGNIFY, _LEAST_FACE = (24, 220), 4.0, 16
# How far from the middle of a portrait its face may lie, as a share of the side.
_FACE_OFF = 0.45


class Scenes(Dataset):
    """Composed scenes, other ones every epoch.

    ``dataset[index, epoch]`` is {"image": float32 (3, crop, crop) in [0, 1], "mask": float32 (1, crop, crop) of 0 and
    1, "faces": likewise, 1 inside known faces, "name": str}.

    Args:
        library: What they are composed of.
        crop: Side of a scene, pixels.
        length: Scenes an epoch.
        shares: The parts of plain, pasted, leaves and portrait scenes.
        dilation: Side in pixels of the square that thickens the edges (odd, 1 = none).
        everywhere: The mask is all ones: the same scenes for plain rate-distortion training.
        seed: With epoch and index, all that a scene depends on.
    """

    def __init__(
        self,
        library: Library,
        crop: int,
        length: int,
        shares: tuple[float, float, float, float],
        dilation: int,
        everywhere: bool,
        seed: int,
    ):
        self.library, self.crop, self.length = library, crop, length
        self.dilation, self.everywhere, self.seed = dilation, everywhere, seed
        self.limits = np.cumsum(shares) / np.sum(shares)
        self.drawn = [photograph for photograph in library.photographs if photograph.drawn]
        self.labelled = [photograph for photograph in library.photographs if photograph.labelled]
        self.portraits = _portraits(self.labelled, library.cut_outs)
        self.samples, self.damaged, self.bare = Counter(), Counter(), Counter()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: int | Key) -> dict[str, torch.Tensor | str]:
        key = key if isinstance(key, tuple) else (key, 0)
        rng = sample_rng(self.seed, key)
        kind = ("plain", "pasted", "leaves", "portrait")[int(np.searchsorted(self.limits, rng.random(), side="right"))]
        canvas = getattr(self, kind)(rng)
        pixels = cv2.LUT(canvas.pixels, colour_change(rng, 0.4))
        edges = dilate(canvas.outlines() | canvas.own_edges & (1 - canvas.faces), self.dilation)
        self.samples.add()
        if not edges.any():
            self.bare.add()
        mask = np.ones_like(edges) if self.everywhere else edges
        masks = np.dstack([mask, canvas.faces])
        image, weights = transforms.to_tensors(*transforms.random_flip(pixels, masks, rng))
        return {"image": image, "mask": weights[:1], "faces": weights[1:], "name": f"{kind}-{key[1]}-{key[0]}"}

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

    def portrait(self, rng: np.random.Generator) -> Canvas:
        source, (x, y, w, h) = self.portraits[rng.integers(len(self.portraits))]
        low, high = _FACE_HEIGHT
        factor = float(np.exp(rng.uniform(np.log(low), np.log(max(low, min(high, _FACE_MAGNIFY * h)))))) / h
        off = rng.uniform(-_FACE_OFF, _FACE_OFF, 2)
        if isinstance(source, CutOut):
            canvas = self._background(self.labelled, rng)
            top, left = (
                round(float(self.crop * (0.5 + share) - factor * middle))
                for share, middle in zip(off, (y + h / 2, x + w / 2), strict=True)
            )
            height, width = (max(2, round(side * factor)) for side in source.mask.shape)
            self._paste(canvas, source, height, width, top, left, rng.random() < 0.5, colour_change(rng, 0.6))
            return canvas
        height, width = source.edges.shape
        side = min(round(self.crop / max(factor, self.crop / height, self.crop / width)), height, width)
        top = int(np.clip(y + h / 2 + off[0] * side - side / 2, 0, height - side))
        left = int(np.clip(x + w / 2 + off[1] * side - side / 2, 0, width - side))
        canvas = Canvas(*self._window(source, (slice(top, top + side), slice(left, left + side)), self.crop, self.crop))
        if rng.random() < 0.3:
            self._paste_object(canvas, rng)
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
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A random part of a photograph, its known edges and its faces, all (height, width)."""
        photograph = photographs[rng.integers(len(photographs))]
        window = random_window(rng, *photograph.edges.shape, height, width, *magnify)
        return self._window(photograph, window, height, width)

    @staticmethod
    def _window(
        photograph: Photograph, window: tuple[slice, slice], height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (
            fit(photograph.pixels[window], height, width),
            fit_edges(photograph.edges[window], height, width),
            draw_faces(photograph.faces, window, height, width),
        )

    def _paste_object(self, canvas: Canvas, rng: np.random.Generator) -> None:
        cut = self.library.cut_outs[rng.integers(len(self.library.cut_outs))]
        factor = min(rng.uniform(*_OBJECT_SIDE) * self.crop / max(cut.mask.shape), _MAGNIFY[1])
        height, width = (max(2, round(side * factor)) for side in cut.mask.shape)
        change, mirrored = colour_change(rng, 0.6), rng.random() < 0.5
        # Centred inside the crop, so that at least a part of it always shows.
        y, x = (int(rng.integers(self.crop)) - side // 2 for side in (height, width))
        self._paste(canvas, cut, height, width, y, x, mirrored, change)

    @staticmethod
    def _paste(
        canvas: Canvas, cut: CutOut, height: int, width: int, y: int, x: int, mirrored: bool, change: np.ndarray
    ) -> None:
        pixels = cv2.LUT(fit(cut.pixels, height, width), change)
        mask = fit(cut.mask * np.uint8(255), height, width) >= 128
        faces = draw_faces(cut.faces, (slice(0, cut.mask.shape[0]), slice(0, cut.mask.shape[1])), height, width)
        if mirrored:
            pixels, mask, faces = pixels[:, ::-1], mask[:, ::-1], faces[:, ::-1]
        canvas.paste(pixels, soften(mask), y, x, faces=faces)

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
            pixels, edges, faces = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8), None, None
        else:
            pixels, edges, faces = self._part(self.labelled, height, width, _LEAF_MAGNIFY, rng)
            pixels = cv2.LUT(pixels, colour_change(rng, 0.6))
        y, x = (int(rng.integers(self.crop)) - side // 2 for side in (height, width))
        canvas.paste(pixels, alpha, y, x, edges, faces)


def _portraits(photographs: list[Photograph], cut_outs: list[CutOut]) -> list[tuple[Photograph | CutOut, Box]]:
    """Every face that is large enough, with what it is in."""
    return [(source, box) for source in (*photographs, *cut_outs) for box in source.faces if box[3] >= _LEAST_FACE]


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
        portraits: The part of portrait scenes; above 0 only with ``faces``.
        faces: CSV file of the boxes of faces (`datamodules.library.read_faces`), below ``path`` unless absolute; None:
            nobody looks for faces, and edges inside them are edges.
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
        portraits: float = 0,
        faces: str | None = None,
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
        shares = (plain, pasted, leaves, portraits)
        if min(shares) < 0 or sum(shares) <= 0:
            named = zip(("plain", "pasted", "leaves", "portraits"), shares, strict=True)
            raise DataError(" ".join(f"data.{name}={share}" for name, share in named) + ": use shares >= 0, not all 0")
        if portraits and not faces:
            raise DataError(f"data.portraits={portraits}: portraits need data.faces, the CSV file of boxes of faces")
        for name, value, least in (
            ("scenes", scenes, 1),
            ("held_out", held_out, 1),
            ("crop", crop, 16),
            ("val_crop", val_crop, 16),
        ):
            if value < least:
                raise DataError(f"data.{name}={value}: use {least} or more")
        self.path, self.masks, self.held_out, self.scenes = path, masks, held_out, scenes
        self.shares, self.faces, self.crop, self.val_crop = shares, faces, crop, val_crop

    def setup(self, stage: str | None = None) -> None:
        if self.train_set is not None:
            return
        root = self._root()
        edges = self.masks if isinstance(self.masks, BoundaryMasks) else BoundaryMasks()
        names = boundary_names(root)
        if self.held_out >= len(names):
            raise DataError(f"data.held_out={self.held_out}: only {len(names)} photographs have drawn boundaries")
        chosen = held_out_names(names, self.held_out)
        library = load_library(root, edges.threshold, set(chosen), root / self.faces if self.faces else None)
        log.info("%s: %d photographs, %d cut-outs", root, len(library.photographs), len(library.cut_outs))
        everywhere = self.masks.region == "plain"
        if self.shares[3] and not any(source.faces for source in (*library.photographs, *library.cut_outs)):
            raise DataError(f"data.faces={self.faces}: no face of it is in a photograph that is used; check its paths")
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
