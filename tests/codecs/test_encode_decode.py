"""``python -m icm encode`` and ``decode`` as a user runs them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import icm
from icm import codecs
from icm.__main__ import main
from icm.codecs.base import payload_size, unpack
from icm.images import read_image, write_png

ROOT = Path(icm.__file__).parents[1]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "icm", *map(str, arguments)]


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=cwd, env=environment, check=False)


@pytest.fixture
def folder(tmp_path, make_picture) -> Path:
    for seed, name in enumerate(("a.png", "sub/a.png", "sub/b.png")):
        write_png(tmp_path / "in" / name, make_picture(20, 31, seed))
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_help_is_quick_and_has_examples(help_of):
    for name in ("encode", "decode"):
        text, modules = help_of("-m", "icm", name)
        assert not {"torch", "cv2", "hydra", "tensorflow"} & modules
        assert f"python -m icm {name} " in text.partition("examples:")[2]


def test_a_folder_there_and_back_keeps_its_subfolders(folder, psnr):
    encoded = run("encode", "in", "--codec", "jpeg", "--quality", 80, "-o", "coded", cwd=folder)
    assert encoded.returncode == 0, encoded.stderr
    assert files(folder / "coded") == ["a.icm", "sub/a.icm", "sub/b.icm"]
    assert "JPEG quality 80: 3 image(s), mean " in encoded.stdout
    assert "3/3" in encoded.stderr
    assert "encode jpeg" in encoded.stderr
    decoded = run("decode", "coded", "-o", "back", cwd=folder)
    assert decoded.returncode == 0, decoded.stderr
    assert files(folder / "back") == ["a.png", "sub/a.png", "sub/b.png"]
    for name in files(folder / "back"):
        assert psnr(read_image(folder / "in" / name), read_image(folder / "back" / name)) > 30


def test_the_file_is_what_the_library_makes(folder):
    run("encode", "in/a.png", "--codec", "vvc", "--qp", 30, "--preset", "faster", "-o", "coded", cwd=folder)
    expected = codecs.create("vvc", qp=30, preset="faster").encode(read_image(folder / "in/a.png"))
    assert (folder / "coded/a.icm").read_bytes() == expected


def test_the_mean_rate_counts_the_payload(folder):
    done = run("encode", "in/a.png", "--codec", "none", "-o", "coded", cwd=folder)
    assert "mean 24.0000 bpp (" in done.stdout


def test_the_pooled_rate_weighs_pictures_by_their_pixels(folder):
    """Of very different sizes the two rates differ: of 20 bytes each, a picture of one pixel costs 160 bpp."""
    write_png(folder / "in/one.png", np.zeros((1, 1, 3), np.uint8))
    done = run("encode", "in/a.png", "in/one.png", "--codec", "jpeg", "-o", "coded", cwd=folder)
    sizes = {name: 8 * payload_size((folder / "coded" / f"{name}.icm").read_bytes()) for name in ("a", "one")}
    assert f"mean {(sizes['a'] / 620 + sizes['one']) / 2:.4f} bpp" in done.stdout
    assert f"all bits over all pixels: {(sizes['a'] + sizes['one']) / 621:.4f} bpp" in done.stdout


def test_every_option_of_a_codec_is_a_flag(folder, capsys):
    files = [str(folder / "in/a.png"), "-o", str(folder / "coded")]
    assert main(["encode", *files, "--codec", "sa_icm", "--rate", "low", "--variant", "control"]) == 0
    assert "SA-ICM control low: 1 image(s)" in capsys.readouterr().out
    expected = codecs.create("sa_icm", rate="low", variant="control").encode(read_image(folder / "in/a.png"))
    assert (folder / "coded/a.icm").read_bytes() == expected
    assert main(["encode", *files, "--force", "--codec", "avif", "--subsampling", "4:4:4", "--effort", "1"]) == 0
    parameters = {"quality": 50, "subsampling": "4:4:4", "effort": 1}
    assert unpack((folder / "coded/a.icm").read_bytes()).parameters == parameters


def test_quoted_globs_and_files_named_twice(folder):
    done = run("encode", "in/sub/*.png", "in/sub/a.png", "--codec", "none", "-o", "coded", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert files(folder / "coded") == ["a.icm", "b.icm"]
    assert "no file matches" in run("encode", "in/*.gif", "-o", "coded", cwd=folder).stderr


def test_two_inputs_of_one_name_are_refused_before_anything_is_written(folder):
    done = run("encode", "in/a.png", "in/sub/a.png", "--codec", "none", "-o", "coded", cwd=folder)
    assert done.returncode == 1
    assert "in/a.png and in/sub/a.png both become coded/a.icm" in done.stderr
    assert not (folder / "coded").exists()


def test_nothing_is_overwritten_without_force(folder):
    target = folder / "coded/a.icm"
    target.parent.mkdir()
    target.write_bytes(b"precious")
    refused = run("encode", "in/a.png", "--codec", "none", "-o", "coded", cwd=folder)
    assert refused.returncode == 1
    assert "coded/a.icm exists" in refused.stderr
    assert "--force" in refused.stderr
    assert target.read_bytes() == b"precious"
    assert run("encode", "in/a.png", "--codec", "none", "-o", "coded", "--force", cwd=folder).returncode == 0
    assert target.read_bytes() != b"precious"
    assert run("decode", "coded/a.icm", "-o", "in", cwd=folder).returncode == 1
    assert run("decode", "coded/a.icm", "-o", "in", "--force", cwd=folder).returncode == 0


def test_bad_images_are_named_and_the_others_finish(folder):
    (folder / "in/bad.jpg").write_bytes(b"not an image")
    done = run("encode", "in", "in/missing.png", "--codec", "none", "-o", "coded", cwd=folder)
    assert done.returncode == 1
    assert "in/bad.jpg: cannot be decoded" in done.stderr
    assert "in/missing.png: cannot be read" in done.stderr
    assert "3 coded to coded, 2 skipped" in done.stdout
    assert files(folder / "coded") == ["a.icm", "sub/a.icm", "sub/b.icm"]


def test_bad_bitstreams_are_named_and_the_others_finish(folder):
    run("encode", "in/sub", "--codec", "none", "-o", "coded", cwd=folder)
    damaged = folder / "coded/b.icm"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    done = run("decode", "coded/*.icm", "-o", "back", cwd=folder)
    assert done.returncode == 1
    assert "coded/b.icm: truncated" in done.stderr
    assert files(folder / "back") == ["a.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codec", "vvc", "--qp", "99"], "codec.qp=99: vvc takes a QP from 0 to 63"),
        (["--codec", "jpeg", "--qp", "30"], "jpeg has no such option; it takes quality"),
        (["--codec", "vvc", "--preset", "swift"], "faster, fast, medium"),
        (["--codec", "h264"], "invalid choice: 'h264'"),
        (["--codec", "sa_icm", "--quality", "3"], "sa_icm has no such option; it takes variant, rate, checkpoint"),
        (["--codec", "sa_icm", "--rate", "huge"], "codec.rate=huge: sa_icm takes one of low, mid, high"),
        (["--codec", "jpeg", "--qulaity", "3"], "--quality"),
    ],
)
def test_bad_options_are_one_line_without_a_traceback(folder, options, message):
    done = run("encode", "in", *options, "-o", "coded", cwd=folder)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "coded").exists()


def test_the_kinds_of_file_a_user_has(tmp_path):
    Image.new("CMYK", (9, 7), (0, 80, 90, 10)).save(tmp_path / "cmyk.jpg")
    Image.fromarray(np.full((5, 4), 40000, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (1, 1), (9, 9, 9, 60)).save(tmp_path / "one.png")
    done = run("encode", ".", "--codec", "webp", "-o", "coded", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "coded") == ["cmyk.icm", "deep.icm", "one.icm"]


def test_interrupting_leaves_only_whole_files(folder, make_picture):
    for number in range(12):
        write_png(folder / f"many/{number:02}.png", make_picture(240, 320, number))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command("encode", "many", "--codec", "vvc", "--preset", "medium", "-o", "coded"),
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with the signal ignored, and the tests may be one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not list((folder / "coded").glob("*.icm")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "interrupted; finished files are kept" in errors
    assert "Traceback" not in errors
    made = files(folder / "coded")
    assert 0 < len(made) < 12
    for name in made:
        assert codecs.decode((folder / "coded" / name).read_bytes()).shape == (240, 320, 3)
