import re
from html.parser import HTMLParser

import pytest

from icm.evaluation.results import load_run, load_runs
from icm.report.html import CROP_SIDE, GALLERY_FACES, render, write_report

HOSTILE = "<script>alert('é')</script> \"&.png"


class Page(HTMLParser):
    """The tags, attributes and text of a page; complains about elements that are not closed in order."""

    VOID = frozenset({"meta", "link", "img", "br", "hr"})

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], "", []
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
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="session")
def page(sweep_directory):
    return Page(render(load_runs(sweep_directory), "Title"))


def test_nothing_is_loaded_from_elsewhere(page):
    assert "script" not in page.tags
    references = [value for _, name, value in page.attributes if name in ("src", "href", "xlink:href", "srcset")]
    assert references
    assert all(value.startswith(("data:", "#")) for value in references)


def test_styles_load_nothing(runs):
    text = render(runs, "Title")
    assert "@import" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def test_ids_are_unique_and_references_resolve(page):
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for _, name, value in page.attributes:
        if name in ("href", "xlink:href") and value.startswith("#"):
            assert value[1:] in ids
        for target in re.findall(r"url\(#([^)]*)\)", value or ""):
            assert target in ids


def test_shows_table_curves_differences_and_faces(page):
    for text in (
        "VVC QP 32",
        "SA-ICM 1",
        "0.920",
        "\N{MINUS SIGN}0.235",
        "Dlib",
        "ArcFace",
        "lossless",
        "python -m icm report",
    ):
        assert text in page.text
    assert page.tags.count("svg") == 5
    assert page.tags.count("article") == 4
    # Four faces: the original and one crop for each of the seven points.
    assert page.tags.count("img") == 4 * 8


def test_hostile_names_are_text(synthetic, tmp_path):
    faces = ((HOSTILE, 0), ("b.png", 0))
    skipped = [{"image": HOSTILE, "reason": "<b>damaged</b>"}]
    synthetic.write(tmp_path, scores={"dlib": [0.5, 0.6]}, faces=faces, skipped=skipped, source="</style><i>")
    page = Page(render([load_run(tmp_path)], "<title>"))
    assert page.text.count(HOSTILE) == 3
    assert "<b>damaged</b>" in page.text
    assert {"script", "b ", "i"}.isdisjoint(page.tags)
    assert page.tags.count("img") == 4


def test_hostile_series_names_are_text_in_drawings(synthetic, tmp_path):
    synthetic.write(tmp_path / "0", source='<script>"&')
    synthetic.write(tmp_path / "1", source="other", bpp=0.2)
    page = Page(render(load_runs(tmp_path), "Title"))
    assert "script" not in page.tags
    assert 'VVC (<script>"&)' in page.text


def test_same_runs_same_bytes(sweep_directory, tmp_path):
    pages = [write_report(load_runs(sweep_directory), tmp_path / name / "report.html") for name in ("one", "two")]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_gallery_and_crops_are_capped(synthetic, tmp_path):
    import base64
    import io

    from PIL import Image

    faces = tuple((f"{n}.png", 0) for n in range(20))
    synthetic.write(tmp_path, faces=faces, scores={"dlib": [0.5] * 20})
    for path in (tmp_path / "crops" / "original").iterdir():
        Image.new("RGB", (600, 300), "navy").save(path)
    page = Page(render([load_run(tmp_path)], "Title"))
    assert page.tags.count("article") == GALLERY_FACES
    assert "The first 8 of 20 faces" in page.text
    sources = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    with Image.open(io.BytesIO(base64.b64decode(sources[0].split(",")[1]))) as image:
        assert image.size == (CROP_SIDE, CROP_SIDE // 2)


def test_run_without_crops_or_config_still_reports(synthetic, tmp_path):
    synthetic.write(tmp_path, crops=False)
    (tmp_path / "config.yaml").unlink()
    page = Page(render([load_run(tmp_path)], "Title"))
    assert "no crop" in page.text
    assert "img" not in page.tags
