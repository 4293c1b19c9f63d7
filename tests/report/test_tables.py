import csv

import pytest

from icm.evaluation.results import load_run, load_runs
from icm.report.points import collect_points
from icm.report.tables import joint_table, table, to_markdown, to_text, write_table

COLUMNS = (
    "codec", "label", "qp", "quality", "images", "faces", "bpp", "bpp_total", "psnr", "embedder",
    "psnr_low", "psnr_high", "cosine_similarity", "ci95_low", "ci95_high", "calibrated_similarity",
    "calibrated_ci95_low", "calibrated_ci95_high", "bpp_pooled",
)  # fmt: skip


def test_long_table_has_a_row_per_point_and_recogniser(runs):
    rows = table(runs)
    assert len(rows) == 14
    assert tuple(rows[0]) == COLUMNS
    first = rows[0]
    assert (first["codec"], first["label"], first["qp"], first["quality"]) == ("vvc", "vvc qp 32", 32, None)
    assert (first["images"], first["faces"], first["embedder"]) == (3, 4, "dlib")
    assert (first["bpp"], first["bpp_total"], first["psnr"]) == pytest.approx((0.5, 0.55, 33.6))
    assert first["cosine_similarity"] == pytest.approx((0.95 + 0.9 + 0.85 + 0.98) / 4)
    assert first["calibrated_similarity"] == pytest.approx(2 * 0.92 - 1)
    assert first["ci95_low"] < 0.92 < first["ci95_high"]
    assert rows[-1]["psnr"] is None


def test_files_have_the_same_bytes_every_time(sweep_directory, tmp_path):
    for folder in ("one", "two"):
        write_table(load_runs(sweep_directory), tmp_path / folder)
    for name in ("table.csv", "table.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with open(tmp_path / "one" / "table.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert (rows[0]["cosine_similarity"], rows[0]["quality"], rows[-1]["psnr"]) == ("0.920000", "", "")


def test_markdown_is_the_papers_layout(runs):
    lines = to_markdown(collect_points(runs)).splitlines()
    assert "3 images, 4 faces" in lines[0]
    assert lines[2] == "| Codec | bpp | PSNR | Dlib | ArcFace |"
    assert lines[4].startswith("| VVC QP 32 | 0.500 | 33.60 | 0.920 [0.850, 0.980] | 0.920 [")
    assert lines[10].startswith("| No codec | 24.000 | lossless | 1.000 [1.000, 1.000] |")
    difference = "\N{MINUS SIGN}0.235"
    cells = f"| SA-ICM 1 | VVC | 0.200 | {difference} [{difference}, {difference}] |"
    assert any(line.startswith(cells) for line in lines)


def test_text_table_is_aligned_and_plain(runs):
    text = to_text(collect_points(runs))
    assert text.isascii()
    lines = text.splitlines()
    assert lines[2].index("bpp") == lines[4].index("0.500") == lines[10].index("24.000")


def test_missing_recogniser_is_a_dash(synthetic, tmp_path):
    synthetic.write(tmp_path / "0", point={"qp": 37}, scores={"dlib": [0.9] * 4})
    synthetic.write(tmp_path / "1", point={"qp": 40}, bpp=0.2, scores={"arcface": [0.8] * 4})
    lines = to_text(collect_points([load_run(tmp_path / "0"), load_run(tmp_path / "1")])).splitlines()
    assert lines[4].endswith("0.900 [0.900, 0.900]  -")
    assert len(table(load_runs(tmp_path))) == 2


def test_hostile_names_stay_in_their_cell(synthetic, tmp_path):
    synthetic.write(tmp_path / "0", source="a|<b>")
    synthetic.write(tmp_path / "1", source="c", bpp=0.2)
    markdown = to_markdown(collect_points(load_runs(tmp_path)))
    assert "VVC QP 37 (a&#124;&lt;b>)" in markdown


def test_sets_of_pictures_measured_apart_stand_in_one_row_a_codec(synthetic, tmp_path):
    for job, (qp, bpp) in enumerate(((32, 0.5), (37, 0.25))):
        synthetic.write(tmp_path / f"{job}", "vvc", {"qp": qp}, bpp, scores={"dlib": [0.9] * 4, "arcface": [0.8] * 4})
        names = {"measure": "ap", "model": "rcnn"}
        found = {"value": 0.4 - job / 10, "low": 0.1, "high": 0.5, "n": 9, "units": 9}
        synthetic.write(
            tmp_path / f"{job + 2}", "vvc", {"qp": qp}, bpp + 0.1, estimates=[{**names, **found}], source="coco",
            data="other", tasks=["detection"], titles={"rcnn": "R-CNN"}, scores={}, faces=[],
        )  # fmt: skip
    points = collect_points(load_runs(tmp_path))
    heading, rows = joint_table(points)
    assert heading == ["Codec", "bpp, demo", "cosine similarity, Dlib", "cosine similarity, ArcFace", "bpp, coco",
                       "box AP, R-CNN"]  # fmt: skip
    assert [row[0] for row in rows] == ["VVC QP 32", "VVC QP 37"]
    assert [(row[1], row[4], row[5]) for row in rows] == [
        ("0.500", "0.600", "0.400 [0.100, 0.500]"), ("0.250", "0.350", "0.300 [0.100, 0.500]")]  # fmt: skip
    assert "| VVC QP 37 | 0.250 |" in to_markdown(points)
    assert joint_table(collect_points(load_runs(tmp_path)[:2])) is None
