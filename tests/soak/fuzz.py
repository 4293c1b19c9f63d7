"""``python -m tests.soak.fuzz [-max_total_time=SECONDS]``: coverage-guided fuzzing of what reads foreign bytes.

Needs atheris (Python 3.11), which is no dependency here; what follows the module's name goes to libFuzzer. Each input
is read as all of these: a container, and what a learned codec takes from one; the size of a JPEG XL picture; COCO's run
lengths; labels; a result. It is accepted, or refused by the error that says so; anything else ends the run.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["icm", "models"]):
    from icm.codecs.base import CHECKSUM_BYTES, BitstreamError, Container, pack, unpack
    from icm.codecs.jxl_header import jxl_size
    from icm.codecs.learned import _layout
    from icm.evaluation.results import ResultsError, Summary, load_run
    from icm.faces.labels import LabelError, read_labels
    from icm.metrics.segmentation import check_segmentation
    from models.portable import _positions
from tests.soak.mutations import seal


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        targets = _targets(Path(scratch))

        def read(data: bytes) -> None:
            for target, refusals in targets:
                with suppress(*refusals):
                    target(data)

        corpus = Path(scratch, "corpus")
        corpus.mkdir()
        for number, seed in enumerate(_seeds()):
            (corpus / str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, "-max_len=600", str(corpus)], read)
        atheris.Fuzz()


def _targets(scratch: Path) -> list[tuple[Callable[[bytes], object], tuple[type[Exception], ...]]]:
    """What reads bytes, and the errors by which it may refuse them."""

    def learned(data: bytes) -> None:
        container = unpack(seal(data))
        _, _, listed_at = _layout(container)
        _positions(container.payload[listed_at:])

    def labels(data: bytes) -> None:
        (scratch / "labels.csv").write_bytes(data)
        read_labels(scratch / "labels.csv", ["a.png", "b/c.png"])

    def result(data: bytes) -> None:
        (scratch / "summary.json").write_bytes(data)
        load_run(scratch)

    def table(data: bytes) -> None:
        (scratch / "faces.csv").write_bytes(data)
        (scratch / "summary.json").write_bytes(_SUMMARY)
        load_run(scratch)

    return [
        (unpack, (BitstreamError,)),
        (learned, (BitstreamError, ValueError)),
        (lambda data: jxl_size(b"\xff\x0a" + data), (ValueError,)),
        (lambda data: check_segmentation({"size": [24, 32], "counts": data}, 24, 32), (ValueError,)),
        (labels, (LabelError,)),
        (result, (ResultsError,)),
        (table, (ResultsError,)),
    ]


def _summary() -> bytes:
    """A summary.json that names a table of faces."""
    entry = {"measure": "psnr", "value": 30.5, "low": 30, "high": 31, "n": 2, "units": 2}
    fields = {**dict.fromkeys(Summary.__required_keys__, ""), "estimates": [entry], "tables": ["faces"]}
    return json.dumps(fields).encode()


_SUMMARY = _summary()


def _seeds() -> list[bytes]:
    container = Container("learned", {"symbols": 7, "y_bytes": 3, "listed_at": 6, "tile": 128}, 24, 32, bytes(9), "00")
    return [
        pack(container),
        pack(container)[:-CHECKSUM_BYTES],
        b"\x09\x7f\x00" + bytes(12),
        b"`h0PPT3",
        b"image,person,x,y,width,height\na.png,ann,1,2,3,4\nb/c.png,bob,,,,\n",
        b"image,embedder,score,face\na.png,dlib,0.5,1\n",
        _SUMMARY,
    ]


if __name__ == "__main__":
    main()
