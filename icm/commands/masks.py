"""``python -m icm masks``: Segment Anything masks of a COCO split, or a check of the masks that it comes with."""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from icm.commands.keys import OptionError, compose
from icm.shards import find_shard

if TYPE_CHECKING:
    from icm.masks.base import MaskReader, Outcome
    from icm.splits import Split

DESCRIPTION = "Make the edge masks of a COCO split or a folder of images, or check and show those that it comes with."

EXAMPLES = """\
keys (all are key=value, defaults in conf/masks.yaml and conf/masks/):
  data.path=FOLDER            the data set; default: $COCO
  data.split=train2017        a folder of images below it; default: train2017 and val2017, or all of data.path
  data.annotations=FILE       COCO instances, below data.path; {split} stands for the split
  masks=sam                   Segment Anything: makes a store of masks that training reads (resumes where it stopped)
  masks=annotations|objects|boundaries   needs no store: checks every image's mask and shows some
  masks.model=vit_b           vit_b, vit_l or vit_h
  masks.checkpoint=FILE       its weights; default: the published file, downloaded when it is not there
  masks.alpha=0.78            the lowest predicted IoU that training will want; every higher alpha is derived from it
  masks.points_per_side=32    grid of prompts
  masks.stability= masks.box_nms= masks.crop_n_layers= masks.min_mask_region_area=     see conf/masks/make/sam.yaml
  masks.path=FOLDER           where stores are; default: <data.path>-masks/sam-<model>
  masks.dilation=1            thickness of the edges in the picture
  shard=0/8                   the first of eight parts, for several machines; a SLURM array's task takes its own
  device=auto                 auto (one process per GPU, else the CPU), cuda or cpu
  preview=6                   images in the picture of results, 0 for none

examples:
  python -m icm masks data.path=COCO masks=sam
  python -m icm masks data.path=COCO data.split=train2017 masks=sam masks.model=vit_h shard=3/8
  python -m icm masks data.path=PHOTOS data.split=. masks=sam masks.points_per_side=16 device=cpu
  python -m icm masks data.path=COCO data.split=val2017 masks=annotations
"""


@dataclass
class Tally:
    """What became of the images of one run.

    Attributes:
        done: How many were made or drawn now.
        kept: How many were there before.
        failed: Those that could not be used, as (image, reason).
        shares: Share of set pixels of every mask that was drawn.
    """

    done: int = 0
    kept: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="see the keys below")


def run(arguments: argparse.Namespace) -> int:
    config = compose("masks", arguments.overrides)
    shard = find_shard(config.shard)
    if config.device not in ("auto", "cuda", "cpu"):
        raise OptionError(f"device={config.device}: use auto, cuda or cpu")
    if not isinstance(config.preview, int) or config.preview < 0:
        raise OptionError(f"preview={config.preview}: use a number of images, 0 for no picture")

    from icm.config import build
    from icm.masks.base import StoredMasks

    masks = build(config.masks)
    splits = find(config.data.path, config.data.split, config.data.annotations)
    # A shard takes every count-th image.
    work = {split: split.images()[shard[0] :: shard[1]] for split in splits}
    total = sum(len(names) for names in work.values())
    if isinstance(masks, StoredMasks):
        devices = find_devices(config.device)
        outcomes = masks.make(work, devices)
        for split, names in work.items():
            print(f"{split.folder}: {len(names)} images, masks to {masks.folder(split)}", flush=True)
        print(f"{masks.maker} on {', '.join(devices)}", flush=True)
        tally = follow(outcomes, total, estimate=devices == ["cpu"])
        readers = {split: masks.open(split) for split in work}
        part = f"-{shard[0]}-of-{shard[1]}" if shard[1] > 1 else ""
        pictures = {split: masks.folder(split) / f"preview{part}.png" for split in work}
    else:
        readers = {split: masks.open(split) for split in work}
        tally = follow(draw(readers, work), total, estimate=False)
        pictures = {split: Path("outputs", "masks", f"{split.folder.resolve().name}.png") for split in work}
    for split, names in work.items():
        show(readers[split], split, names, config.preview, pictures[split])
    return summarize(tally)


def find(path: str | None, split: str | None, annotations: str | None) -> list["Split"]:
    """The splits to work on: the one asked for, or those that the data set has."""
    from icm.splits import find_split, find_splits

    return find_splits(path, annotations) if split is None else [find_split(path, str(split), annotations)]


def find_devices(device: str) -> list[str]:
    """Torch device names: one per GPU, or the CPU."""
    import torch

    count = 0 if device == "cpu" else torch.cuda.device_count()
    if device == "cuda" and not count:
        raise OptionError("device=cuda: torch sees no GPU here; use device=cpu, or check the driver with nvidia-smi")
    return [f"cuda:{index}" for index in range(count)] or ["cpu"]


def draw(readers: Mapping["Split", "MaskReader"], work: Mapping["Split", list[str]]) -> Iterator["Outcome"]:
    """Draw every image's mask once, as training will."""
    from icm.images import ImageError, read_image
    from icm.masks.base import Outcome
    from icm.masks.edges import MaskError

    for split, reader in readers.items():
        for name in reader.usable(work[split]):
            try:
                mask = reader.read(name, *read_image(split.folder / name).shape[:2])
            except (ImageError, MaskError) as error:
                yield Outcome(name, "failed", str(error))
            else:
                yield Outcome(name, "done", share=float(mask.mean()))


def follow(outcomes: Iterable["Outcome"], total: int, estimate: bool) -> Tally:
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
                if outcome.share is not None:
                    tally.shares.append(outcome.share)
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


def show(reader: "MaskReader", split: "Split", names: list[str], count: int, path: Path) -> None:
    """Write the picture of the first ``count`` images that have masks, and say where it is."""
    from icm.images import ImageError, read_image, write_png
    from icm.masks.edges import MaskError
    from icm.masks.preview import contact_sheet

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
    if pairs:
        print(f"picture of {len(pairs)} results: {write_png(path, contact_sheet(pairs))}")


def summarize(tally: Tally) -> int:
    """Print the end of a run; the exit status is 1 when an image failed."""
    if tally.shares:
        bare, percent = tally.shares.count(0), 100 * sum(tally.shares) / len(tally.shares)
        print(f"{bare} of {len(tally.shares)} masks are empty; on average {percent:.1f} % of the pixels are set")
    kept = f", {tally.kept} were there already" if tally.kept else ""
    print(f"{tally.done} images done{kept}, {len(tally.failed)} could not be used")
    for name, reason in tally.failed:
        print(f"  {name}: {reason}", file=sys.stderr)
    return 1 if tally.failed else 0
