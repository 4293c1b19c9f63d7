"""Segment Anything's masks on disk.

A store is a folder for one split: ``manifest.json`` (what made it) and one file per image, ``<image path>.json.gz``,
with all masks and their scores. gzip's checksum and length show a damaged file. Images that could not be read leave
``<image path>.failed.json`` with the reason. Training adds the edges it asks for, ``edges-<alpha>/<image path>.png``.
"""

import dataclasses
import gzip
import json
import os
import zlib
from pathlib import Path

from icm.files import atomic_write, remove_abandoned
from icm.masks.edges import MaskError
from icm.masks.sam_generator import SamSettings, ScoredMask

FORMAT = 1
_MASKS, _FAILED = ".json.gz", ".failed.json"


class MaskStore:
    """One store.

    Attributes:
        folder: Where it lies.
        manifest: What made it: {"format", "settings", "versions"}.
        model, weights: The network, and the SHA-256 of its weights.
        settings: What else shaped its masks.

    Raises:
        MaskError: it has no manifest, or one of another format.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            self.manifest = json.loads((folder / "manifest.json").read_bytes())
            if self.manifest["format"] != FORMAT:
                raise MaskError(f"{folder}: the store's format is not {FORMAT}; make it again with this version")
            made = dict(self.manifest["settings"])
            self.model, self.weights = made.pop("model"), made.pop("weights")
            # A store that is older than a setting was made with its default.
            self.settings = SamSettings(**made)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise MaskError(
                f"{folder / 'manifest.json'} is missing or damaged ({error}); make the store again"
            ) from error

    @classmethod
    def create(
        cls, folder: Path, model: str, weights: str, settings: SamSettings, versions: dict[str, str]
    ) -> "MaskStore":
        """Open a store, new or begun before.

        Args:
            folder: Where it lies; made when missing.
            model: vit_b, vit_l or vit_h.
            weights: SHA-256 of the weight file.
            settings: What shapes the masks.
            versions: Versions of packages, kept for information.

        Raises:
            MaskError: it was begun with another model, other weights or settings.
        """
        wanted = _settings(model, weights, settings)
        remove_abandoned(folder)
        path = folder / "manifest.json"
        if not path.exists():
            content = {"format": FORMAT, "settings": wanted, "versions": versions}
            atomic_write(path, json.dumps(content, indent=1))
        store = cls(folder)
        made = _settings(store.model, store.weights, store.settings)
        differences = [f"{key} {made[key]!r}, now {value!r}" for key, value in wanted.items() if made[key] != value]
        if differences:
            raise MaskError(
                f"{folder} was made with other settings ({'; '.join(differences)}); use them, or another masks.path"
            )
        return store

    def write(self, name: str, height: int, width: int, masks: list[ScoredMask]) -> None:
        """Keep the masks of one image of ``height`` x ``width`` pixels."""
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
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
            raise MaskError(
                f"{path} is missing or damaged ({error}); run python -m icm masks again, it redoes this one"
            ) from error

    def checksum(self, name: str) -> str:
        """What tells an image's masks from others, read from eight bytes: their CRC-32 and length; "" without masks."""
        try:
            with open(self._path(name, _MASKS), "rb") as file:
                file.seek(-8, os.SEEK_END)
                return file.read().hex()
        except OSError:
            return ""

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


def _settings(model: str, weights: str, settings: SamSettings) -> dict:
    return {"model": model, "weights": weights, **dataclasses.asdict(settings)}
