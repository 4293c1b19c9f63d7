import csv

import pytest

from icm.__main__ import main


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rebuilds_a_sweep_in_place(synthetic, tmp_path, capsys):
    synthetic.write(tmp_path / "0", point={"qp": 32})
    synthetic.write(tmp_path / "1", point={"qp": 40}, bpp=0.2)
    assert main(["report", str(tmp_path)]) == 0
    assert len(rows(tmp_path / "table.csv")) == 2
    assert str(tmp_path / "report.html") in capsys.readouterr().out


def test_merges_folders_and_counts_a_cell_once(synthetic, sweep_directory, tmp_path):
    extra = synthetic.write(tmp_path / "extra", "jpeg", {"quality": 10}, 0.4)
    output = tmp_path / "merged"
    assert main(["report", str(sweep_directory), str(extra), str(sweep_directory / "0"), "--output", str(output)]) == 0
    assert len(rows(output / "table.csv")) == 15
    assert not (sweep_directory / "table.csv").exists()


def test_writes_every_figure(synthetic, tmp_path):
    synthetic.write(tmp_path / "run")
    assert main(["report", str(tmp_path / "run"), "--figures", str(tmp_path / "figures")]) == 0
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    stems = ("psnr", "cosine_similarity_dlib", "calibrated_similarity_dlib")
    assert names == {"faces.jpg", *(f"{stem}.{suffix}" for stem in stems for suffix in ("svg", "png"))}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["missing"], "no such folder"), (["."], "no finished run"), ([".", "."], "--output: 2 folders to merge")],
)
def test_mistakes_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
