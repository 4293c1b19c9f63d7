import pytest

from icm.__main__ import main
from icm.errors import UserError
from icm.evaluation.results import load_run
from icm.report.query import ask


def test_files_are_views(runs):
    heading, rows = ask(runs, "SELECT label, bpp FROM runs WHERE codec = 'vvc' ORDER BY bpp")
    assert heading == ["label", "bpp"]
    assert rows == [("vvc qp 40", 0.17), ("vvc qp 37", 0.27), ("vvc qp 35", 0.36), ("vvc qp 32", 0.5)]
    assert ask(runs, "SELECT count(*) FROM faces")[1] == [(4 * 2 * 7,)]
    sql = (
        "SELECT value, low FROM estimates WHERE measure = 'cosine_similarity' AND embedder = 'dlib' AND run LIKE '%/0'"
    )
    ((mean, low),) = ask(runs, sql)[1]
    assert mean == pytest.approx(0.92)
    assert low < mean
    joined = "SELECT avg(cosine_similarity) FROM faces JOIN runs USING (run) WHERE qp IS NULL AND embedder = 'dlib'"
    assert ask(runs, joined)[1][0][0] == pytest.approx((0.62 + 0.52 + 1) / 3)


def test_numbers_text_and_gaps_keep_their_kinds(synthetic, tmp_path):
    faces = (("1", 0), ("2", 0))
    run = load_run(synthetic.write(tmp_path, scores={"dlib": [0.5, 0.6]}, faces=faces, psnr=None))
    # A picture may be called 1, and nobody knows who is in it.
    assert ask([run], "SELECT image, face, identity FROM faces ORDER BY image")[1] == [("1", 0, None), ("2", 0, None)]
    assert ask([run], "SELECT psnr, model FROM runs JOIN estimates USING (run) LIMIT 1")[1] == [(None, None)]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT nothing FROM runs", "nothing"),
        ("SELEC 1", "syntax error"),
        ("DROP TABLE runs", "one SELECT"),
        ("SELECT 1; SELECT 2", "one SELECT"),
        ("COPY runs TO 'stolen.csv'", "one SELECT"),
        ("SELECT * FROM read_csv('secret.csv')", "disabled"),
        ("SELECT * FROM 'secret.csv'", "secret.csv"),
        ("SELECT * FROM read_text('secret.csv')", "disabled"),
    ],
)
def test_only_questions_to_the_views(runs, tmp_path, monkeypatch, sql, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.csv").write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        ask(runs, sql)
    assert "\n" not in str(error.value)
    assert "the views are runs, estimates, images, faces" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


def test_the_command_prints_a_table_or_csv(sweep_directory, capsys):
    sql = "SELECT label, psnr, point FROM runs WHERE bpp > 0.4"
    assert main(["query", sql, str(sweep_directory)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        'label      psnr     point', '---------  -------  ----------', 'vvc qp 32  33.6000  {"qp": 32}',
        'none                {}',
    ]  # fmt: skip
    assert main(["query", sql, str(sweep_directory), "--csv"]) == 0
    assert capsys.readouterr().out.splitlines() == ["label,psnr,point", 'vvc qp 32,33.6,"{""qp"": 32}"', "none,,{}"]
    assert main(["query", "SELECT wrong FROM runs", str(sweep_directory)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
