"""torchvision's detectors, with random weights in the published format."""

import hashlib
import json

import numpy as np
import pytest

from icm.detectors.base import COCO_CATEGORIES, DetectorError
from icm.detectors.torchvision_detector import MODELS, TorchvisionDetector
from icm.metrics.detection import CocoTruth, average_precision, evaluate
from icm.parts import Part, identity

SMALL = {"min_size": 32}
FAST = ["maskrcnn_resnet50_fpn"]


def test_classes_are_those_of_torchvision_and_of_the_annotations(shared_data):
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights, KeypointRCNN_ResNet50_FPN_Weights

    names = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    assert {n: name for n, name in enumerate(names) if name not in ("N/A", "__background__")} == COCO_CATEGORIES
    assert KeypointRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"][1] == "person"
    assert CocoTruth.load(shared_data / "coco_scenes" / "instances.json").categories == COCO_CATEGORIES


def official(model: str, image: np.ndarray) -> dict:
    """What torchvision's own constructor and loader make of the weight file in the torch home."""
    import torch
    from torchvision.models import detection, get_model_weights

    network = getattr(detection, model)(weights=get_model_weights(model).COCO_V1, **SMALL).eval()
    with torch.inference_mode():
        return network([torch.from_numpy(image).permute(2, 0, 1) / 255])[0]


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in MODELS]
)
def test_detections_are_those_of_torchvision(model, random_weights, make_picture):
    from pycocotools import mask

    path, image = random_weights(model), make_picture(32, 40)
    detector = TorchvisionDetector(model, weights=path, **SMALL)
    found = detector.predict(image)
    expected = official(model, image)
    assert len(found) == len(expected["scores"]) > 2
    boxes = expected["boxes"].numpy()
    np.testing.assert_allclose([one["bbox"][:2] for one in found], boxes[:, :2], atol=1e-3)
    np.testing.assert_allclose([one["bbox"][2:] for one in found], boxes[:, 2:] - boxes[:, :2], atol=1e-3)
    np.testing.assert_allclose([one["score"] for one in found], expected["scores"], atol=1e-5)
    assert [one["category_id"] for one in found] == expected["labels"].tolist()
    assert found == sorted(found, key=lambda one: -one["score"])
    if "segm" in detector.kinds:
        masks = [mask.decode(one["segmentation"]) for one in found]
        agreement = np.mean(np.array(masks) == (expected["masks"][:, 0] > 0.5).numpy())
        assert agreement > 0.999
    if "keypoints" in detector.kinds:
        np.testing.assert_allclose([one["keypoints"] for one in found], expected["keypoints"].flatten(1), atol=1e-2)
    # JSON and back, and evaluated: what is found is a truth of its own.
    assert json.loads(json.dumps(found)) == found
    check_as_truth(detector, found, image)
    assert detector.predict(image) == found


def check_as_truth(detector: TorchvisionDetector, found: list[dict], image: np.ndarray) -> None:
    from pycocotools import mask

    height, width = image.shape[:2]
    best = [one for one in found if min(one["bbox"][2:]) > 4][:3]
    annotations = [
        {
            **one,
            "id": n,
            "image_id": 5,
            "num_keypoints": 17,
            "area": float(mask.area(one["segmentation"])) if "segmentation" in one else one["bbox"][2] * one["bbox"][3],
        }
        for n, one in enumerate(best)
    ]
    truth = CocoTruth.parse(
        {
            "images": [{"id": 5, "file_name": "a.png", "width": width, "height": height}],
            "categories": [{"id": number, "name": name} for number, name in detector.categories.items()],
            "annotations": annotations,
        }
    )
    for kind in detector.kinds:
        matches = evaluate(truth, {5: best}, kind, names=detector.categories)
        assert average_precision(matches)["ap"] == pytest.approx(1), kind


def test_a_part_says_what_it_is_and_what_it_lacks(torch_home, tmp_path):
    detector = TorchvisionDetector("fasterrcnn_resnet50_fpn")
    assert detector.title == "Faster R-CNN"
    (problem,) = detector.preflight()
    assert str(torch_home / "hub" / "checkpoints" / "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth") in problem.what
    assert problem.remedy.endswith("python -m icm download utility fasterrcnn_resnet50_fpn")
    with pytest.raises(DetectorError, match="is missing"):
        detector.predict(np.zeros((64, 64, 3), np.uint8))
    own = tmp_path / "mine.pth"
    assert str(own) in TorchvisionDetector("fcos_resnet50_fpn", weights=own).preflight()[0].what
    own.write_bytes(b"weights")
    mine = TorchvisionDetector("fcos_resnet50_fpn", weights=own, min_size=320)
    assert isinstance(mine, Part)
    named = identity(mine)
    assert named["name"] == "fcos_resnet50_fpn"
    assert named["parameters"] == {"min_size": 320, "device": "cpu"}
    assert f"mine.pth {hashlib.sha256(b'weights').hexdigest()[:12]}" in named["version"]


def test_other_weights_and_options_are_refused(random_weights, tmp_path):
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"no weights")
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(DetectorError, match=r"damaged\.pth: cannot be loaded as fcos_resnet50_fpn"):
        TorchvisionDetector("fcos_resnet50_fpn", weights=damaged).predict(image)
    other = random_weights("fcos_resnet50_fpn")
    with pytest.raises(DetectorError, match="cannot be loaded as retinanet_resnet50_fpn"):
        TorchvisionDetector("retinanet_resnet50_fpn", weights=other).predict(image)
    with pytest.raises(DetectorError, match=r"utility\.model=yolo: no such detector"):
        TorchvisionDetector("yolo")
    with pytest.raises(DetectorError, match=r"utility\.min_size=8"):
        TorchvisionDetector("fcos_resnet50_fpn", min_size=8)


def test_two_tasks_of_a_whole_job_share_its_coded_pictures(random_weights, make_picture, tmp_path):
    """Random weights find nonsense, and the same nonsense in the same picture: so what they find there is the truth."""
    from icm.codecs import create
    from icm.evaluation.cache import Cache
    from icm.evaluation.detection import DetectionTask
    from icm.evaluation.job import Job
    from icm.evaluation.measures import Subject
    from icm.faces.sources import FolderFaces
    from icm.images import write_png

    detector = TorchvisionDetector(FAST[0], weights=random_weights(FAST[0]), **SMALL)
    (tmp_path / "pictures").mkdir()
    write_png(tmp_path / "pictures" / "a.png", make_picture(32, 40))
    annotations = [
        {**one, "id": number, "image_id": 7, "iscrowd": 0, "area": one["bbox"][2] * one["bbox"][3]}
        for number, one in enumerate(detector.predict(make_picture(32, 40)), start=1)
    ]
    categories = [{"id": number, "name": name} for number, name in COCO_CATEGORIES.items()]
    images = [{"id": 7, "file_name": "a.png", "width": 40, "height": 32}]
    truth = tmp_path / "instances.json"
    truth.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    found = []
    for codec in (create("none"), create("jpeg", quality=1)):
        tasks = [DetectionTask(name, str(truth), detector) for name in ("detection", "segmentation")]
        source = FolderFaces(tmp_path / "pictures")
        run = Job(codec, source, tasks).run(Cache(tmp_path / "cache"), tmp_path / codec.name)
        found.append([run.estimates[key, Subject(model=FAST[0])].value for key in ("ap50", "mask_ap50")])
    assert found[0][0] == pytest.approx(1)
    assert all(0 <= value <= 1 for value in (*found[0], *found[1]))
    assert found[1][0] < 1
    assert len([path for path in (tmp_path / "cache/bitstream").rglob("*") if path.is_file()]) == 2
