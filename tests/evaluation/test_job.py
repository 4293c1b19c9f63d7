"""A job's own order of work, on pictures made here."""

import threading

import pytest

from icm.codecs import create
from icm.codecs.base import CodecError
from icm.evaluation.cache import Cache
from icm.evaluation.job import Job
from icm.evaluation.pictures import PictureTask
from icm.faces.sources import SourceImage
from icm.images import ImageError

COUNT = 24


class Pictures:
    """Pictures of growing size, some of which cannot be read."""

    name, version, labelled, pairs, parameters = "made", "1", False, (), property(lambda self: {})

    def __init__(self, make_picture, damaged=()):
        self.make, self.damaged = make_picture, damaged

    def preflight(self):
        return []

    def ignored(self):
        return []

    def images(self):
        return [SourceImage(f"{number:02}.png", lambda number=number: self._read(number)) for number in range(COUNT)]

    def _read(self, number):
        if number in self.damaged:
            raise ImageError(f"{number:02}.png: damaged")
        return self.make(176, 176 + number, seed=number)


@pytest.fixture
def jpeg(monkeypatch):
    """JPEG, and what is called with every picture before it is coded."""
    codec, seen = create("jpeg", quality=20), []
    encode = codec.encode

    def watched(image, faces=()):
        for see in seen:
            see(image)
        return encode(image, faces)

    monkeypatch.setattr(codec, "encode", watched)
    return codec, seen


def test_pictures_are_coded_while_others_are_still_chosen(jpeg, make_picture, tmp_path):
    codec, seen = jpeg
    begun = threading.Event()
    seen.append(lambda image: begun.set())

    class Last(PictureTask):
        def concerns(self, source, image, digest):
            if source.name == f"{COUNT - 1}.png":
                assert begun.wait(30), "nothing was coded before the last picture was chosen"
            return super().concerns(source, image, digest)

    run = Job(codec, Pictures(make_picture), [Last("quality")]).run(Cache(tmp_path / "cache"), tmp_path / "run")
    assert [row["image"] for row in run.images] == [f"{number:02}.png" for number in range(COUNT)]


def test_what_is_skipped_is_told_in_the_same_order_with_any_number_of_workers(jpeg, make_picture, tmp_path):
    codec, seen = jpeg

    def refuse(image):
        if image.shape[1] % 5 == 0:
            raise CodecError(f"{image.shape[1]} pixels are too wide")

    seen.append(refuse)
    runs = [
        Job(codec, Pictures(make_picture, damaged=(3, 4, 20)), [PictureTask("quality")], workers=workers).run(
            Cache(tmp_path / f"cache{workers}"), tmp_path / f"run{workers}"
        )
        for workers in (1, 4)
    ]
    skipped = [run.summary["skipped"] for run in runs]
    assert skipped[0] == skipped[1]
    assert [entry["image"][:2] for entry in skipped[0]] == ["03", "04", "20", "09", "14", "19"]
    assert runs[0].images == runs[1].images
    assert len(runs[0].images) == COUNT - len(skipped[0])
