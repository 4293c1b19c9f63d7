"""The evaluation end to end, on real codecs, the real detector and a real recogniser."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from icm.images import write_png

ROOT = Path(__file__).resolve().parents[1]
GROUPS = {group: sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))
          for group in ("codec", "task", "faces", "detector", "embedder", "attack", "logger")}  # fmt: skip


def config(*overrides):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("evaluate", list(overrides), return_hydra_config=True)


def run(*arguments, cwd, cache, check=True):
    environment = {**os.environ, "ICM_CACHE": str(cache), "WANDB_MODE": "offline"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "evaluate.py"), *arguments, "logger=csv"],
        cwd=cwd, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def faces_folder(tmp_path_factory):
    """A folder of two demo scenes, a picture without a face and a truncated file."""
    from icm.faces.sources import DemoFaces

    folder = tmp_path_factory.mktemp("faces")
    scenes = DemoFaces().images()
    for number in (0, 1):
        write_png(folder / f"scene{number}.png", scenes[number].load())
    write_png(folder / "blank.png", scenes[0].load() * 0 + 128)
    (folder / "broken.png").write_bytes((folder / "scene0.png").read_bytes()[:2000])
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(("group", "option"), [(g, o) for g, options in GROUPS.items() for o in options])
def test_every_option_composes(group, option):
    cfg = config(f"{group}={option}", *(["faces.path=x"] if option in ("folder", "coco") else []))
    assert OmegaConf.select(cfg, group)
    OmegaConf.to_container(cfg.codec, resolve=True)


@pytest.mark.parametrize("embedder", ["[dlib,arcface]", "paper"])
def test_several_embedders_compose(embedder):
    chosen = [node for node in config(f"embedder={embedder}").embedder.values() if OmegaConf.is_dict(node)]
    assert len(chosen) == {"[dlib,arcface]": 2, "paper": 6}[embedder]


@pytest.mark.parametrize("experiment", sorted(path.stem for path in (ROOT / "conf/experiment").glob("*.yaml")
                                              if "override /faces" in path.read_text()))  # fmt: skip
def test_every_rate_point_of_an_experiment_composes(experiment):
    points = config(f"experiment={experiment}").hydra.sweeper.params["codec.at"].split(",")
    chosen = [config(f"experiment={experiment}", f"codec.at={point.strip()}").codec for point in points]
    labels = {json.dumps(OmegaConf.to_container(codec, resolve=True)) for codec in chosen}
    assert len(labels) == len(points) > 3


def test_help_is_quick_and_lists_groups_and_options(help_of):
    text, modules = help_of("evaluate.py")
    assert not {"torch", "tensorflow", "deepface", "wandb", "numpy", "cv2"} & modules
    for word in ("codec", "vvc", "jpeg", "embedder", "dlib", "detector", "mtcnn", "faces", "qp: 37"):
        assert word in text
    assert "objective" not in text


def test_every_experiment_is_explained_by_the_help_of_its_entry():
    texts = [
        (ROOT / "conf" / name).read_text().partition("== Experiments")[2] for name in ("evaluate.yaml", "train.yaml")
    ]
    for path in (ROOT / "conf/experiment").glob("*.yaml"):
        assert sum(bool(re.search(rf"\b{path.stem}[:,]", text)) for text in texts) == 1, path.stem


def test_a_grid_from_another_folder_then_again_from_the_cache(faces_folder, cache, tmp_path):
    arguments = ["-m", "codec=vvc,jpeg,none", "qp=32,40", "faces=folder", f"faces.path={faces_folder}"]
    arguments += ["workers=2"]
    done = run(*arguments, "hydra.sweep.dir=first", cwd=tmp_path, cache=cache)
    first = tmp_path / "first"
    table = list(csv.DictReader((first / "table.csv").open()))
    # Six cells, but JPEG and the identity have no QP: four distinct ones.
    assert [row["label"] for row in table] == ["vvc qp 32", "vvc qp 40", "jpeg quality 50", "none"]
    fine, coarse, _, identity = table
    assert float(fine["bpp"]) > float(coarse["bpp"])
    assert float(fine["cosine_similarity"]) > float(coarse["cosine_similarity"])
    assert float(identity["cosine_similarity"]) == pytest.approx(1.0)
    assert float(identity["bpp"]) == 24
    assert (first / "report.html").stat().st_size > 1000
    assert str(first / "report.html") in done.stdout.replace("\n", "")
    summary = json.loads((first / "0" / "summary.json").read_text())
    assert summary["codec"] == "vvc"
    assert summary["qp"] == 32
    assert summary["images"] == 2
    low, high = summary["similarity"]["dlib"]["ci95"]
    assert low <= summary["similarity"]["dlib"]["mean"] <= high
    reasons = {entry["image"]: entry["reason"] for entry in summary["skipped"]}
    assert set(reasons) == {"blank.png", "broken.png"}
    assert "no face" in reasons["blank.png"]
    for word in ("versions", "git_commit", "parameters", "cell"):
        assert word in summary
    assert (first / "0" / "config.yaml").is_file()
    timings = json.loads((first / "0" / "timings.json").read_text())
    assert list(timings) == ["choosing", "coding", "measuring"]
    assert timings["coding"] > 0

    # The same again takes up all of it, W&B's pictures too: nothing heavy can be imported in this run.
    trap = tmp_path / "trap"
    trap.mkdir()
    for package in ("tensorflow", "torch", "pandas", "matplotlib"):
        (trap / f"{package}.py").write_text(f"raise RuntimeError('{package} was imported')\n")
    os.environ["PYTHONPATH"] = str(trap)
    try:
        again = run(*arguments, "hydra.sweep.dir=second", cwd=tmp_path, cache=cache)
    finally:
        del os.environ["PYTHONPATH"]
    assert again.stdout.count("copied") == 4
    assert (tmp_path / "second/report.html").read_text().count("<svg") == (first / "report.html").read_text().count(
        "<svg"
    )
    for path in first.glob("*/*.csv"):
        assert path.read_bytes() == (tmp_path / "second" / path.parent.name / path.name).read_bytes()
    assert (first / "table.csv").read_bytes() == (tmp_path / "second" / "table.csv").read_bytes()


def test_a_single_run_prints_its_table_and_names_the_skipped(faces_folder, cache, tmp_path):
    done = run("codec=jpeg", "codec.quality=10", "faces=folder", f"faces.path={faces_folder}",
               "hydra.run.dir=here", cwd=tmp_path, cache=cache)  # fmt: skip
    for name in ("images.csv", "faces.csv", "summary.json", "table.csv", "table.md", "report.html", "config.yaml"):
        assert (tmp_path / "here" / name).is_file()
    assert "skipped broken.png" in done.stdout
    assert "report.html" in done.stdout


def test_a_failing_job_keeps_the_others_and_fails_the_command(faces_folder, cache, tmp_path):
    done = run("-m", "codec=jpeg", "faces=folder", f"faces.path={faces_folder},{tmp_path}/absent",
               "hydra.sweep.dir=sweep", cwd=tmp_path, cache=cache, check=False)  # fmt: skip
    assert done.returncode == 1
    assert "absent" in done.stdout + done.stderr
    assert len((tmp_path / "sweep" / "table.csv").read_text().splitlines()) == 2
    assert "absent" in (tmp_path / "sweep" / "1" / "error.txt").read_text()


def labels(sweep):
    return [row["label"] for row in csv.DictReader((sweep / "table.csv").open())]


def test_a_sweep_folder_that_is_used_again_shows_what_is_asked_for_now(faces_folder, cache, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes((faces_folder / "scene0.png").read_bytes())

    def sweep(qualities, code):
        done = run("-m", "codec=jpeg", f"codec.quality={qualities}", "faces=folder", f"faces.path={folder}",
                   "hydra.sweep.dir=sweep", cwd=tmp_path, cache=cache, check=False)  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return labels(tmp_path / "sweep")

    assert sweep("20,50,500", 1) == ["jpeg quality 50", "jpeg quality 20"]
    # Another order: what folder 0 held before must not stand in for the job that fails there now.
    assert sweep("500,20", 1) == ["jpeg quality 20"]
    (tmp_path / "sweep" / "0" / "faces.csv").unlink()
    (folder / "b.png").write_bytes((faces_folder / "scene1.png").read_bytes())
    assert sweep("20,50", 0) == ["jpeg quality 50", "jpeg quality 20"]
    assert json.loads((tmp_path / "sweep" / "0" / "summary.json").read_text())["images"] == 2


def test_images_split_over_jobs_give_what_one_job_gives(faces_folder, tmp_path):
    """Each of two parts, in processes of their own; then the same command; then one job with a cache of its own."""
    what = ["codec=jpeg", "detector=opencv", "faces=folder", f"faces.path={faces_folder}"]
    parts = ["-m", *what, "shard=0/2,1/2", "hydra.sweep.dir=parts"]
    run(*parts, cwd=tmp_path, cache=tmp_path / "shared")
    run("-m", *what, "hydra.sweep.dir=whole", cwd=tmp_path, cache=tmp_path / "own")
    assert [path.parent.name for path in (tmp_path / "parts").glob("*/summary.json")] == ["1"]
    for path in [*(tmp_path / "whole").glob("table.*"), *(tmp_path / "whole/0").glob("*.*")]:
        if path.name not in ("config.yaml", "finished.json", "timings.json"):
            made = tmp_path / "parts" / path.relative_to(tmp_path / "whole").as_posix().replace("0/", "1/")
            assert made.read_bytes() == path.read_bytes(), path
    before = (tmp_path / "parts/1/summary.json").stat().st_mtime_ns
    again = run(*parts, cwd=tmp_path, cache=tmp_path / "shared")
    assert again.stdout.count("is measured already") == 2
    assert (tmp_path / "parts/1/summary.json").stat().st_mtime_ns == before


def test_images_may_have_any_name(faces_folder, cache, tmp_path):
    picture = (faces_folder / "scene0.png").read_bytes()
    deep = tmp_path / "photos" / "深い" / "フォルダー"
    deep.mkdir(parents=True)
    (deep / "二〇二四年の夏休みに家族と一緒に撮影した写真.png").write_bytes(picture)
    Path(os.fsdecode(os.fsencode(tmp_path / "photos") + b"/caf\xe9.png")).write_bytes(picture)
    Path(os.fsdecode(os.fsencode(tmp_path / "photos") + b"/torn\xe9.png")).write_bytes(picture[:99])
    done = run("codec=jpeg", "faces=folder", "faces.path=photos", "hydra.run.dir=here", cwd=tmp_path, cache=cache)
    images = [row["image"] for row in csv.DictReader((tmp_path / "here" / "images.csv").open())]
    assert images == ["caf\\xe9.png", "深い/フォルダー/二〇二四年の夏休みに家族と一緒に撮影した写真.png"]
    assert "skipped torn\\xe9.png" in done.stdout
    assert len(list((tmp_path / "here" / "crops" / "coded").iterdir())) == 2


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_reports_the_jobs_that_finished(faces_folder, cache, tmp_path, number, status):
    qps = ",".join(str(qp - 8 * (number == signal.SIGTERM)) for qp in range(30, 24, -1))
    arguments = ["-m", "codec=vvc", f"qp={qps}", "faces=folder", f"faces.path={faces_folder}", "logger=csv"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "evaluate.py"), *arguments, "workers=1", "hydra.sweep.dir=sweep"],
        cwd=tmp_path, env={**os.environ, "ICM_CACHE": str(cache)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # A shell starts background jobs with the signal ignored, and the tests may be one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    first = tmp_path / "sweep" / "0" / "summary.json"
    deadline = time.monotonic() + 200
    while not first.is_file() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    output, errors = process.communicate(timeout=100)
    assert process.returncode == status, output[-2000:] + errors[-2000:]
    assert "Traceback" not in output + errors
    assert "interrupted; what was finished is cached" in output
    assert 1 <= len(labels(tmp_path / "sweep")) < 6


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("qp=99", ["qp", "99", "63"]),
        ("faces=folder", ["faces.path"]),
        ("codec.preset=warp", ["preset", "warp"]),
        ("+codec.speed=9", ["codec", "speed"]),
        ("seed=-1", ["seed=-1"]),
        ("workers=0", ["workers=0"]),
        ("hydra.run.dir=/dev/null/run", ["/dev/null/run: no results can be written there"]),
        ("quality=10", ["write codec.quality=10"]),
        ("faces.path=photos", ["faces=demo has no path", "folder"]),
        ("task=[]", ["task=[]: choose at least one"]),
        ("cache=null", ["cache=None: name"]),
        ("detector.min_size=big", ["detector.min_size=big"]),
        ("detector.min_confidence=high", ["detector.min_confidence=high"]),
    ],
)
def test_bad_values_are_one_line(override, words, tmp_path):
    done = run(override, cwd=tmp_path, cache=tmp_path, check=False)
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert text.startswith("evaluate.py: ")
    assert len(text.splitlines()) == 1
    for word in words:
        assert word in text


def test_a_missing_recogniser_is_reported_before_anything_is_coded(faces_folder, tmp_path):
    os.environ["DEEPFACE_HOME"] = str(tmp_path / "nothing")
    try:
        done = run("embedder=paper", "faces=folder", f"faces.path={faces_folder}", cwd=tmp_path,
                   cache=tmp_path / "cache", check=False)  # fmt: skip
    finally:
        del os.environ["DEEPFACE_HOME"]
    assert done.returncode == 1
    text = done.stdout + done.stderr
    for word in ("vgg_face", "arcface", "download weights", str(tmp_path / "nothing")):
        assert word in text
    assert not (tmp_path / "cache").exists()


def test_a_killed_job_leaves_no_half_file_and_goes_on(faces_folder, tmp_path):
    cache, arguments = tmp_path / "cache", ["codec=vvc", "faces=folder", f"faces.path={faces_folder}", "logger=csv"]
    environment = {**os.environ, "ICM_CACHE": str(cache)}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "evaluate.py"), *arguments, "workers=1", "hydra.run.dir=run"],
        cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(cache.glob("decoded/*/*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = {path: path.read_bytes() for path in cache.glob("bitstream/*/*")}
    assert len(first) >= 1
    assert not (tmp_path / "run" / "summary.json").exists()
    run(*arguments, "hydra.run.dir=run", cwd=tmp_path, cache=cache)
    for path, content in first.items():
        assert path.read_bytes() == content
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["images"] == 2


def test_a_full_disk_under_the_results_is_one_line_and_no_finished_run(faces_folder, cache, small_disk, tmp_path):
    disk = small_disk(100)
    done = run("codec=jpeg", "faces=folder", f"faces.path={faces_folder}", f"hydra.run.dir={disk}/run",
               cwd=tmp_path, cache=cache, check=False)  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "cannot be written (No space left on device)" in done.stderr.splitlines()[-1]
    assert not (disk / "run/summary.json").exists()
    assert not list(disk.rglob(".*.tmp"))


def test_a_full_disk_under_the_cache_is_a_warning(faces_folder, cache, small_disk, tmp_path):
    disk = small_disk(16)
    done = run("codec=jpeg", "faces=folder", f"faces.path={faces_folder}", "detector=opencv", "hydra.run.dir=run",
               cwd=tmp_path, cache=disk)  # fmt: skip
    assert (done.stdout + done.stderr).count("nothing more is kept for a later run") == 1
    assert (tmp_path / "run/summary.json").is_file()
    assert not list(disk.rglob(".*.tmp"))
