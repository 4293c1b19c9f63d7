"""``python -m icm masks``: Segment Anything masks of a COCO split, or a check of the masks that it comes with."""

import argparse
import functools
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icm.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from icm.masks.base import Masks, Split

DESCRIPTION = "Make the edge masks of a COCO split or a folder of images, or check and show those that it comes with."

EXAMPLES = """\
keys (all are key=value, defaults in conf/masks.yaml and conf/masks/):
  data.path=FOLDER            the data set
  data.split=train2017        a folder of images below it; default: train2017 and val2017, or all of data.path
  data.annotations=FILE       COCO instances, below data.path; {split} stands for the split
  masks=sam                   Segment Anything: makes a store of masks that training reads (resumes where it stopped)
  masks=annotations|objects|boundaries   needs no store: checks every image's mask and shows some
  masks.model=vit_b           vit_b, vit_l or vit_h
  masks.checkpoint=FILE       its weights; default: the published file, downloaded when it is not there
  masks.alpha=0.78            the lowest predicted IoU that training will want; every higher alpha is derived from it
  masks.points_per_side=32    grid of prompts
  masks.path=FOLDER           where stores are; default: <data.path>-masks/sam-<model>
  masks.dilation=1            thickness of the edges in the picture
  shard=0/8                   the first of eight parts, for several machines
  device=auto                 auto (one process per GPU, else the CPU), cuda or cpu
  preview=6                   images in the picture of results, 0 for none

examples:
  python -m icm masks data.path=COCO masks=sam
  python -m icm masks data.path=COCO data.split=train2017 masks=sam masks.model=vit_h shard=3/8
  python -m icm masks data.path=PHOTOS data.split=. masks=sam masks.points_per_side=16 device=cpu
  python -m icm masks data.path=COCO data.split=val2017 masks=annotations
"""


class MaskCommandError(UserError):
    """A key or value of the command that cannot be used."""


@dataclass
class Tally:
    """Counts of one run and the images it could not read, as (image, reason)."""

    done: int = 0
    kept: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="see the keys below")


def run(arguments: argparse.Namespace) -> int:
    config = compose(arguments.overrides)
    shard = parse_shard(str(config.shard))
    if config.device not in ("auto", "cuda", "cpu"):
        raise MaskCommandError(f"device={config.device}: use auto, cuda or cpu")

    from hydra.utils import instantiate

    from icm.masks.store import SamMasks

    masks = instantiate(config.masks)
    splits = find_splits(config.data.path, config.data.split, config.data.annotations)
    work = {split: names_of(split, shard) for split in splits}
    tally = make_store(masks, work, config.device) if isinstance(masks, SamMasks) else check_masks(masks, work)
    for split, names in work.items():
        show(masks, split, names, config.preview, shard)
    return summarize(tally)


def compose(overrides: list[str]) -> "DictConfig":
    """The command's configuration; `MaskCommandError` in one line when an override is no good."""
    from hydra import compose as compose_config
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    folder = Path(__file__).resolve().parents[2] / "conf"
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            return compose_config("masks", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split())
        raise MaskCommandError(f"{reason}; python -m icm masks --help lists the keys") from error


def parse_shard(text: str) -> tuple[int, int]:
    """(index, count) of "index/count" with 0 <= index < count."""
    index, _, count = text.partition("/")
    if index.isdecimal() and count.isdecimal() and int(index) < int(count):
        return int(index), int(count)
    raise MaskCommandError(
        f"shard={text}: use INDEX/COUNT with INDEX below COUNT, such as 0/8 for the first of eight parts"
    )


def find_splits(path: str | None, split: str | None, annotations: str | None) -> list["Split"]:
    """The splits to work on; `MaskCommandError` when a folder is missing."""
    from icm.masks.base import Split

    if path is None:
        raise MaskCommandError("data.path is not set; give the data set's folder: data.path=COCO")
    root = Path(str(path)).expanduser()
    if not root.is_dir():
        raise MaskCommandError(f"data.path={path}: no such folder; give the data set's folder")
    if split is None:
        names = [name for name in ("train2017", "val2017") if (root / name).is_dir()] or ["."]
    else:
        names = [str(split)]
        if not (root / names[0]).is_dir():
            raise MaskCommandError(
                f"data.split={split}: no folder {root / names[0]}; use data.split=. for all of data.path"
            )
    found = []
    for name in names:
        folder = root / name
        file = root / annotations.format(split=folder.name) if annotations else None
        found.append(Split(root, name, folder, file))
    return found


def names_of(split: "Split", shard: tuple[int, int]) -> list[str]:
    """The names of this shard's images of a split, relative to its folder."""
    from icm.images import list_images

    names = [path.relative_to(split.folder).as_posix() for path in list_images(split.folder)]
    if not names:
        raise MaskCommandError(f"{split.folder}: no images in this folder; check data.path and data.split")
    return names[shard[0] :: shard[1]]


def make_store(masks: Any, work: dict["Split", list[str]], device: str) -> Tally:
    """Make Segment Anything's masks of every image in ``work``; ``masks`` is a `SamMasks`."""
    from icm.masks.make import Task, make_on
    from icm.masks.sam import load_sam, resolve_checkpoint
    from icm.masks.store import MaskStore
    from icm.provenance import versions

    settings = masks.settings()
    checkpoint, digest = resolve_checkpoint(masks.model, masks.checkpoint)
    devices = find_devices(device)
    tasks = []
    for split, names in work.items():
        folder = masks.folder(split.root, split.name)
        MaskStore.create(folder, masks.model, digest, settings, versions())
        tasks.append(Task(split.folder, folder, tuple(names)))
        print(f"{split.folder}: {len(names)} images, masks to {folder}", flush=True)
    print(f"Segment Anything {masks.model} on {', '.join(devices)}", flush=True)
    build = functools.partial(load_sam, masks.model, checkpoint)
    total = sum(len(names) for names in work.values())
    return follow(make_on(tasks, build, settings, devices), total, estimate=devices == ["cpu"])


def find_devices(device: str) -> list[str]:
    """Torch device names: one per GPU, or the CPU."""
    import torch

    count = 0 if device == "cpu" else torch.cuda.device_count()
    if device == "cuda" and not count:
        raise MaskCommandError(
            "device=cuda: torch sees no GPU here; use device=cpu, or check the driver with nvidia-smi"
        )
    return [f"cuda:{index}" for index in range(count)] or ["cpu"]


def check_masks(masks: "Masks", work: dict["Split", list[str]]) -> Tally:
    """Draw every image's mask once, as training will."""
    from icm.images import ImageError, read_image
    from icm.masks.edges import MaskError
    from icm.masks.make import Outcome

    bare = shares = 0

    def outcomes() -> Iterator[Outcome]:
        nonlocal bare, shares
        for split, names in work.items():
            reader = masks.open(split)
            for name in reader.usable(names):
                try:
                    mask = reader.read(name, *read_image(split.folder / name).shape[:2])
                except (ImageError, MaskError) as error:
                    yield Outcome(split.folder, name, "failed", str(error))
                    continue
                bare += not mask.any()
                shares += mask.mean()
                yield Outcome(split.folder, name, "done")

    tally = follow(outcomes(), sum(len(names) for names in work.values()), estimate=False)
    percent = 100 * shares / max(tally.done, 1)
    print(f"{bare} of {tally.done} masks are empty; on average {percent:.1f} % of the pixels are set")
    return tally


def follow(outcomes: Iterable, total: int, estimate: bool) -> Tally:
    """Count outcomes under a progress bar; ``estimate``: say after the first made image how long the rest will take."""
    from tqdm import tqdm

    tally = Tally()
    with tqdm(total=total, unit="image", desc="masks") as bar:
        begin = time.monotonic()
        for outcome in outcomes:
            if outcome.state == "failed":
                tally.failed.append((outcome.name, outcome.reason))
            elif outcome.state == "kept":
                tally.kept += 1
            else:
                tally.done += 1
                if estimate and tally.done == 1:
                    rest = (time.monotonic() - begin) * (total - bar.n - 1)
                    bar.write(
                        f"the first image took {time.monotonic() - begin:.0f} s; the rest will take {duration(rest)}"
                    )
            # Time spent on skipping what is there says nothing about the speed of making masks.
            begin = begin if tally.done else time.monotonic()
            bar.update()
    return tally


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} seconds"


def show(masks: "Masks", split: "Split", names: list[str], count: int, shard: tuple[int, int]) -> None:
    """Write the picture of the first ``count`` images that have masks, and say where it is."""
    from icm.images import ImageError, read_image, write_png
    from icm.masks.edges import MaskError
    from icm.masks.preview import contact_sheet
    from icm.masks.store import SamMasks

    reader = masks.open(split)
    pairs = []
    for name in names:
        if len(pairs) >= count:
            break
        try:
            image = read_image(split.folder / name)
            pairs.append((image, reader.read(name, *image.shape[:2])))
        except (ImageError, MaskError):
            # Named in the summary already; the picture takes the next image.
            continue
    if not pairs:
        return
    if isinstance(masks, SamMasks):
        part = f"-{shard[0]}-of-{shard[1]}" if shard[1] > 1 else ""
        path = masks.folder(split.root, split.name) / f"preview{part}.png"
    else:
        path = Path("outputs", "masks", f"{split.folder.resolve().name}.png")
    print(f"picture of {len(pairs)} results: {write_png(path, contact_sheet(pairs))}")


def summarize(tally: Tally) -> int:
    """Print the end of a run; the exit status is 1 when an image failed."""
    kept = f", {tally.kept} were there already" if tally.kept else ""
    print(f"{tally.done} images done{kept}, {len(tally.failed)} could not be used")
    for name, reason in tally.failed:
        print(f"  {name}: {reason}", file=sys.stderr)
    return 1 if tally.failed else 0
