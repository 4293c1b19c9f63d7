"""Redraw the pictures of README and docs from the demo's results: ``make figures``.

demo.jpg: faces before and after coding; scenes.jpg: whole scenes; curves.svg: similarity against rate;
selectivity.svg: how the small edge network came to its selectivity (small_edge_training.csv); report.jpg
and report_phone.jpg: the first screen of report.html, where Chromium is installed.
"""

import csv
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from icm import codecs
from icm.codecs import shipped
from icm.codecs.base import payload_size
from icm.evaluation.results import load_runs
from icm.faces.sources import DemoFaces
from icm.metrics.rate import bits_per_pixel
from icm.report import figures
from icm.report.points import collect_points

DOCS = Path(__file__).resolve().parent
SCENES = (0, 4, 9)
COLUMNS = ("vvc:37", "sa_icm:control:mid", "sa_icm:edge:mid", "sa_icm:faceless:mid")

FACES = (
    "vvc:32", "vvc:37", "vvc:40", "sa_icm:control:mid", "sa_icm:control:low", "sa_icm:edge:mid", "sa_icm:edge:low",
    "sa_icm:faceless:mid", "sa_icm:faceless:low",
)  # fmt: skip


def scenes() -> Figure:
    """Three demo scenes and what each codec of `COLUMNS` makes of them, with the rate under each."""
    makers = [codecs.at(point) for point in COLUMNS]
    images = [DemoFaces().images()[index].load() for index in SCENES]
    figure = Figure(figsize=(3 * (len(makers) + 1), 2.5 * len(images)), layout="constrained")
    axes = figure.subplots(len(images), len(makers) + 1)
    for number, (row, image) in enumerate(zip(axes, images, strict=True)):
        cells = [("original", image, "")]
        for codec in makers:
            bitstream = codec.encode(image)
            rate = bits_per_pixel(payload_size(bitstream), *image.shape[:2])
            cells.append((codec.title, codecs.decode(bitstream), f"{rate:.3f} bpp"))
        for axis, (title, picture, rate) in zip(row, cells, strict=True):
            axis.imshow(picture)
            axis.set_axis_off()
            axis.text(0.5, -0.03, rate, transform=axis.transAxes, ha="center", va="top", fontsize=9)
            if number == 0:
                axis.set_title(title, fontsize=10)
    return figure


def selectivity() -> Figure:
    """PSNR inside the edge mask minus outside against training steps, and where the controls ended."""
    with open(DOCS / "small_edge_training.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([int(row["step"]) for row in rows], [float(row["selectivity"]) for row in rows], "o-", color="#e0561c")
    ended = shipped.find("control", "mid").card["held_out"]["selectivity"]
    axes.axhline(ended, linestyle="--", color=figures.MUTED)
    axes.text(
        float(rows[-1]["step"]), ended, "control, mid, when it ended", ha="right", va="bottom", color=figures.MUTED
    )
    axes.set_xlabel("training steps")
    axes.set_ylabel("selectivity (dB)")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def screenshots(report: Path) -> None:
    """The first screen of a report at a desk and on a telephone, as JPEG; nothing where there is no Chromium."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("no Chromium here: the pictures of the report stay as they are")
        return
    with tempfile.TemporaryDirectory() as folder:
        # No window is as narrow as a telephone, but a frame can be.
        phone = Path(folder) / "phone.html"
        frame = f'<iframe src="{report.resolve().as_uri()}" style="width:390px;height:1600px;border:0"></iframe>'
        phone.write_text(f'<body style="margin:0">{frame}</body>', encoding="utf-8")
        for name, page, (width, height) in (("report", report, (1400, 1240)), ("report_phone", phone, (390, 1600))):
            shot = Path(folder) / "shot.png"
            options = ("headless=new", "no-sandbox", "disable-gpu", "hide-scrollbars", "virtual-time-budget=5000",
                       f"user-data-dir={folder}/profile", f"window-size={max(width, 500)},{height}",
                       f"screenshot={shot}")  # fmt: skip
            command = [browser, *(f"--{option}" for option in options), page.resolve().as_uri()]
            subprocess.run(command, check=True, capture_output=True)
            with Image.open(shot) as image:
                image.convert("RGB").crop((0, 0, width, height)).save(DOCS / f"{name}.jpg", quality=72, optimize=True)


def main(sweep: Path) -> None:
    points = collect_points(load_runs(sweep))
    faces = points[0].face_keys()[:3]
    titles = {codecs.at(point).title for point in FACES}
    shown = [point for point in points if point.title in titles]
    figures.save(figures.strip_figure(shown, faces), DOCS / "demo.jpg")
    measure, subject = figures.first_of_faces(points)
    figures.save(figures.measure_figure(points, measure, subject), DOCS / "curves.svg")
    figures.save(selectivity(), DOCS / "selectivity.svg")
    figures.save(scenes(), DOCS / "scenes.jpg")
    screenshots(sweep / "report.html")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
