"""What is known of a sweep before its first job."""

import json
import time

import pytest
from hydra import compose, initialize_config_dir

from icm.config import CONF, sweep_jobs
from icm.evaluation.configured import configured_job
from icm.evaluation.forecast import Cost, cost, cost_table, duration, missing
from icm.evaluation.pictures import PictureTask
from icm.faces.embedding import DeepFaceEmbedder
from icm.report.before_sweep import foresee


@pytest.fixture
def jobs_of(tmp_path, monkeypatch):
    """The jobs of a sweep by what is typed, on a machine without weights and data."""
    for name in ("TORCH_HOME", "DEEPFACE_HOME", "ICM_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("COCO", raising=False)

    def jobs(*overrides):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            experiment = [each for each in overrides if each.startswith("experiment=")]
            params = compose("evaluate", experiment, return_hydra_config=True).hydra.sweeper.params or {}
            return sweep_jobs("evaluate", params, overrides)

    return jobs


@pytest.fixture
def coco(tmp_path, picture):
    """A COCO folder with one picture."""
    from icm.images import write_png

    (tmp_path / "coco/val2017").mkdir(parents=True)
    (tmp_path / "coco/annotations").mkdir()
    write_png(tmp_path / "coco/val2017/1.jpg", picture)
    content = {"images": [{"id": 1, "file_name": "1.jpg", "height": 96, "width": 128}], "annotations": [],
               "categories": []}  # fmt: skip
    (tmp_path / "coco/annotations/instances_val2017.json").write_text(json.dumps(content))
    return tmp_path / "coco"


TABLE1 = ("experiment=table1", "faces=demo", "embedder=dlib", "codec.at=none,jpeg:10")


def test_the_papers_table_says_once_which_part_lacks_what(jobs_of, coco, capsys):
    jobs = jobs_of(*TABLE1)
    assert [list(cfg.task) for cfg in jobs] == [["faces"]] * 2 + [["detection"]] * 2
    (found,) = missing(jobs).items()
    assert found == ("faces=coco needs faces.path=DIR (data.path=DIR under an experiment that has it), the folder of "
                     "images", [2, 3])  # fmt: skip
    lacking = missing(jobs_of(*TABLE1, f"data.path={coco}"))
    assert [("maskrcnn" in text and "python -m icm download utility" in text, numbers)
            for text, numbers in lacking.items()] == [(True, [2, 3])]  # fmt: skip
    foresee(jobs_of(*TABLE1, "cost=false"))
    said = capsys.readouterr().err
    assert said.startswith("1 thing(s) missing for 2 of 4 jobs; the others run:")
    assert said.count("faces=coco needs") == 1
    assert "(jobs 2, 3)" in said


def test_a_part_of_the_papers_table_runs_alone(jobs_of):
    jobs = jobs_of(*TABLE1, "task=faces")
    assert [list(cfg.task) for cfg in jobs] == [["faces"]] * 2
    assert missing(jobs) == {}


def test_what_every_job_lacks_is_left_to_the_first(jobs_of, capsys):
    foresee(jobs_of(*TABLE1, "task=detection"))
    assert capsys.readouterr() == ("", "")


def test_the_usual_table_has_six_rates_of_every_codec_and_asks_for_coco(jobs_of, coco):
    jobs = jobs_of("experiment=coco_val", f"data.path={coco}", "data.limit=1")
    points = [cfg.codec["at"].split(":") for cfg in jobs]
    for codec in ("vvc", "hevc", "av1", "jpeg", "sa_icm"):
        assert sum(point[0] == codec for point in points) >= 6
    assert ["none"] in points
    job = configured_job(jobs[0])
    assert [image.name for image in job.source.images()] == ["1.jpg"]
    assert job.tasks[0].annotations.is_file()


def test_costs_are_measured_on_a_few_pictures_and_leave_nothing_behind(jobs_of, tmp_path):
    (cfg,) = jobs_of("codec=jpeg", "task=[edges,quality]")
    found = cost(configured_job(cfg))
    assert found.images == 16
    assert len(set(found.timed)) == 3
    assert found.coding > 0
    assert found.tasks > 0
    assert found.recognisers == 0
    assert not (tmp_path / "ICM_CACHE/bitstream").exists()
    assert "JPEG quality 50" in cost_table([found])
    assert ", ".join(found.timed) in cost_table([found])


def test_recognisers_count_once_for_each_attack(jobs_of, monkeypatch):
    seen = []

    def embed(self, crops):
        seen.append(len(crops))
        time.sleep(0.05)

    monkeypatch.setattr(DeepFaceEmbedder, "embed", embed)
    (cfg,) = jobs_of("codec=jpeg", "detector=labels", "attack=[none,wiener]")
    found = cost(configured_job(cfg))
    assert seen[0] == 1
    assert seen[1] >= 3
    assert found.recognisers >= 0.05 * 2 / 3


def test_where_the_ends_of_a_source_concern_nobody_another_picture_is_timed(jobs_of, monkeypatch):
    (cfg,) = jobs_of("codec=jpeg", "task=quality")
    job = configured_job(cfg)
    names = [image.name for image in job.source.images()]
    monkeypatch.setattr(
        PictureTask, "concerns", lambda self, source, image, digest: "" if source.name == names[4] else "x"
    )
    assert cost(job).timed == (names[4],)


def test_costs_add_up():
    one = Cost("VVC QP 37", ("a.png",), 5000, coding=4.0, tasks=0.75, recognisers=0.25, workers=2)
    assert one.images_per_second == pytest.approx(1 / 3)
    text = cost_table([one, one])
    assert "0.33 images/s" in text
    assert "in all about 8.3 h" in text
    assert (duration(40), duration(600)) == ("40 s", "10 min")
