"""Segment Anything's masks on disk, and ``masks=sam`` that reads edges from them.

A store is a folder for one split: ``manifest.json`` (what made it) and one file per image, ``<image path>.json.gz``,
with all masks and their scores. gzip's checksum and length show a damaged file. Images that could not be read leave
``<image path>.failed.json`` with the reason.
"""

import dataclasses
import gzip
import json
import logging
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icm.files import atomic_write
from icm.masks.annotations import rasterize
from icm.masks.base import Split
from icm.masks.edges import MaskError, check_dilation, dilate, union_of_edges
from icm.masks.sam import SamSettings, ScoredMask

log = logging.getLogger(__name__)

FORMAT = 1
_MASKS, _FAILED = ".json.gz", ".failed.json"


@dataclass(frozen=True)
class SamMasks:
    """Edges of every mask whose predicted IoU is at least ``alpha``.

    ``alpha``: in training any value not below the one the store was made with; for ``python -m icm masks`` the lowest
    wanted. ``dilation``: side in pixels of the square that thickens the edges (odd, 1 = none).
    ``path``: folder of stores, one subfolder per split; None: ``<data.path>-masks/sam-<model>`` beside the data set.
    ``model``: vit_b, vit_l or vit_h; a store made by another one is refused.
    ``checkpoint``, ``points_per_side``, ``stability``, ``box_nms``: how a store is made (`SamSettings`); reading takes
    the store's own.
    """

    alpha: float = 0.78
    dilation: int = 1
    path: str | None = None
    model: str = "vit_b"
    checkpoint: str | None = None
    points_per_side: int = 32
    stability: float = 0.95
    box_nms: float = 0.7

    def settings(self) -> SamSettings:
        return SamSettings(self.alpha, self.points_per_side, self.stability, self.box_nms)

    def folder(self, root: Path, split: str) -> Path:
        """Where the store of a split lies."""
        if self.path is not None:
            return Path(self.path).expanduser() / split
        root = root.expanduser().resolve()
        return root.with_name(f"{root.name}-masks") / f"sam-{self.model}" / split

    def open(self, split: Split) -> "SamReader":
        check_dilation(self.dilation)
        folder = self.folder(split.root, split.name)
        how = f"python -m icm masks data.path={split.root} data.split={split.name} masks.model={self.model}"
        if not (folder / "manifest.json").is_file():
            raise MaskError(f"masks=sam: {folder} is no mask store; make it with: {how}")
        store = MaskStore(folder)
        made = store.manifest["settings"]
        if made["model"] != self.model:
            raise MaskError(
                f"masks.model={self.model}, but {folder} was made by {made['model']}; set masks.model or masks.path"
            )
        if self.alpha < made["alpha"]:
            raise MaskError(
                f"masks.alpha={self.alpha} is below {made['alpha']}, the lowest in {folder}; "
                f"make another store with: {how} masks.alpha={self.alpha} masks.path=OTHER_FOLDER"
            )
        log.info("%s: masks of %s at alpha %s; made with %s", folder, self.model, self.alpha, made)
        return SamReader(store, self.alpha, self.dilation, how)


class MaskStore:
    """One store. Opening reads its manifest (`MaskError` when there is none or it is of another format)."""

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            self.manifest = json.loads((folder / "manifest.json").read_bytes())
            known = self.manifest["format"] == FORMAT and isinstance(self.manifest["settings"], dict)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MaskError(
                f"{folder / 'manifest.json'} is missing or damaged ({error}); make the store again"
            ) from error
        if not known:
            raise MaskError(f"{folder}: the store's format is not {FORMAT}; make it again with this version")

    @classmethod
    def create(
        cls, folder: Path, model: str, weights: str, settings: SamSettings, versions: dict[str, str]
    ) -> "MaskStore":
        """Open a store, new or begun with the very same model, weights (SHA-256) and settings; `MaskError`
        otherwise.
        """
        wanted = {"model": model, "weights": weights, **dataclasses.asdict(settings)}
        path = folder / "manifest.json"
        if not path.exists():
            content = {"format": FORMAT, "settings": wanted, "versions": versions}
            atomic_write(path, json.dumps(content, indent=1))
        store = cls(folder)
        made = store.manifest["settings"]
        differences = [
            f"{key} {made.get(key)!r}, now {value!r}" for key, value in wanted.items() if made.get(key) != value
        ]
        if differences:
            raise MaskError(
                f"{folder} was made with other settings ({'; '.join(differences)}); use them, or another masks.path"
            )
        return store

    def write(self, name: str, height: int, width: int, masks: list[ScoredMask]) -> None:
        content = {
            "format": FORMAT,
            "image": name,
            "height": height,
            "width": width,
            "masks": [dataclasses.asdict(mask) for mask in masks],
        }
        # No time stamp: the same masks give the same bytes.
        atomic_write(self._path(name, _MASKS), gzip.compress(json.dumps(content).encode("utf-8"), mtime=0))
        self._path(name, _FAILED).unlink(missing_ok=True)

    def write_failure(self, name: str, reason: str) -> None:
        """Note that an image could not be read, so that a reader knows it was not forgotten."""
        atomic_write(self._path(name, _FAILED), json.dumps({"image": name, "reason": reason}))

    def read(self, name: str) -> tuple[int, int, list[ScoredMask]]:
        """(height, width, masks) of one image; `MaskError` when its file is missing or damaged."""
        path = self._path(name, _MASKS)
        try:
            content = json.loads(gzip.decompress(path.read_bytes()))
            if content["format"] != FORMAT or content["image"] != name:
                raise ValueError("not the masks of this image")
            masks = [ScoredMask(**mask) for mask in content["masks"]]
            return int(content["height"]), int(content["width"]), masks
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
            raise MaskError(
                f"{path} is missing or damaged ({error}); run python -m icm masks again, it redoes this one"
            ) from error

    def has(self, name: str) -> bool:
        """Whether the image's masks are there and whole."""
        try:
            self.read(name)
        except MaskError:
            return False
        return True

    def listing(self) -> tuple[set[str], set[str]]:
        """Image names that have masks (not checked for damage), and names noted as unreadable."""
        done, failed = set(), set()
        for root, _, files in os.walk(self.folder):
            prefix = "" if Path(root) == self.folder else Path(root).relative_to(self.folder).as_posix() + "/"
            done |= {prefix + file.removesuffix(_MASKS) for file in files if file.endswith(_MASKS)}
            failed |= {prefix + file.removesuffix(_FAILED) for file in files if file.endswith(_FAILED)}
        return done, failed

    def _path(self, name: str, suffix: str) -> Path:
        return self.folder / f"{name}{suffix}"


@dataclass(frozen=True)
class SamReader:
    store: MaskStore
    alpha: float
    dilation: int
    how: str

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
        stored_height, stored_width, masks = self.store.read(name)
        if (stored_height, stored_width) != (height, width):
            raise MaskError(
                f"{name} has {width}x{height} pixels, its masks in {self.store.folder} {stored_width}x{stored_height}"
            )
        decoded = (
            rasterize({"size": [height, width], "counts": mask.counts}, height, width)
            for mask in masks
            if mask.score >= self.alpha
        )
        return dilate(union_of_edges(decoded, height, width), self.dilation)
