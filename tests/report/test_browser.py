"""The script of report.html in a real browser, driven by a second script in a copy of the page."""

import html
import json
import re
import shutil
import subprocess

import pytest

from icm.evaluation.measures import Subject
from icm.evaluation.results import load_runs, rows_to_csv
from icm.report import findings
from icm.report.equal_rate import pareto_front, unrated
from icm.report.html import MOST_BYTES, render
from icm.report.page_data import answers
from icm.report.points import collect_points, measures_of, subject_title
from icm.report.tables import interval, number, table

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium to check the page")
# Works the controls as a reader would and writes what is then on the page into it.
DRIVER = """
(async () => {
const $ = (id) => document.getElementById(id), text = (node) => node ? node.textContent : null, found = {};
const set = (id, value, event = "change") => { $(id).value = value; $(id).dispatchEvent(new Event(event)); };
const shown = (nodes) => [...nodes].filter((node) => node.offsetParent !== null);
const press = (node, key) => node.dispatchEvent(new KeyboardEvent("keydown", {key}));
const files = [];
URL.createObjectURL = (blob) => { files.push(blob); return "#"; };

found.start = text($("sentence"));
found.answers = [];
for (const measure of [...$("measure").options].map((o) => o.value)) {
  set("measure", measure);
  for (const recogniser of [...$("recogniser").options].map((o) => o.value)) {
    set("recogniser", recogniser);
    for (let rate = 0; rate <= Number($("rate").max); rate++) {
      set("rate", rate, "input");
      const rows = [...$("ranking").tBodies[0].rows].map((row) => [...row.cells].map((cell) =>
        [...cell.childNodes].map(text)));
      found.answers.push([text($("measure").selectedOptions[0]), text($("recogniser").selectedOptions[0]), rate,
                          text($("sentence")), text($("agreement")), rows]);
    }
  }
}
set("measure", $("measure").options[0].value);
set("recogniser", $("recogniser").options[0].value);
set("bpp", "0.2512");
found.snapped = [$("bpp").value, text($("sentence")).slice(0, 11)];

const dots = (plot) => [...document.querySelectorAll(`#${plot} .dot`)];
found.labels = dots("plot-privacy").map((dot) => dot.getAttribute("aria-label"));
found.front = dots("plot-both").filter((dot) => dot.classList.contains("front")).map((dot) => dot.dataset.p);
const dot = dots("plot-privacy")[2];
dot.dispatchEvent(new Event("pointerenter"));
found.at = [...document.querySelectorAll("#answer #plot-privacy .at, #plots .at")].length;
found.tip = [text($("tip")), dots("plot-utility").filter((d) => d.classList.contains("on")).map((d) => d.dataset.p)];
dot.dispatchEvent(new Event("pointerleave"));
found.tipHidden = $("tip").hidden;
press(dot, "Enter");
found.picked = [$("picked").hidden, text($("picked").querySelector("h3")), $("picked").querySelectorAll(".pic").length];
dots("plot-privacy")[2].dispatchEvent(new Event("click"));
found.unpicked = $("picked").hidden;

const faces = () => [...document.querySelectorAll("#gallery .face")].map((face) => text(face.querySelector("h3")));
found.exposed = faces();
set("order", "protected");
found.protected = faces();
set("order", "file");
found.pages = [text($("where")), $("back").disabled, $("forward").disabled];
const pic = document.querySelector("#gallery .pic");
found.background = getComputedStyle(pic).backgroundImage.slice(0, 22);

const box = $("codecs").querySelector("input");
box.click();
found.hidden = [dots("plot-privacy").length, shown($("table-cosine_similarity").tBodies[0].rows).length,
                document.querySelectorAll("#gallery .face:first-child .crop").length];
box.click();
set("filter-recogniser", "arcface");
found.columns = shown($("table-cosine_similarity").tHead.rows[0].cells).map(text);
set("filter-recogniser", "");
set("filter-measure", "calibrated_similarity");
found.tables = shown(document.querySelectorAll(".measure")).map((section) => section.dataset.measure);
set("filter-measure", "");

const head = $("table-cosine_similarity").tHead.rows[0].cells[1], rates = () =>
  [...$("table-cosine_similarity").tBodies[0].rows].map((row) => Number(row.cells[1].dataset.v));
head.querySelector("button").click();
found.ascending = [head.getAttribute("aria-sort"), rates()];
head.querySelector("button").click();
found.descending = [head.getAttribute("aria-sort"), rates()];

$("table-csv").click();
for (const button of document.querySelectorAll("[data-csv]")) button.click();
found.files = await Promise.all(files.map((file) => file.text()));
found.wide = document.documentElement.scrollWidth - innerWidth;
const results = document.createElement("pre");
results.id = "results";
results.textContent = JSON.stringify(found);
document.body.append(results);
})();
"""


def browse(page: str, folder, script: str = "", width: int = 1400) -> tuple[str, list[str]]:
    """The document after the page's script and another one have run, and what the browser's console said."""
    path = folder / "page.html"
    path.write_text(page.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
        f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900", "--virtual-time-budget=20000",
        "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def results_in(document: str) -> dict:
    return json.loads(html.unescape(re.search(r'<pre id="results">(.*?)</pre>', document, re.DOTALL)[1]))


@pytest.fixture(scope="module")
def sweep(synthetic, tmp_path_factory):
    """A sweep with exact halves among its numbers, attacks, and a point whose codec has no other."""
    folder = synthetic.write_sweep(tmp_path_factory.mktemp("sweep"))
    halves = {"dlib": [0.5625] * 4, "arcface": [0.5625] * 4}
    synthetic.write(folder / "7", "jpeg", {"quality": 9}, 0.2503, 28.125, halves)
    return folder


@pytest.fixture(scope="module")
def points(sweep):
    return collect_points(load_runs(sweep))


@pytest.fixture(scope="module")
def opened(sweep, tmp_path_factory):
    return browse(render(load_runs(sweep), "Title"), tmp_path_factory.mktemp("browser"), DRIVER)


@pytest.fixture(scope="module")
def found(opened):
    return results_in(opened[0])


def test_the_console_stays_silent(opened, tmp_path):
    assert opened[1] == []
    # And would be heard.
    assert "spoken" in browse("<body></body>", tmp_path, "console.log('spoken')")[1][0]


def test_every_answer_is_the_one_python_gives(found, points):
    ready = answers(points)
    assert found["start"] == findings.answer(ready.first[0], points, several_attacks=False)
    expected = []
    for measure, by_recogniser in ready.rankings.items():
        for who, ranked in by_recogniser.items():
            for rate, ranking in enumerate(ranked):
                agreement = findings.agreement([each[rate] for each in by_recogniser.values()])
                rest = [found[who][rate] for other, found in ready.rankings.items() if other != measure]
                agreement = " ".join(filter(None, [agreement, findings.silent(rest)]))
                rows = [_row(place, measure, index) for index, place in enumerate(ranking.places)]
                rows += [[*_row(place, measure, 0)[:2], [], []] for place in unrated(points, measure, who)]
                expected.append([measure.title, subject_title(points, who), rate,
                                 findings.answer(ranking, points, False), agreement, rows])  # fmt: skip
    assert len(expected) > 100
    assert found["answers"] == expected


def _row(place, measure, index):
    estimate, gap = place.estimate, place.behind
    verdict = "first" if index == 0 else {None: "no interval", True: "no", False: "yes"}[place.tied]
    difference = ["", ""]
    if gap:
        difference = [number(gap.difference, measure.digits, True), interval(gap.ci95, measure.digits, True)]
    name = [place.series] if place.behind is None and place.series == "No codec" else ["", place.series]
    return [name, [number(estimate.value, measure.digits), interval(estimate.interval, measure.digits)],
            difference if gap else [""], [verdict]]  # fmt: skip


def test_a_typed_rate_becomes_the_nearest_one(found):
    assert found["snapped"] == ["0.25", "At 0.25 bpp"]


def test_dots_say_what_they_are_and_lead_to_faces(found, points):
    coded = [point for point in points if not point.is_ceiling]
    assert len(found["labels"]) == len(coded)
    by_title = {label.split(",")[0]: label for label in found["labels"]}
    # An exact half, 28.125 dB and 0.125, is rounded as Python rounds it.
    assert "calibrated similarity 0.125 [0.125, 0.125]" in by_title["JPEG quality 9"]
    assert "PSNR 28.12" in by_title["JPEG quality 9"]
    assert by_title["VVC QP 37"].startswith("VVC QP 37, 0.270 bpp, calibrated similarity 0.640 [")
    text, linked = found["tip"]
    assert text.startswith("VVC QP 37")
    assert linked == ["2"]
    assert found["tipHidden"] is True
    assert found["picked"] == [False, "VVC QP 37", 8]
    assert found["unpicked"] is True


def test_the_rate_of_the_answer_stands_in_both_plots_over_rate(found):
    assert found["at"] == 2


def test_the_front_is_the_one_python_draws(found, points):
    measures = {measure.key: measure for measure in measures_of(points)}
    privacy = measures["calibrated_similarity"], Subject("dlib", "none")
    front = pareto_front(points, privacy, (measures["psnr"], Subject()))
    assert [points[int(index)] for index in found["front"]] == front
    assert 1 < len(front) < len(points)


def test_faces_are_ordered_and_paged(found):
    # The fourth face is the most like itself at every point, the third the least.
    assert [name.split(" face")[0] for name in found["exposed"]] == ["c.png", "a.png", "a.png", "b.png"]
    assert found["protected"] == found["exposed"][::-1]
    assert found["pages"] == ["1\N{EN DASH}4 of 4", True, True]
    assert found["background"] == 'url("data:image/webp;b'


def test_filters_hide_rows_columns_and_tables(found):
    assert found["hidden"] == [3, 4, 5]
    assert found["columns"] == ["Codec", "bpp", "PSNR, dB", "ArcFace"]
    assert found["tables"] == ["calibrated_similarity"]


def test_headings_sort(found):
    assert found["ascending"] == ["ascending", sorted(found["ascending"][1])]
    assert found["descending"] == ["descending", sorted(found["ascending"][1], reverse=True)]


def test_downloads_hold_what_the_files_hold(found, sweep):
    rows = table(load_runs(sweep))
    whole, cosine, calibrated, differences, bjontegaard, images = found["files"]
    assert whole == rows_to_csv(rows[0], rows)
    heading, first, *_ = (line.split(",") for line in cosine.splitlines())
    assert heading == ["Codec", "bpp", "bpp total", '"PSNR', ' dB"', '"PSNR', ' dB low"', '"PSNR', ' dB high"',
                       "Dlib", "Dlib low", "Dlib high", "ArcFace", "ArcFace low", "ArcFace high"]  # fmt: skip
    assert first[:3] == ["No codec", "24.000000", "24.050000"]
    assert calibrated.count("\n") == cosine.count("\n") == 9
    assert "-0.235" in differences
    assert bjontegaard.splitlines()[0].startswith("Codec,against,difference in,at equal,value")
    assert images.startswith("Image,size,faces,VVC QP 32,VVC QP 32 psnr,")


def test_nothing_sticks_out_of_a_telephone(sweep, tmp_path):
    # A window cannot be so narrow, a frame can.
    (tmp_path / "inner").mkdir()
    report = tmp_path / "inner" / "report.html"
    report.write_text(render(load_runs(sweep), "Title"), encoding="utf-8")
    script = f"""
    const frame = document.createElement("iframe");
    frame.style.cssText = "width:390px;height:800px;border:0";
    frame.srcdoc = {json.dumps(report.read_text(encoding="utf-8")).replace("</", "<" + chr(92) + "/")};
    frame.onload = () => {{
      const inner = frame.contentDocument, wide = (node) => node.getBoundingClientRect().right > 390.5;
      const ranking = inner.getElementById("ranking");
      const results = document.createElement("pre");
      results.id = "results";
      results.textContent = JSON.stringify({{
        page: inner.documentElement.scrollWidth - inner.documentElement.clientWidth,
        cells: [...ranking.querySelectorAll("td")].filter(wide).length,
        controls: [...inner.querySelectorAll("#question select, #question input")].filter(wide).length,
        broken: inner.querySelector("#ranking .best").getClientRects().length - 1,
        similarity: [...inner.querySelectorAll("#table-cosine_similarity tr > :nth-child(4)")].filter(wide).length,
      }});
      document.body.append(results);
    }};
    document.body.append(frame);
    """
    document, console = browse("<body></body>", tmp_path, script)
    assert results_in(document) == {"page": 0, "cells": 0, "controls": 0, "broken": 0, "similarity": 0}
    assert console == []


@pytest.mark.slow
def test_a_large_sweep_opens_at_once(synthetic, tmp_path):
    """14 points, six recognisers, 500 faces."""
    from PIL import Image

    from icm.evaluation.results import crop_name

    faces = tuple((f"{n // 2:06d}.jpg", n % 2) for n in range(500))
    pictures = [Image.fromarray(synthetic.picture(seed, 96)) for seed in range(9)]
    codecs = [("vvc", "qp"), ("jpeg", "quality"), ("sa_icm", "rate")]
    for job in range(14):
        (codec, name), step = codecs[job % 3], job // 3
        scores = {
            embedder: [0.9 - 0.1 * (job % 3) - 0.02 * step - n / 2000 for n in range(500)] for embedder in "abcdef"
        }
        directory = tmp_path / str(job)
        synthetic.write(directory, codec, {name: job}, 0.1 * 1.3**step, 30.0 + step, scores, faces, crops=False)
        for kind in ("original", "coded"):
            (directory / "crops" / kind).mkdir(parents=True)
            for n, (image, face) in enumerate(faces if job == 0 or kind == "coded" else ()):
                path = directory / "crops" / kind / crop_name(image, face)
                pictures[(n + job) % 9].save(path, compress_level=1)
    text = render(load_runs(tmp_path), "Title")
    assert len(text.encode()) <= MOST_BYTES
    script = """addEventListener("load", () => {
      const results = document.createElement("pre");
      results.id = "results";
      const where = document.getElementById("where").textContent;
      results.textContent = JSON.stringify({ms: performance.now(), where});
      document.body.append(results);
    });"""
    opened = results_in(browse(text, tmp_path, script)[0])
    assert opened["where"].endswith("of 500")
    assert opened["ms"] < 2000
