"""``python -m icm decode``: ``.icm`` files to PNG images."""

import argparse
import contextlib
import time
from functools import cache
from pathlib import Path

from icm import codecs
from icm.codecs.base import Codec, unpack
from icm.commands.file_jobs import Job, plan, run_all
from icm.errors import UserError
from icm.images import write_png

DESCRIPTION = "Decode .icm files of any codec to PNG images."

_EXAMPLES = """\
examples:
  python -m icm decode coded/photo.icm -o decoded
  python -m icm decode 'coded/*.icm' -o decoded
  python -m icm decode coded/ -o decoded --checkpoint network.ckpt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("files", nargs="+", metavar="FILE.icm", help="a file, a folder or a quoted glob pattern")
    parser.add_argument("--checkpoint", metavar="PATH", help="weights of a learned codec")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="folder of the PNG files")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")


def run(arguments: argparse.Namespace) -> int:
    jobs = plan(arguments.files, arguments.output, ".png", arguments.force, _list_bitstreams)

    @cache
    def decoder(name: str, weights_id: str) -> Codec:
        return codecs.decoder(name, weights_id, arguments.checkpoint)

    def decoder_of(bitstream: bytes) -> Codec:
        container = unpack(bitstream)
        return decoder(container.codec, container.weights_id)

    def decode(job: Job) -> None:
        bitstream = job.source.read_bytes()
        write_png(job.target, decoder_of(bitstream).decode(bitstream))

    started = time.monotonic()
    limits = set()
    for job in jobs:
        # A file that cannot be read or decoded is left for its job to report.
        with contextlib.suppress(UserError, OSError):
            limits.add(decoder_of(job.source.read_bytes()).max_workers)
    workers = min((limit for limit in limits if limit), default=None)
    done, failures = run_all(jobs, decode, workers, "decode")
    print(f"{len(done)} decoded to {arguments.output}, {len(failures)} skipped, {time.monotonic() - started:.1f} s")
    return 1 if failures else 0


def _list_bitstreams(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.icm") if not path.name.startswith("."))
