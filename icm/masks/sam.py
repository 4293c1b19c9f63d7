"""``masks=sam``: edges of Segment Anything's masks, read from a store that ``python -m icm masks`` makes (SA-ICM)."""

import functools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

import numpy as np

from icm.masks.base import Outcome, Region
from icm.masks.edge_pictures import read_edges, write_edges
from icm.masks.edges import MaskError, check_dilation, dilate, union_of_edges
from icm.masks.instances import rasterize
from icm.masks.make import Task, make_on
from icm.masks.sam_generator import SamSettings, above, load_sam, resolve_checkpoint
from icm.masks.sam_weights import published
from icm.masks.store import MaskStore
from icm.provenance import versions
from icm.splits import Split

log = logging.getLogger(__name__)
_REDO = "delete its .json.gz there and run python -m icm masks again, it makes it anew"


@dataclass(frozen=True)
class SamMasks:
    """Edges of every mask whose predicted IoU is above ``alpha``.

    Attributes:
        alpha: In training any value not below the one the store was made with; for `make` the lowest wanted.
        dilation: Side in pixels of the square that thickens the edges (odd, 1 = none).
        path: Folder of stores, one subfolder per split; None: ``<data.path>-masks/sam-<model>`` beside the data set.
        model: vit_b, vit_l or vit_h; a store made by another one is refused.
        checkpoint: For `make`: the weight file; None: the published one, downloaded when it is not there.
        points_per_side: For `make`, as are those below: see `SamSettings`. Reading takes the store's own.
        stability: See `SamSettings`.
        box_nms: See `SamSettings`.
        crop_n_layers: See `SamSettings`.
        min_mask_region_area: See `SamSettings`.

    Raises:
        MaskError: a value out of range.
        CheckpointError: an unknown model.
    """

    region: ClassVar[Region] = "edge"
    alpha: float = 0.78
    dilation: int = 1
    path: str | None = None
    model: str = "vit_b"
    checkpoint: str | None = None
    points_per_side: int = 32
    stability: float = 0.95
    box_nms: float = 0.7
    crop_n_layers: int = 0
    min_mask_region_area: int = 0

    def __post_init__(self) -> None:
        check_dilation(self.dilation)
        published(self.model)
        self.settings()

    def settings(self) -> SamSettings:
        return SamSettings(**{field.name: getattr(self, field.name) for field in fields(SamSettings)})

    @property
    def maker(self) -> str:
        return f"Segment Anything {self.model}"

    def folder(self, split: Split) -> Path:
        if self.path is not None:
            return Path(str(self.path)).expanduser() / split.name
        root = split.root.expanduser().resolve()
        return root.with_name(f"{root.name}-masks") / f"sam-{self.model}" / split.name

    def make(self, work: Mapping[Split, Sequence[str]], devices: Sequence[str]) -> Iterator[Outcome]:
        settings = self.settings()
        checkpoint, digest = resolve_checkpoint(self.model, self.checkpoint)
        tasks = []
        for split, names in work.items():
            MaskStore.create(self.folder(split), self.model, digest, settings, versions())
            tasks.append(Task(split.folder, self.folder(split), tuple(names)))
        return make_on(tasks, functools.partial(load_sam, self.model, checkpoint), settings, devices)

    def open(self, split: Split) -> "SamReader":
        folder = self.folder(split)
        how = f"python -m icm masks data.path={split.root} data.split={split.name} masks.model={self.model}"
        if not (folder / "manifest.json").is_file():
            raise MaskError(f"masks=sam: {folder} is no mask store; make it with: {how}")
        store = MaskStore(folder)
        made = store.settings
        other = f"make another store with: {how} masks.alpha={self.alpha} masks.path=OTHER_FOLDER"
        if store.model != self.model:
            raise MaskError(
                f"masks.model={self.model}, but {folder} was made by {store.model}; set masks.model or masks.path"
            )
        if self.alpha < made.alpha:
            raise MaskError(f"masks.alpha={self.alpha} is below {made.alpha}, the lowest in {folder}; {other}")
        if self.alpha > made.alpha and not made.serves_higher_alphas:
            raise MaskError(
                f"masks.alpha={self.alpha}, but {folder} serves {made.alpha} alone: it was made with "
                f"crop_n_layers={made.crop_n_layers} min_mask_region_area={made.min_mask_region_area}; {other}"
            )
        log.info("%s: masks of %s at alpha %s; made with %s", folder, self.model, self.alpha, made)
        return SamReader(store, self.alpha, self.dilation, how)


class SamReader:
    """`icm.masks.base.MaskReader` of one store.

    An image's edges, before dilation, are kept as a picture in the store when they are read for the first time, so that
    they are derived once for all epochs, workers and runs. Where that cannot be written they are derived every time.

    Args:
        store: The masks.
        alpha: A mask counts whose predicted IoU is above it.
        dilation: Side in pixels of the square that thickens the edges.
        how: The command that finishes the store.
    """

    def __init__(self, store: MaskStore, alpha: float, dilation: int, how: str):
        self.store, self.alpha, self.dilation, self.how = store, alpha, dilation, how
        self.pictures = store.folder / f"edges-{float(alpha)}"
        self.keeps = True
        try:
            self.pictures.mkdir(exist_ok=True)
            if not os.access(self.pictures, os.W_OK):
                raise PermissionError("it is read-only")
        except OSError as error:
            self._keep_no_more(error)

    def usable(self, names: list[str]) -> list[str]:
        done, failed = self.store.listing()
        missing = [name for name in names if name not in done and name not in failed]
        if missing:
            raise MaskError(
                f"{len(missing)} of {len(names)} images have no masks in {self.store.folder} yet "
                f"(first: {missing[0]}); finish it, it resumes, with: {self.how}"
            )
        found = [name for name in names if name in done]
        if len(found) < len(names):
            log.warning(
                "%d of %d images could not be read when masks were made and are left out",
                len(names) - len(found),
                len(names),
            )
        return found

    def read(self, name: str, height: int, width: int) -> np.ndarray:
        edges = self._edges(name)
        if edges.shape != (height, width):
            raise MaskError(
                f"{name} has {width}x{height} pixels, "
                f"its masks in {self.store.folder} {edges.shape[1]}x{edges.shape[0]}"
            )
        return dilate(edges, self.dilation)

    def _edges(self, name: str) -> np.ndarray:
        path, origin = self.pictures / f"{name}.png", self.store.checksum(name)
        edges = read_edges(path, origin)
        if edges is not None:
            return edges
        height, width, masks = self.store.read(name)
        decoded = (
            rasterize({"size": [height, width], "counts": mask.counts}, height, width)
            for mask in masks
            if above(mask.score, self.alpha)
        )
        try:
            edges = union_of_edges(decoded, height, width)
        except (MaskError, TypeError, ValueError, MemoryError) as error:
            raise MaskError(f"the masks of {name} in {self.store.folder} are damaged ({error}); {_REDO}") from error
        if self.keeps:
            try:
                write_edges(path, edges, origin)
            except OSError as error:
                self._keep_no_more(error)
        return edges

    def _keep_no_more(self, error: OSError) -> None:
        self.keeps = False
        log.warning(
            "%s cannot be written (%s): edges that it lacks are derived at every read, which is 50 times slower",
            self.pictures,
            error.strerror or error,
        )
