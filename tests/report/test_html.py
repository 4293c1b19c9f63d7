import base64
import csv
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from icm.evaluation.results import ResultsError, crop_name, load_run, load_runs
from icm.report import gallery
from icm.report.html import STATIC_FACES, render, write_report
from icm.report.points import collect_points
from icm.report.tables import MINUS, shown

HOSTILE = "<script>alert('é')</script> \"&.png"


class Page(HTMLParser):
    """The tags, attributes and text of a page; complains about elements that are not closed in order."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.attributes, self.text, self.scripts, self.open = [], [], "", [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="session")
def text(sweep_directory):
    return render(load_runs(sweep_directory), "Title")


@pytest.fixture(scope="session")
def page(text):
    return Page(text)


def data_of(page) -> dict:
    return json.loads(page.scripts[0])


def test_nothing_is_loaded_from_elsewhere(page, text):
    references = [value for _, name, value in page.attributes if name in ("src", "href", "xlink:href", "srcset")]
    assert references
    assert all(value.startswith(("data:", "#")) for value in references)
    # And the browser would refuse to.
    assert "default-src 'none'; img-src data:;" in text
    assert "@import" not in text
    targets = re.findall(r"url\(([^)]*)\)", text)
    assert all(target.startswith(("#", "data:")) for target in targets)


def test_ids_are_unique_and_references_resolve(page):
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for _, name, value in page.attributes:
        if name in ("href", "xlink:href") and value.startswith("#"):
            assert value[1:] in ids
        for target in re.findall(r"url\(#([^)]*)\)", value or ""):
            assert target in ids


def test_the_page_is_whole_without_its_script(page):
    for found in (
        "At 0.3 bpp, SA-ICM protects best: calibrated similarity 0.240",
        "SA-ICM is first under 2 of 2 recognisers.",
        "VVC QP 32",
        "0.920",
        "\N{MINUS SIGN}0.235",
        "lossless",
        "python -m icm report",
        "3 images of demo; 4 faces found in the originals by mtcnn",
        "VVC at QP 32, QP 35, QP 37, QP 40: preset medium, version ffmpeg 9.",
        "Seed 0.",
        "Every face, cropped at the same box",
    ):
        assert found in page.text
    # Privacy, utility, and one against the other.
    assert page.tags.count("svg") == 3
    assert page.tags.count("article") == 4
    # Four faces: the original and one crop for each of the seven points.
    assert sum((tag, name, value) == ("div", "role", "img") for tag, name, value in page.attributes) == 3 + 4 * 8
    labels = [value for tag, name, value in page.attributes if name == "aria-label" and tag == "div"]
    assert {"original face", "face coded by VVC QP 32", "calibrated similarity (Dlib) against rate"} <= set(labels)


CELL = re.compile(r"<td((?: data-\w+=\"[^\"]*\")+)>(.*?)</td>")
NUMBER = re.compile(r"-?\d+\.\d+")


def test_every_number_of_the_page_is_that_of_the_table_in_its_row(page, text, runs):
    """Cell by cell: what is sorted and downloaded is table.csv's, what is read is that rounded, what the script draws
    is the number behind it."""
    data, points = data_of(page), collect_points(runs)
    rows = {(row["label"], row["embedder"]): row for row in csv.DictReader(io.StringIO(data["table"]))}
    assert len(rows) == 14
    compared = 0
    for measure, subjects in shown(points).items():
        table = text.partition(f'id="table-{measure.key}"')[2].partition("</table>")[0]
        drawn = data["estimates"][[found["key"] for found in data["measures"]].index(measure.key)]
        lines = re.findall(r'<tr data-series="\d+" data-p="(\d+)".*?</tr>', table)
        assert sorted(map(int, lines)) == list(range(len(points)))
        for index, line in re.findall(r'<tr data-series="\d+" data-p="(\d+)"[^>]*>(.*?)</tr>', table, re.DOTALL):
            point = points[int(index)]
            (bpp, *_), *cells = [CELL.fullmatch(cell).groups() for cell in re.findall("<td data-v.*?</td>", line)]
            columns = cells[-len(subjects) :]
            for subject, (attributes, seen) in zip(subjects, columns, strict=True):
                row = rows[point.label(), subject.embedder]
                expected = [row[name] for name in measure.columns]
                assert dict(re.findall(r'data-(\w+)="(.*?)"', attributes)) == dict(
                    zip(("v", "low", "high"), expected, strict=True)
                )
                read = [f"{float(value):.{measure.digits}f}" for value in expected]
                assert NUMBER.findall(seen.replace(MINUS, "-")) == read
                script = drawn[
                    data["subjects"].index(
                        next(found for found in data["subjects"] if found["embedder"] == subject.embedder)
                    )
                ][int(index)]
                assert [f"{value:.6f}" for value in script] == expected
                assert f'data-v="{row["bpp"]}" data-total="{row["bpp_total"]}"' in bpp
                compared += 1
    assert compared == 2 * 14


def test_hostile_names_are_text(synthetic, tmp_path):
    faces = ((HOSTILE, 0), ("b\u2028.png", 0))
    skipped = [{"image": HOSTILE, "reason": "<b>damaged</b>"}]
    synthetic.write(tmp_path, scores={"dlib": [0.5, 0.6]}, faces=faces, skipped=skipped, source="</style><i>",
                    series="</script><!--")  # fmt: skip
    text = render([load_run(tmp_path)], "<title>")
    page = Page(text)
    assert page.text.count(HOSTILE) == 3
    assert "<b>damaged</b>" in page.text
    assert {"b ", "i"}.isdisjoint(page.tags)
    assert page.tags.count("script") == 2
    assert "\u2028" not in page.scripts[0]
    data = data_of(page)
    assert [face["image"] for face in data["faces"]] == [HOSTILE, "b\u2028.png"]
    assert data["series"][0]["name"] == "</script><!--"


def test_hostile_series_names_are_text_in_drawings(synthetic, tmp_path):
    synthetic.write(tmp_path / "0", source='<script>"&')
    synthetic.write(tmp_path / "1", source="other", bpp=0.2)
    page = Page(render(load_runs(tmp_path), "Title"))
    assert page.tags.count("script") == 2
    assert 'VVC (<script>"&)' in page.text


def test_same_runs_same_bytes(sweep_directory, tmp_path):
    pages = [write_report(load_runs(sweep_directory), tmp_path / name / "report.html") for name in ("one", "two")]
    assert pages[0].read_bytes() == pages[1].read_bytes()


@pytest.fixture
def undrawn(monkeypatch):
    """Pages without plots, which take most of the time."""
    monkeypatch.setattr("icm.report.html.drawings", lambda points: {})


@pytest.fixture
def many(synthetic, tmp_path):
    """A run with twenty faces whose crops are all noise, the first the most exposed."""
    faces = tuple((f"{n}.png", 0) for n in range(20))
    synthetic.write(tmp_path, faces=faces, scores={"dlib": [1 - n / 40 for n in range(20)]}, crops=False)
    rng = np.random.default_rng(0)
    for kind in ("original", "coded"):
        (tmp_path / "crops" / kind).mkdir(parents=True)
        for image, face in faces:
            pixels = rng.integers(0, 256, (90, 150, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "crops" / kind / crop_name(image, face))
    return tmp_path


def test_crops_become_small_with_the_room_there_is(many):
    points = collect_points([load_run(many)])
    large, small, few = (gallery.make_gallery(points, room) for room in (10**7, 150_000, 10_000))
    assert [found.side for found in (large, small, few)] == [128, 80, 48]
    with Image.open(io.BytesIO(base64.b64decode(large.strips[0].uri.split(",")[1]))) as image:
        assert image.size == (256, 128)
    assert "20 of 20 faces" not in large.note
    assert len(small.strips) == 20
    # The most exposed face and the best protected one are always among those that have room.
    assert 2 <= len(few.strips) < 20
    assert {("0.png", 0), ("19.png", 0)} <= {strip.key for strip in few.strips}
    assert few.note.startswith(f"{len(few.strips)} of 20 faces")


def test_the_page_keeps_to_its_size(many, undrawn, monkeypatch):
    monkeypatch.setattr("icm.report.html.MOST_BYTES", 0)
    least = len(render([load_run(many)], "Title").encode())
    monkeypatch.setattr("icm.report.html.MOST_BYTES", least + 25_000)
    text = render([load_run(many)], "Title")
    assert least < len(text.encode()) <= least + 25_000
    page = Page(text)
    assert page.tags.count("article") == STATIC_FACES
    assert 0 < len(data_of(page)["faces"]) < 20


def test_run_without_crops_or_config_still_reports(synthetic, undrawn, tmp_path):
    synthetic.write(tmp_path, crops=False)
    (tmp_path / "config.yaml").unlink()
    page = Page(render([load_run(tmp_path)], "Title"))
    assert "no crop" in page.text


def test_a_damaged_crop_is_one_line(synthetic, undrawn, tmp_path):
    synthetic.write(tmp_path)
    path = next((tmp_path / "crops" / "coded").iterdir())
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ResultsError, match=f"{path.name}: not a picture"):
        render([load_run(tmp_path)], "Title")


def test_a_sweep_without_faces_or_intervals_reports(synthetic, tmp_path):
    estimates = [{"measure": "psnr", "value": 30.0, "low": None, "high": None, "n": 1, "units": 1}]
    synthetic.write(tmp_path, scores={}, faces=(("a.png", 0),), estimates=estimates, crops=False)
    page = Page(render([load_run(tmp_path)], "Title"))
    assert "VVC QP 37 codes at 0.300 bpp." in page.text
    assert "No face was looked for." in page.text
