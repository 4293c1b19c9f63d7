import csv
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from icm.__main__ import main
from icm.evaluation.results import load_run, load_runs
from icm.jobs import SLURM, Started, write_jobs
from icm.report.paper import write_figures, write_latex

LATEX = next(filter(None, map(shutil.which, ("pdflatex", "tectonic"))), None)
MEASURES = ("cosine_similarity", "calibrated_similarity")


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rebuilds_a_sweep_in_place(synthetic, tmp_path, capsys):
    synthetic.write(tmp_path / "0", point={"qp": 32})
    synthetic.write(tmp_path / "1", point={"qp": 40}, bpp=0.2)
    assert main(["report", str(tmp_path)]) == 0
    assert len(rows(tmp_path / "table.csv")) == 2
    assert str(tmp_path / "report.html") in capsys.readouterr().out


def test_jobs_without_a_result_are_listed_on_the_page_and_the_screen(synthetic, tmp_path, capsys, monkeypatch):
    synthetic.write(tmp_path / "0", point={"qp": 32})
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "error.txt").write_text("lost: SLURM job 5_1 ended without a result (CANCELLED)\n")
    monkeypatch.setattr("icm.jobs._queue", lambda: {"5_2": "PENDING", "5_3": "RUNNING"})
    started = [Started(str(number), (f"qp={number}",), SLURM, f"5_{number}", "node") for number in range(4)]
    write_jobs(tmp_path, started)
    assert main(["report", str(tmp_path)]) == 0
    printed = capsys.readouterr().err
    page = (tmp_path / "report.html").read_text()
    for job, words in ((1, "lost: SLURM job 5_1 ended"), (2, "queued: SLURM job 5_2"), (3, "running: SLURM job 5_3")):
        assert f"job {job} (qp={job}) is {words}" in printed
        assert f"Job {job} (qp={job}): {words}" in page
    assert "1 job(s) of" in printed
    assert "2 job(s) are not over" in printed


def test_merges_folders_and_counts_a_cell_once(synthetic, sweep_directory, tmp_path):
    extra = synthetic.write(tmp_path / "extra", "jpeg", {"quality": 10}, 0.4)
    output = tmp_path / "merged"
    assert main(["report", str(sweep_directory), str(extra), str(sweep_directory / "0"), "--output", str(output)]) == 0
    assert len(rows(output / "table.csv")) == 15
    assert not (sweep_directory / "table.csv").exists()


@pytest.fixture
def three(synthetic, tmp_path):
    for job, (codec, point, bpp) in enumerate((("vvc", {"qp": 37}, 0.3), ("vvc", {"qp": 40}, 0.2), ("jpeg", {}, 0.25))):
        scores = {embedder: [0.9 - job / 10] * 4 for embedder in ("dlib", "arcface")}
        synthetic.write(tmp_path / str(job), codec, point, bpp, scores=scores)
    return tmp_path


def test_writes_figures_and_latex_tables(synthetic, tmp_path):
    synthetic.write(tmp_path / "run")
    figures = tmp_path / "figures"
    assert main(["report", str(tmp_path / "run"), "--figures", str(figures)]) == 0
    stems = ("psnr", "cosine_similarity_dlib", "calibrated_similarity_dlib", "calibrated_similarity_dlib_psnr")
    assert {path.name for path in figures.iterdir()} == {
        "faces.jpg", "table_cosine_similarity.tex", "table_calibrated_similarity.tex",
        *(f"{stem}.{suffix}" for stem in stems for suffix in ("pdf", "svg", "png")),
    }  # fmt: skip


def test_a_column_has_a_figure_a_recogniser_and_a_page_one_a_measure(three, monkeypatch):
    monkeypatch.setattr("icm.report.figures.save", lambda figure, path: path)
    both = ["psnr", "calibrated_similarity_dlib_psnr", "calibrated_similarity_arcface_psnr"]
    single = [f"{measure}_{who}" for measure in MEASURES for who in ("dlib", "arcface")]
    for width, stems in (("column", single), ("page", MEASURES)):
        names = [path.name for path in write_figures(load_runs(three), Path(), width)]
        assert len(names) == len(set(names))
        assert set(names) == {
            "faces.jpg",
            *(f"{s}.{suffix}" for s in (*both, *stems) for suffix in ("pdf", "svg", "png")),
        }


def test_latex_has_the_differences_at_equal_rate(three):
    names = [path.name for path in write_latex(load_runs(three), three)]
    assert names == [*(f"{kind}_{measure}.tex" for measure in MEASURES for kind in ("table", "differences"))]
    assert "JPEG & VVC & 0.250 & $-$0.1" in (three / names[1]).read_text(encoding="utf-8")


def test_latex_tables_have_intervals_and_escape_names(synthetic, tmp_path):
    synthetic.write(tmp_path, source="a_b & 50% {x}\\", scores={"dlib": [0.5, 0.6, 0.7, 0.9]})
    synthetic.write(tmp_path / "other", source="c", scores={"dlib": [0.5, 0.6, 0.7, 0.9]})
    write_latex([load_run(tmp_path), load_run(tmp_path / "other")], tmp_path)
    text = (tmp_path / "table_cosine_similarity.tex").read_text(encoding="utf-8")
    assert r"{}VVC QP 37 (a\_b \& 50\% \{x\}\textbackslash{}) & 0.300 & 30.00 & 0.675 [0.550, 0.900] \\" in text
    assert text.count("rule") == 3
    assert text.count("{") == text.count("}")


HOSTILE = [
    "a_b & 50% {x}\\",
    "[1] $5 #2 ^~<|>",
    'caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{HIRAGANA LETTER A} "q" \u2212 \u2013',
]


@pytest.fixture(scope="module")
def tables(synthetic, tmp_path_factory):
    """LaTeX tables of few and of many columns, with every character that LaTeX has a use for in their names."""
    folder = tmp_path_factory.mktemp("latex")
    names = [f"network_{n} & co" for n in range(9)]
    for job, series in enumerate(HOSTILE):
        for step in range(2):
            values = [0.9 - job / 10 - step / 5 + n / 100 for n in range(4)]
            scores = {"few": {"dlib": values}, "many": dict.fromkeys(names, values)}
            for width, own in scores.items():
                titles = {name: f"{name}, on coded faces" for name in own}
                synthetic.write(folder / width / str(2 * job + step), f"codec{job}", {"qp": step}, 0.3 - step / 10,
                                scores=own, series=series, titles=titles, crops=False)  # fmt: skip
    return [path for width in ("few", "many") for path in write_latex(load_runs(folder / width), folder / width)]


def test_every_row_of_a_latex_table_has_its_columns_and_every_group_its_end(tables):
    assert len(tables) == 10
    for path in tables:
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"\\(begin|end)\{(\w+)\*?\}", text) == [
            ("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table"),
        ]  # fmt: skip
        bare = re.sub(r"\\\\|\\[{}]", "", text)
        assert bare.count("{") == bare.count("}")
        (columns,) = re.findall(r"tabular\}\{(l r*|lr*)\}", text)
        rows = [line for line in text.splitlines() if line.endswith(r" \\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
        assert not re.search(r"(?<!\\)[%#_]", text.partition("\n")[2].replace("{!}{%", ""))
        assert text.isascii() or set(re.findall(r"[^\x00-\x7f]", text)) == {"\N{LATIN SMALL LETTER E WITH ACUTE}"}


@pytest.mark.skipif(LATEX is None, reason="no LaTeX here: apt-get install texlive-latex-recommended to set the tables")
def test_latex_sets_the_tables_within_the_width_of_the_text(tables, tmp_path):
    inputs = "".join(rf"\input{{{path}}}" for path in tables)
    (tmp_path / "paper.tex").write_text(
        rf"\documentclass[twocolumn]{{article}}\usepackage{{booktabs,graphicx}}\begin{{document}}{inputs}\end{{document}}",
        encoding="utf-8",
    )
    command = [LATEX, "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=100)
    log = (tmp_path / "paper.log").read_text(encoding="latin-1")
    assert done.returncode == 0, log[-1500:]
    assert "Overfull" not in log
    assert "Missing character" not in log


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


def test_a_sweep_without_a_finished_job_says_what_became_of_each(tmp_path, capsys):
    write_jobs(tmp_path, [Started("0", ("qp=32",), SLURM, None)])
    assert main(["report", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "job 0 (qp=32) is lost: it was not started yet" in error
    assert "no finished run" in error
