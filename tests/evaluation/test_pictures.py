"""``task=edges`` and ``task=quality`` beside each other, on pictures with annotations made here."""

import json

import pytest

from icm.codecs import create
from icm.errors import UserError
from icm.evaluation.cache import Cache
from icm.evaluation.job import Job
from icm.evaluation.measures import Subject
from icm.evaluation.pictures import PictureTask
from icm.faces.sources import SourceImage
from icm.parts import identity, preflight


class Pictures:
    """Three pictures, of which the annotations list two."""

    name, version, labelled, pairs, parameters = "made", "1", False, (), property(lambda self: {})

    def __init__(self, make_picture):
        self.make = make_picture

    def preflight(self):
        return []

    def ignored(self):
        return []

    def images(self):
        return [SourceImage(f"{n}.png", lambda n=n: self.make(176, 192, seed=n)) for n in range(3)]


@pytest.fixture
def annotations(tmp_path):
    square = [[40, 40, 120, 40, 120, 120, 40, 120]]
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 176, "width": 192} for n in range(2)],
        "annotations": [{"id": n, "image_id": n, "segmentation": square, "iscrowd": 0} for n in range(2)],
        "categories": [],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return path


def measured(codec, tasks, make_picture, tmp_path):
    return Job(codec, Pictures(make_picture), tasks).run(Cache(tmp_path / "cache"), tmp_path / "run")


def test_tasks_share_every_picture_and_each_takes_those_that_concern_it(annotations, make_picture, tmp_path):
    tasks = [PictureTask("edges", str(annotations)), PictureTask("quality")]
    run = measured(create("jpeg", quality=15), tasks, make_picture, tmp_path)
    assert len(list((tmp_path / "cache/bitstream").rglob("*"))) == 2 * 3
    assert [row["image"] for row in run.images] == ["0.png", "1.png", "2.png"]
    assert [row.get("boundary_f_inside") is not None for row in run.images] == [True, True, False]
    assert all(0.5 < row["ms_ssim"] < 1 for row in run.images)
    inside = run.estimates["boundary_f_inside", Subject()]
    assert inside.n == 2
    assert inside.low <= inside.value <= inside.high
    assert run.estimates["psnr_inside", Subject()].value is None


def test_what_is_coded_without_loss_keeps_every_edge(annotations, make_picture, tmp_path):
    tasks = [PictureTask("edges", str(annotations)), PictureTask("quality", str(annotations))]
    run = measured(create("none"), tasks, make_picture, tmp_path)
    assert [row["image"] for row in run.images] == ["0.png", "1.png"]
    assert run.summary["skipped"][0]["image"] == "2.png"
    for key in ("boundary_f", "boundary_f_inside", "boundary_f_outside", "ms_ssim"):
        assert run.estimates[key, Subject()].value == pytest.approx(1.0)


def test_worse_quality_keeps_fewer_edges(make_picture, tmp_path):
    found = []
    for quality in (60, 3):
        run = measured(create("jpeg", quality=quality), [PictureTask("edges")], make_picture, tmp_path / str(quality))
        found.append(run.estimates["boundary_f", Subject()].value)
    assert found[0] > found[1]


def test_missing_annotations_are_said_before_the_start_and_wrong_ones_in_one_line(tmp_path, make_picture):
    task = PictureTask("edges", str(tmp_path / "absent.json"))
    with pytest.raises(UserError, match=r"absent\.json: no such file"):
        preflight([task])
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UserError, match=r"broken\.json"):
        measured(create("none"), [PictureTask("edges", str(tmp_path / "broken.json"))], make_picture, tmp_path)
    with pytest.raises(UserError, match="no measure is of this task"):
        PictureTask("taste")


def test_another_file_of_annotations_is_another_cell(annotations, make_picture):
    first = Job(create("none"), Pictures(make_picture), [PictureTask("edges", str(annotations))]).cell
    annotations.write_text(annotations.read_text().replace("120, 120", "120, 90"))
    assert first != Job(create("none"), Pictures(make_picture), [PictureTask("edges", str(annotations))]).cell


@pytest.fixture
def alexnet(tmp_path, monkeypatch):
    """The function ``alexnet()``: puts random weights where LPIPS looks for AlexNet's; until then there are none."""
    from icm.detectors import weights

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    published = weights.FILES["alexnet"]
    monkeypatch.setitem(weights.FILES, "alexnet", weights.WeightFile(published.url, ""))

    def write():
        import torch
        from torchvision.models import alexnet

        with torch.device("meta"):
            shapes = alexnet(weights=None).features.state_dict()
        torch.manual_seed(0)
        state = {f"features.{name}": torch.randn(value.shape) * 0.05 for name, value in shapes.items()}
        path = weights.path_of("alexnet")
        path.parent.mkdir(parents=True)
        torch.save(state, path)

    return write


def test_without_its_weights_lpips_alone_is_left_out(annotations, make_picture, tmp_path, alexnet):
    run = measured(create("jpeg"), [PictureTask("quality", str(annotations))], make_picture, tmp_path)
    assert run.estimates["ms_ssim", Subject()].value > 0.5
    assert ("lpips", Subject()) not in run.estimates
    (note,) = run.summary["notes"]
    assert "LPIPS is left out" in note
    with pytest.raises(UserError, match="python -m icm download utility alexnet"):
        preflight([PictureTask("quality", lpips=True)])
    assert PictureTask("quality", lpips=False).notes == []


def test_lpips_is_measured_where_its_weights_are_there(annotations, make_picture, tmp_path, alexnet):
    without = PictureTask("quality", str(annotations))
    alexnet()
    task = PictureTask("quality", str(annotations), lpips=True)
    preflight([task])
    assert identity(task) != identity(without)
    run = measured(create("jpeg", quality=5), [task], make_picture, tmp_path)
    inside, outside, whole = (run.estimates[f"lpips{where}", Subject()].value for where in ("_inside", "_outside", ""))
    assert min(inside, outside) < whole * 1.1
    assert max(inside, outside) > whole * 0.9
    same = PictureTask("quality", str(annotations))
    assert measured(create("none"), [same], make_picture, tmp_path / "none").estimates["lpips", Subject()].value == 0
