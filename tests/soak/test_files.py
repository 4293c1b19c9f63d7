"""Damaged files that users bring or a disk has spoilt: read, or refused in one line (`icm.errors.UserError`)."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from icm.errors import UserError
from tests.soak.mutations import damage, damaged_text
from tests.soak.sandbox import check_message, survey

SECONDS = 30
MEMORY = 1 << 30


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        write: Writes a sound one into a folder and returns its path.
        read: Reads one, and all that it gives.
        damage: How it is damaged.
        count: Damaged files in a long run.
        heavy: Whether it loads torch, and is left to the long run.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], object]
    damage: Callable = damaged_text
    count: int = 5000
    heavy: bool = False


# A box of 22 by 15 pixels in a picture of 40 by 30.
_SQUARE = {"size": [30, 40], "counts": "e7??00000000000000000000000000000000000000000W9"}


def _write_coco(folder: Path) -> Path:
    from pycocotools import mask

    square = np.zeros((30, 40), np.uint8, order="F")
    square[5:20, 8:30] = 1
    compressed = mask.encode(square)
    runs = {"size": [30, 40], "counts": [155, 15, 15, 15, 1000]}
    shapes = [
        [[1.5, 2, 30, 2, 30, 25.25, 4, 28]], [[1, 1, 9, 1, 9, 9], [20, 20, 39, 20, 39, 29, 25, 29]], runs,
        {"size": [30, 40], "counts": compressed["counts"].decode()},
    ]  # fmt: skip
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 30, "width": 40} for i in range(2)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": i, "image_id": i % 2, "category_id": 1, "iscrowd": int(i == 3), "segmentation": shape,
             "bbox": [1, 2, 28, 20], "area": 560.5}
            for i, shape in enumerate(shapes)
        ],
    }  # fmt: skip
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def _read_instances(path: Path) -> None:
    from icm.masks.annotations import AnnotationMasks
    from icm.splits import Split

    reader = AnnotationMasks(crowd=True).open(Split(path.parent, ".", path.parent, path))
    for name in reader.usable([*map("{}.jpg".format, range(2)), *reader.images]):
        reader.read(name, 30, 40)


def _read_truth(path: Path) -> None:
    from icm.metrics.detection import CocoTruth, evaluate

    truth = CocoTruth.load(path)
    fitting = [number for number, image in truth.images.items() if (image.height, image.width) == (30, 40)]
    for kind, result in (("bbox", {"bbox": [2, 2, 20, 20]}), ("segm", {"segmentation": _SQUARE})):
        found = {"category_id": 1, "score": 0.5, **result}
        evaluate(truth, {number: [found] for number in fitting}, kind, names={1: "person"})


def _write_labels(folder: Path) -> Path:
    path = folder / "labels.csv"
    lines = ["image,identity,x,y,width,height"]
    lines += [f"{i}.png,p{i % 3},{i},2,{10 + i},12" for i in range(9)] + ['"9.png","a, b",,,,']
    path.write_text("\n".join(lines) + "\n")
    return path


def _read_labels(path: Path) -> None:
    from icm.faces.labels import read_labels

    read_labels(path, [f"{i}.png" for i in range(10)])


def _write_run(folder: Path) -> Path:
    from tests.report.synthetic import write

    return write(folder / "run", crops=False) / "summary.json"


def _read_run(path: Path) -> None:
    from icm.evaluation.results import load_run

    run = load_run(path.parent)
    assert run.estimates is not None
    assert run.images is not None


def _write_table(folder: Path) -> Path:
    return _write_run(folder).with_name("faces.csv")


def _write_safetensors(folder: Path) -> Path:
    from models.checkpoint import save_safetensors

    return save_safetensors(_network(), folder / "network.safetensors", half=False)


def _write_published(folder: Path) -> Path:
    from models.checkpoint import save_published

    return save_published(_network(), folder / "network.pth.tar")


def _write_lightning(folder: Path) -> Path:
    import torch

    state = {f"network.{name}": value for name, value in _network().state_dict().items()}
    content = {"state_dict": state, "global_step": 7, "hyper_parameters": {"objective": {"region": "edge"}}}
    torch.save(content, folder / "last.ckpt")
    return folder / "last.ckpt"


def _network():
    import torch

    from models.hyperprior import Hyperprior

    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Hyperprior(N=2, M=2)


def _read_network(path: Path) -> None:
    from models.checkpoint import load_network

    load_network(path)


def _read_lightning(path: Path) -> None:
    from models.checkpoint import read_training

    read_training(path)
    _read_network(path)


def _write_store(folder: Path) -> Path:
    from pycocotools import mask

    from icm.masks.sam_generator import SamSettings, ScoredMask
    from icm.masks.store import MaskStore

    store = MaskStore.create(folder / "store", "vit_b", "00" * 32, SamSettings(0.5), {})
    square = np.zeros((30, 40), np.uint8, order="F")
    square[5:20, 8:30] = 1
    store.write("a.png", 30, 40, [ScoredMask(mask.encode(square)["counts"].decode(), 0.9, 0.95)])
    return store.folder / "a.png.json.gz"


def _read_store(path: Path) -> None:
    from icm.masks.sam import SamReader
    from icm.masks.store import MaskStore

    folder = path.parent
    for picture in folder.glob("edges-*/*"):
        picture.unlink()
    reader = SamReader(MaskStore(folder), 0.5, 3, "")
    reader.read("a.png", 30, 40)


def _damaged_masks(data: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """The packed file damaged, or its text, packed again: then no checksum tells."""
    import gzip

    if rng.random() < 0.3:
        return damage(data, rng, others)
    return gzip.compress(damaged_text(gzip.decompress(data), rng, [gzip.decompress(other) for other in others]))


def _write_manifest(folder: Path) -> Path:
    return _write_store(folder).with_name("manifest.json")


def _write_edges(folder: Path) -> Path:
    path = _write_store(folder)
    _read_store(path)
    return next(path.parent.glob("edges-*/a.png.png"))


def _read_edges(path: Path) -> None:
    """A damaged picture of edges is never taken for the edges: they are derived again."""
    from icm.masks.edge_pictures import read_edges
    from icm.masks.store import MaskStore

    found = read_edges(path, MaskStore(path.parents[1]).checksum("a.png"))
    assert found is None or (found.sum() > 0 and found.shape == (30, 40))


KINDS = {
    "COCO annotations as masks": Kind(_write_coco, _read_instances, count=10_000),
    "COCO annotations as truth": Kind(_write_coco, _read_truth),
    "labels": Kind(_write_labels, _read_labels, count=10_000),
    "summary.json": Kind(_write_run, _read_run),
    "faces.csv": Kind(_write_table, _read_run),
    "safetensors": Kind(_write_safetensors, _read_network, damage, heavy=True),
    "published checkpoint": Kind(_write_published, _read_network, damage, heavy=True),
    "checkpoint of train.py": Kind(_write_lightning, _read_lightning, damage, heavy=True),
    "masks of an image": Kind(_write_store, _read_store, _damaged_masks),
    "manifest of masks": Kind(_write_manifest, _read_store),
    "picture of edges": Kind(_write_edges, _read_edges, damage),
}


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(kind, amount, note, tmp_path):
    count = amount(0 if KINDS[kind].heavy else 40, KINDS[kind].count)
    if not count:
        pytest.skip("loads torch: make soak")
    found = survey(_Files(KINDS[kind], sum(kind.encode()), tmp_path).attempt, count, SECONDS, MEMORY)
    note(count=count, outcomes=found.outcomes, faults=found.faults, peak_mb=found.peak_mb)
    assert found.faults == {}
    assert sum(found.outcomes.values()) == count


class _Files:
    def __init__(self, kind: Kind, seed: int, folder: Path):
        self.kind, self.seed, self.folder = kind, seed, folder
        self.path: Path | None = None
        self.sound = b""

    def attempt(self, number: int) -> str:
        if self.path is None:
            self.path = self.kind.write(self.folder)
            self.sound = self.path.read_bytes()
        if number < 0:
            self.path.write_bytes(self.sound)
            self.kind.read(self.path)
            return "sound"
        self.path.write_bytes(self.kind.damage(self.sound, np.random.default_rng([self.seed, number]), [self.sound]))
        try:
            self.kind.read(self.path)
        except UserError as error:
            return check_message(error)
        return "read"
