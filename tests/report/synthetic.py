"""Run directories written by hand, so that every number of a report can be computed on paper."""

from pathlib import Path

import numpy as np
from PIL import Image

from icm.evaluation.results import Run, crop_name, write_run
from icm.metrics.statistics import bootstrap_mean_ci

IMAGES = ("a.png", "b.png", "c.png")
FACES = (("a.png", 0), ("a.png", 1), ("b.png", 0), ("c.png", 0))


def picture(seed: int, size: int = 40) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size] / size
    planes = [0.5 + 0.4 * np.sin(6 * (x + seed * y * 0.3) + channel + seed) for channel in range(3)]
    return (np.stack(planes, -1) * 255).astype(np.uint8)


def write(
    directory: Path,
    codec: str = "vvc",
    point: dict | None = None,
    bpp: float = 0.3,
    psnr: float | None = 30.0,
    scores: dict[str, list[float]] | None = None,
    faces=FACES,
    parameters: dict | None = None,
    crops: bool = True,
    skipped=(),
    **summary,
) -> Path:
    """Write one finished run; ``scores`` holds a similarity per face and embedder, calibrated with impostors at 0.5."""
    point = {"qp": 37} if point is None else point
    scores = {"dlib": [0.9, 0.8, 0.7, 1.0]} if scores is None else scores
    names = list(dict.fromkeys(image for image, _ in faces))
    rows, similarity = [], {}
    for embedder, values in scores.items():
        for (image, face), value in zip(faces, values, strict=True):
            rows.append({"image": image, "face": face, "x": 1, "y": 2, "width": 40, "height": 40,
                         "detector_confidence": 0.99, "identity": None, "embedder": embedder,
                         "cosine_similarity": value, "calibrated_similarity": 2 * value - 1})  # fmt: skip
        clusters = [image for image, _ in faces]
        mean = float(np.mean(values))
        calibrated = [2 * value - 1 for value in values]
        similarity[embedder] = {
            "mean": mean, "ci95": list(bootstrap_mean_ci(values, clusters)),
            "calibrated_mean": float(np.mean(calibrated)),
            "calibrated_ci95": list(bootstrap_mean_ci(calibrated, clusters)),
            "impostor_mean": 0.5, "faces": len(faces),
        }  # fmt: skip
    images = [{"image": name, "width": 64, "height": 48, "payload_bytes": 100, "bytes": 120, "bpp": bpp,
               "bpp_total": bpp + 0.05, "psnr": psnr, "faces": 1, "encode_seconds": 0.1, "decode_seconds": 0.1}
              for name in names]  # fmt: skip
    label = " ".join([codec, *(f"{name} {value}" for name, value in point.items())])
    document = {
        "codec": codec, "label": label, "point": point, "qp": point.get("qp"),
        "parameters": {**point, "preset": "medium", **(parameters or {})}, "codec_version": "ffmpeg 9",
        "source": "demo", "detector": "mtcnn", "images": len(names), "faces": len(faces), "skipped": list(skipped),
        "bpp": bpp, "bpp_total": bpp + 0.05, "psnr": psnr, "similarity": similarity,
        "cell": f"{label} {parameters} {sorted(scores)} {summary}", "versions": {"python": "3.11.7", "icm": "0.1.0"},
        "git_commit": "0123abc", "seed": 0, **summary,
    }  # fmt: skip
    write_run(Run(directory, document, images, rows))
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
        write(
            directory / str(job), "sa_icm", {"rate": rate}, bpp, 24 + rate, scores, parameters={"weights_id": str(rate)}
        )
        job += 1
    write(directory / str(job), "none", {}, 24.0, None, {"dlib": [1.0] * 4, "arcface": [1.0] * 4})
    return directory
