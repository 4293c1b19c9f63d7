"""Run directories written by hand, so that every number of a report can be computed on paper."""

from pathlib import Path

import numpy as np
from PIL import Image

from icm.evaluation.measures import Estimate, Subject, mean_estimate
from icm.evaluation.results import Run, crop_name, estimate_entries, write_run

IMAGES = ("a.png", "b.png", "c.png")
FACES = (("a.png", 0), ("a.png", 1), ("b.png", 0), ("c.png", 0))


def picture(seed: int, size: int = 40) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size] / size
    planes = [0.5 + 0.4 * np.sin(6 * (x + seed * y * 0.3) + channel + seed) for channel in range(3)]
    return (np.stack(planes, -1) * 255).astype(np.uint8)


SERIES = {"vvc": "VVC", "jpeg": "JPEG", "sa_icm": "SA-ICM", "none": "No codec", "yuv420": "4:2:0 only"}
SHORT = {"qp": "QP {}", "quality": "quality {}", "rate": "{}"}


def write(
    directory: Path,
    codec: str = "vvc",
    point: dict | None = None,
    bpp: float = 0.3,
    psnr: float | None = 30.0,
    scores: dict[str, list[float]] | None = None,
    faces=FACES,
    crops: bool = True,
    **summary,
) -> Path:
    """Write one finished run; ``scores`` holds a similarity per face and embedder, calibrated with impostors at 0.5."""
    point = {"qp": 37} if point is None else point
    scores = {"dlib": [0.9, 0.8, 0.7, 1.0]} if scores is None else scores
    names = list(dict.fromkeys(image for image, _ in faces))
    clusters = [image for image, _ in faces]
    rows, similarity, estimates = [], {}, {("psnr", Subject()): Estimate(psnr, psnr, psnr, len(names))}
    for embedder, values in scores.items():
        for (image, face), value in zip(faces, values, strict=True):
            rows.append({"image": image, "face": face, "x": 1, "y": 2, "width": 40, "height": 40,
                         "detector_confidence": 0.99, "identity": None, "embedder": embedder, "attack": "none",
                         "cosine_similarity": value, "calibrated_similarity": 2 * value - 1})  # fmt: skip
        raw = mean_estimate(values, clusters, 0)
        calibrated = mean_estimate([2 * value - 1 for value in values], clusters, 0)
        subject = Subject(embedder, "none")
        estimates |= {("cosine_similarity", subject): raw, ("calibrated_similarity", subject): calibrated}
        similarity[embedder] = {
            "mean": raw.value, "ci95": [raw.low, raw.high], "calibrated_mean": calibrated.value,
            "calibrated_ci95": [calibrated.low, calibrated.high], "impostor_mean": 0.5, "faces": len(faces),
        }  # fmt: skip
    images = [{"image": name, "width": 64, "height": 48, "payload_bytes": 100, "bytes": 120, "bpp": bpp,
               "bpp_total": bpp + 0.05, "psnr": psnr, "faces": 1} for name in names]  # fmt: skip
    label = " ".join([codec, *(f"{name} {value}" for name, value in point.items())])
    series = summary.get("series", SERIES[codec])
    short = ", ".join(SHORT[name].format(value) for name, value in point.items())
    document = {
        "codec": codec, "title": f"{series} {short}".strip(), "series": series, "short": short, "variant": None,
        "baseline_of": "*" if codec == "vvc" else "", "ceiling": codec in ("none", "yuv420"),
        "label": label, "point": point, "qp": point.get("qp"), "parameters": {**point, "preset": "medium"},
        "codec_version": "ffmpeg 9", "source": "demo", "detector": "mtcnn", "images": len(names), "faces": len(faces),
        "skipped": [], "bpp": bpp, "bpp_total": bpp + 0.05, "bpp_pooled": bpp, "psnr": psnr, "lossless_images": 0,
        "tasks": ["faces"], "data": "0123", "similarity": similarity, "estimates": estimate_entries(estimates),
        "titles": {"dlib": "Dlib", "arcface": "ArcFace", "none": "no attack"},
        "parts": [{"name": codec, "parameters": {}, "version": "1"}, {"name": "demo", "parameters": {}, "version": ""}],
        "cell": f"{label} {sorted(scores)} {summary}", "versions": {"python": "3.11.7", "icm": "0.1.0"},
        "git_commit": "0123abc", "seed": 0, **summary,
    }  # fmt: skip
    write_run(Run(directory, document, {"images": images, "faces": rows}))
    if crops:
        for kind, offset in (("original", 0), ("coded", 1)):
            (directory / "crops" / kind).mkdir(parents=True, exist_ok=True)
            for index, (image, face) in enumerate(faces):
                name = crop_name(image, face)
                Image.fromarray(picture(index * 2 + offset)).save(directory / "crops" / kind / name)
    (directory / "config.yaml").write_text("codec:\n  name: vvc\n", encoding="utf-8")
    return directory


def write_sweep(directory: Path) -> Path:
    """VVC at four QPs, the learned codec at two points between, and the identity; two embedders."""
    base = np.array([0.95, 0.9, 0.85, 0.98])
    job = 0
    for qp, bpp, drop in ((32, 0.5, 0.0), (35, 0.36, 0.05), (37, 0.27, 0.1), (40, 0.17, 0.2)):
        scores = {"dlib": (base - drop).tolist(), "arcface": (base - 2 * drop).tolist()}
        write(directory / str(job), "vvc", {"qp": qp}, bpp, 40 - qp / 5, scores)
        job += 1
    for rate, bpp, drop in ((1, 0.2, 0.4), (2, 0.3, 0.3)):
        scores = {"dlib": (base - drop).tolist(), "arcface": (base - 1.5 * drop).tolist()}
        write(directory / str(job), "sa_icm", {"rate": rate}, bpp, 24 + rate, scores)
        job += 1
    write(directory / str(job), "none", {}, 24.0, None, {"dlib": [1.0] * 4, "arcface": [1.0] * 4})
    return directory
