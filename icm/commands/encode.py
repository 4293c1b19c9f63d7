"""``python -m icm encode``: images to ``.icm`` files."""

import argparse
import time
from pathlib import Path

from icm import codecs
from icm.codecs.base import Codec, payload_size
from icm.commands.file_jobs import Job, plan, run_all
from icm.files import atomic_write
from icm.images import list_images, read_image

DESCRIPTION = "Code images to .icm files, which any machine with this program decodes."

_EXAMPLES = """\
examples:
  python -m icm encode photo.png --codec vvc --qp 37 -o coded
  python -m icm encode 'holiday/*.jpg' more.png --codec jpeg --quality 10 -o coded
  python -m icm encode pictures/ --codec av1 --qp 45 --preset 6 -o coded
  python -m icm encode photo.png --codec sa_icm --checkpoint network.ckpt -o coded
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="an image, a folder or a quoted glob pattern")
    parser.add_argument("--codec", choices=codecs.NAMES, default="vvc", help="default: vvc")
    point = parser.add_mutually_exclusive_group()
    point.add_argument("--qp", type=int, help="quantiser of vvc, av1 (0 to 63) and hevc (0 to 51); higher is smaller")
    point.add_argument("--quality", type=int, help="of the still codecs; higher is better (jpeg2000: PSNR in dB)")
    parser.add_argument("--preset", help="speed of vvc, hevc and av1")
    parser.add_argument("--checkpoint", metavar="PATH", help="weights of a learned codec")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="folder of the .icm files")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")


def run(arguments: argparse.Namespace) -> int:
    named = {name: getattr(arguments, name) for name in ("qp", "quality", "preset", "checkpoint")}
    codec = codecs.create(arguments.codec, **{name: value for name, value in named.items() if value is not None})
    jobs = plan(arguments.images, arguments.output, ".icm", arguments.force, list_images)
    started = time.monotonic()
    rates, failures = run_all(jobs, lambda job: _encode(codec, job), codec.max_workers, f"encode {codec.name}")
    if rates:
        bpp, bpp_total = (sum(values) / len(rates) for values in zip(*rates, strict=True))
        point = "".join(f" at {name} {value}" for name, value in codec.point.items())
        print(f"{codec.name}{point}: {len(rates)} image(s), mean {bpp:.4f} bpp ({bpp_total:.4f} with the container)")
    print(f"{len(rates)} coded to {arguments.output}, {len(failures)} skipped, {time.monotonic() - started:.1f} s")
    return 1 if failures else 0


def _encode(codec: Codec, job: Job) -> tuple[float, float]:
    image = read_image(job.source)
    bitstream = codec.encode(image)
    atomic_write(job.target, bitstream)
    pixels = image.shape[0] * image.shape[1]
    return 8 * payload_size(bitstream) / pixels, 8 * len(bitstream) / pixels
