"""``python -m icm encode``: images to ``.icm`` files."""

import argparse
import time
from pathlib import Path

from icm import codecs
from icm.codecs.base import Codec, payload_size
from icm.commands.file_jobs import Job, plan, run_all
from icm.files import atomic_write
from icm.images import list_images, read_image
from icm.parts import preflight

DESCRIPTION = "Code images to .icm files, which any machine with this program decodes."

_EXAMPLES = """\
examples:
  python -m icm encode photo.png --codec vvc --qp 37 -o coded
  python -m icm encode 'holiday/*.jpg' more.png --codec jpeg --quality 10 -o coded
  python -m icm encode pictures/ --codec av1 --qp 45 --preset 6 -o coded
  python -m icm encode photo.png --codec sa_icm --rate low --variant control -o coded
  python -m icm encode photo.png --codec learned --checkpoint network.ckpt -o coded
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="an image, a folder or a quoted glob pattern")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="folder of the .icm files")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")
    add_codec_options(parser)


def add_codec_options(parser: argparse.ArgumentParser) -> None:
    """``--codec`` and every option of any codec."""
    parser.add_argument("--codec", choices=codecs.names(), default="vvc", help="default: vvc")
    group = parser.add_argument_group("options of the codecs")
    for option, meanings in _options().items():
        flag = "--" + option.replace("_", "-")
        group.add_argument(
            flag, dest=f"codec.{option}", type=codecs.value_of, metavar="VALUE", help=meanings.replace("%", "%%")
        )


def run(arguments: argparse.Namespace) -> int:
    codec = chosen_codec(arguments)
    preflight([codec])
    jobs = plan(arguments.images, arguments.output, ".icm", arguments.force, list_images)
    started = time.monotonic()
    coded, failures = run_all(jobs, lambda job: _encode(codec, job), codec.max_workers, f"encode {codec.name}")
    if coded:
        pixels, payload, container = (sum(column) for column in zip(*coded, strict=True))
        mean, mean_total = (sum(8 * row[kind] / row[0] for row in coded) / len(coded) for kind in (1, 2))
        print(f"{codec.title}: {len(coded)} image(s), mean {mean:.4f} bpp ({mean_total:.4f} with the container)")
        print(f"all bits over all pixels: {8 * payload / pixels:.4f} bpp ({8 * container / pixels:.4f})")
    print(f"{len(coded)} coded to {arguments.output}, {len(failures)} skipped, {time.monotonic() - started:.1f} s")
    return 1 if failures else 0


def chosen_codec(arguments: argparse.Namespace) -> Codec:
    """The codec that the arguments of `add_codec_options` ask for."""
    given = {option: getattr(arguments, f"codec.{option}") for option in _options()}
    return codecs.create(arguments.codec, **{option: value for option, value in given.items() if value is not None})


def _options() -> dict[str, str]:
    """Every option of any codec, and what it means to which: the same text for several codecs stands once."""
    meanings: dict[str, dict[str, list[str]]] = {}
    for name in codecs.names():
        for option, meaning in codecs.options(name).items():
            meanings.setdefault(option, {}).setdefault(meaning, []).append(name)
    return {
        option: "; ".join(f"{', '.join(names)}: {meaning}" for meaning, names in of_codecs.items())
        for option, of_codecs in meanings.items()
    }


def _encode(codec: Codec, job: Job) -> tuple[int, int, int]:
    """Pixels of the image, bytes of the payload and of the container."""
    image = read_image(job.source)
    bitstream = codec.encode(image)
    atomic_write(job.target, bitstream)
    return image.shape[0] * image.shape[1], payload_size(bitstream), len(bitstream)
