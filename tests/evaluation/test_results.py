import pytest

from icm.evaluation.measures import Estimate, Subject
from icm.evaluation.results import (
    ResultsError,
    Run,
    Summary,
    crop_name,
    estimate_entries,
    load_run,
    load_runs,
    rows_to_csv,
    write_run,
)  # fmt: skip


def make_run(directory, cell="a", **summary):
    image = {"image": "1.jpg", "width": 1, "bpp": 0.25, "psnr": float("inf")}
    face = {"image": "1.jpg", "face": 2, "identity": None, "embedder": "dlib", "cosine_similarity": 0.5}
    content = dict.fromkeys(sorted(Summary.__required_keys__), "") | {"cell": cell, "estimates": [], **summary}
    return Run(directory, content, {"images": [image], "faces": [face]})


def test_estimates_read_back_as_they_were_found(tmp_path):
    found = {
        ("cosine_similarity", Subject("dlib", "none")): Estimate(0.5, 0.25, 0.75, 4),
        ("psnr", Subject()): Estimate(30.125, None, None, 1),
        ("rank1", Subject("dlib", "none")): Estimate(None, note="two people at least are needed"),
    }
    write_run(make_run(tmp_path, estimates=estimate_entries(found)))
    assert load_run(tmp_path).estimates == found


def test_crops_have_names_that_every_disk_takes_and_that_tell_images_apart():
    names = ["a/b.png", "a_b.png", "深い/" + 40 * "写真" + ".jpg", "caf\\xe9.jpg", "x" * 250, "." * 3]
    files = [crop_name(name, face) for name in names for face in (0, 12)]
    assert len(set(files)) == len(files)
    assert all(len(name) < 80 and name.isascii() and "/" not in name and name.endswith(".png") for name in files)


def test_a_run_reads_back_as_it_was_written(tmp_path):
    run = make_run(tmp_path, codec="vvc")
    write_run(run)
    assert load_run(tmp_path) == run


def test_csv_cells():
    rows = [{"a": 1 / 3, "b": None, "c": float("nan"), "d": 'x,"y"'}]
    assert rows_to_csv("abcd", rows) == 'a,b,c,d\n0.333333,,,"x,""y"""\n'


def test_an_image_named_like_a_number_stays_text(tmp_path):
    run = make_run(tmp_path)
    run.images[0]["image"] = run.faces[0]["image"] = "000000000036"
    write_run(run)
    assert load_run(tmp_path).faces[0]["image"] == "000000000036"


def test_a_sweep_reads_in_job_order_with_each_cell_once(tmp_path):
    for job, cell in ((10, "c"), (2, "b"), (0, "a"), (3, "a")):
        write_run(make_run(tmp_path / str(job), cell))
    (tmp_path / "1").mkdir()  # a job that did not finish
    assert [run.directory.name for run in load_runs(tmp_path)] == ["0", "2", "10"]


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(ResultsError, match=r"summary\.json: missing"):
        load_run(tmp_path)
    write_run(make_run(tmp_path))
    (tmp_path / "faces.csv").unlink()
    with pytest.raises(ResultsError, match=r"faces\.csv: missing"):
        load_run(tmp_path)
    (tmp_path / "faces.csv").write_text("image,x\n1.jpg,twelve\n")
    with pytest.raises(ResultsError, match=r"faces\.csv: not a result table"):
        load_run(tmp_path)
    (tmp_path / "summary.json").write_text('{"codec": "vvc"}')
    with pytest.raises(ResultsError, match=r"summary\.json: damaged, or not written by this version"):
        load_run(tmp_path)
    (tmp_path / "summary.json").write_text('{"tables": ["../../etc/passwd"]}')
    with pytest.raises(ResultsError, match=r"summary\.json: "):
        load_run(tmp_path)
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(ResultsError, match=r"summary\.json: not JSON"):
        load_run(tmp_path)


def test_crop_names_stay_in_their_folder_and_differ():
    names = [crop_name(name, 0) for name in ("a/b.jpg", "a_b.jpg", "../../etc/x", "a b.jpg", "é<>.jpg")]
    assert len(set(names)) == len(names)
    assert not any("/" in name for name in names)
