"""``python -m icm rate``: real bitstreams of whole pictures, by trained networks."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from icm.commands.keys import OptionError, compose
from icm.shards import find_shard

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from icm.evaluation.results import Run
    from icm.faces.sources import Pair, SourceImage
    from icm.preflight import Problem
    from icm.splits import Split

DESCRIPTION = """Code every picture of a COCO split, whole, by one or more trained networks: bits per pixel of the real
bitstreams beside the network's own estimate, PSNR, and PSNR inside and outside the edge mask. Finished pictures are
kept: the same command again goes on where it stopped."""

EXAMPLES = """\
keys (all are key=value, defaults in conf/rate.yaml and conf/masks/):
  data.path=FOLDER            the data set; default: $COCO
  split=val2017               a folder of pictures below it; . for all of data.path
  data.annotations=FILE       COCO instances, below data.path; {split} stands for the split
  masks=annotations           where PSNR inside and outside is taken; sam, objects, boundaries, none
  limit=100                   only the first pictures, by name
  shard=0/4                   the first of four parts, for several GPUs or machines that share cache=; once all parts
                              are done, the same command without shard= makes the table of all and codes nothing
  tight=true                  one string for a picture, as shipped networks code; default: CompressAI's strings
  device=cpu                  cpu or cuda
  cache=DIR                   where finished pictures are kept; default: $ICM_CACHE, else ~/.cache/icm
  out=DIR                     where results go; default: outputs/rate/TIME

examples:
  python -m icm rate outputs/train/sa_icm_0.05/best.ckpt data.path=COCO
  python -m icm rate outputs/train/sa_icm/*/best.ckpt data.path=COCO device=cuda
  python -m icm rate sa-icm_0.05.pth.tar data.path=COCO masks=sam masks.model=vit_h
  python -m icm rate best.ckpt data.path=kodak split=. masks=none
"""

_OVERRIDE = re.compile(r"[+~]*[A-Za-z_][\w./@]*=.*", re.DOTALL)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument(
        "arguments", nargs="+", metavar="CHECKPOINT | KEY=VALUE",
        help="checkpoints of train.py, published .pth.tar or shipped .safetensors files; keys as below",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    # A checkpoint's own name may hold a =.
    overrides = [text for text in arguments.arguments if _OVERRIDE.fullmatch(text) and not Path(text).is_file()]
    checkpoints = [text for text in arguments.arguments if text not in overrides]
    if not checkpoints:
        raise OptionError("name at least one checkpoint: python -m icm rate CHECKPOINT... data.path=COCO")
    config = compose("rate", overrides)
    runs = measure(checkpoints, config)
    index, count = find_shard(config.shard)
    for found in runs:
        print(line(found))
    if count > 1:
        print(f"part {index} of {count} (from 0); once all are done, leave shard= out for the table of all pictures")
    return 0


def measure(checkpoints: Sequence[str | Path], config: "DictConfig") -> list["Run"]:
    """Code and measure, one checkpoint after the other; everything is checked before the first picture.

    Args:
        checkpoints: Their files.
        config: The configuration of conf/rate.yaml.

    Returns:
        A run for each, whose folders lie in ``config.out`` with the table and the report over all.

    Raises:
        UserError: A file or value that cannot be used.
    """
    from icm.codecs.learned import LearnedCodec
    from icm.config import build
    from icm.download import cache_folder, use_cache_folder
    from icm.evaluation.cache import Cache
    from icm.evaluation.job import Job
    from icm.evaluation.rate import RateTask
    from icm.faces.sources import Shard
    from icm.parts import preflight
    from icm.report.write import write_reports
    from icm.splits import find_split
    from icm.sweeps import forget_jobs, refuse_unwritable

    if config.limit is not None and (not isinstance(config.limit, int) or config.limit < 1):
        raise OptionError(f"limit={config.limit}: use a number of pictures, or null for all")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", str(config.device)):
        raise OptionError(f"device={config.device}: use cpu or cuda")
    split = find_split(config.data.path, str(config.split), config.data.annotations, "split")
    source = Shard(SplitImages(split, config.limit), *find_shard(config.shard))
    masks = build(config.masks)
    out = Path(config.out).expanduser()
    refuse_unwritable(out)
    forget_jobs(out)
    use_cache_folder(config.cache)
    jobs = []
    for checkpoint in checkpoints:
        codec = LearnedCodec("learned", checkpoint, config.device, tight=config.tight)
        jobs.append(Job(codec, source, [RateTask(codec, masks, split)], config.seed))
        preflight(jobs[-1].parts)
    runs = [job.run(Cache(cache_folder()), out / str(number)) for number, job in enumerate(jobs)]
    for path in write_reports(runs, out):
        print(path)
    return runs


def line(run: "Run") -> str:
    """The figures of one checkpoint, for people."""
    from icm.evaluation.measures import Subject

    def mean(measure: str) -> float | None:
        estimate = run.estimates.get((measure, Subject()))
        return estimate.value if estimate else None

    real, estimated = run.summary["bpp"], mean("estimated_bpp")
    assert estimated is not None
    parts = [
        f"{run.summary['title']}: {run.summary['images']} pictures, {real:.4f} bpp",
        f"estimated {estimated:.4f} (real {100 * (real / estimated - 1):+.2f} %)",
    ]
    for title, key in (("PSNR", "psnr"), ("inside the mask", "masked_psnr"), ("outside", "unmasked_psnr")):
        value = mean(key)
        parts += [f"{title} {value:.2f} dB"] if value is not None else []
    return ", ".join(parts)


class SplitImages:
    """The pictures of a split as the source of a job.

    Args:
        split: The split.
        limit: Only the first so many, by name; None: all.
    """

    name = "split"
    version = ""
    labelled = False
    pairs: "Sequence[Sequence[Pair]]" = ()

    def __init__(self, split: "Split", limit: int | None = None):
        self.split, self.limit = split, limit
        self.parameters = {"path": str(split.folder), "limit": limit}

    def preflight(self) -> list["Problem"]:
        return []

    def images(self) -> list["SourceImage"]:
        from icm.faces.sources import files_of

        names = self.split.images()[: self.limit]
        return files_of(self.split.folder, [self.split.folder / name for name in names])

    def ignored(self) -> list[dict[str, str]]:
        return []
