"""The path of one job: original -> boxes -> bitstream -> coded image -> crops -> embeddings -> similarities."""

import io
import json
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

import icm
from icm.codecs.base import Codec, CodecError, payload_size
from icm.errors import UserError
from icm.evaluation.cache import Cache, content_key, image_hash
from icm.evaluation.results import Run, crop_name
from icm.faces.crops import crop
from icm.faces.detection import Box, Detector
from icm.faces.embedding import Embedder
from icm.faces.sources import SourceImage
from icm.files import printable
from icm.images import ImageError, write_png
from icm.metrics import privacy
from icm.metrics.quality import psnr
from icm.metrics.rate import bits_per_pixel
from icm.metrics.statistics import bootstrap_mean_ci

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scene:
    """An image that shows at least one face: its place in the source, content hash and boxes."""

    source: SourceImage
    hash: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class CodedScene:
    """A scene after coding: the row of images.csv and, per box, the original and the coded crop (HWC uint8 RGB)."""

    scene: Scene
    row: dict
    originals: tuple[np.ndarray, ...]
    coded: tuple[np.ndarray, ...]


def _progress(items, total: int, description: str, unit: str = "image"):
    return tqdm(items, total=total, desc=description, unit=unit, dynamic_ncols=True, mininterval=0.5)


# Detection -----------------------------------------------------------------------------------------------------------


def detect(image: np.ndarray, hash_: str, detector: Detector, cache: Cache) -> list[Box]:
    """The faces of an image, from the cache when this detector has seen it before."""
    key = content_key(image=hash_, backend=detector.name, parameters=detector.parameters, version=detector.version)
    stored = cache.get("boxes", key)
    if stored is not None:
        return [Box(**box) for box in json.loads(stored)]
    boxes = detector.detect(image)
    cache.put("boxes", key, json.dumps([vars(box) for box in boxes]).encode())
    return boxes


def find_scenes(
    images: Sequence[SourceImage], detector: Detector, cache: Cache, label: str
) -> tuple[list[Scene], list[dict]]:
    """The images with a face, and the skipped ones as ``{"image", "reason"}``; an unreadable image is skipped."""
    scenes, skipped = [], []
    for source in _progress(images, len(images), f"{label} | faces"):
        try:
            image = source.load()
        except ImageError as error:
            skipped.append({"image": source.name, "reason": printable(error)})
            continue
        hash_ = image_hash(image)
        boxes = detect(image, hash_, detector, cache)
        if boxes:
            scenes.append(Scene(source, hash_, tuple(boxes)))
        else:
            skipped.append({"image": source.name, "reason": f"no face found by {detector.name}"})
    return scenes, skipped


# Coding --------------------------------------------------------------------------------------------------------------


def code(image: np.ndarray, hash_: str, codec: Codec, cache: Cache) -> tuple[bytes, np.ndarray, dict]:
    """Encode and decode one image, or take both from the cache.

    Returns:
        The bitstream, the coded image (decoded back from those bytes alone) and the seconds spent when it was made,
        ``{"encode_seconds", "decode_seconds"}``.
    """
    # icm's own version stands for the encoder settings that are constants of its code.
    made_by = [icm.__version__, codec.version]
    key = content_key(image=hash_, codec=codec.name, parameters=codec.parameters, version=made_by)
    stored = [cache.get(kind, key) for kind in ("bitstream", "decoded", "seconds")]
    if all(blob is not None for blob in stored):
        return stored[0], _from_png(stored[1]), json.loads(stored[2])
    start = time.perf_counter()
    bitstream = codec.encode(image)
    encoded = time.perf_counter()
    coded = codec.decode(bitstream)
    seconds = {"encode_seconds": encoded - start, "decode_seconds": time.perf_counter() - encoded}
    if coded.shape != image.shape:
        raise CodecError(f"{codec.name} gave back an image of shape {coded.shape} for one of {image.shape}")
    cache.put("bitstream", key, bitstream)
    cache.put("decoded", key, _png(coded))
    cache.put("seconds", key, json.dumps(seconds).encode())
    return bitstream, coded, seconds


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG", compress_level=1)
    return file.getvalue()


def _from_png(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def _code_scene(scene: Scene, codec: Codec, cache: Cache) -> CodedScene:
    image = scene.source.load()
    bitstream, coded, seconds = code(image, scene.hash, codec, cache)
    height, width = image.shape[:2]
    payload = payload_size(bitstream)
    row = {
        "image": scene.source.name,
        "width": width,
        "height": height,
        "payload_bytes": payload,
        "bytes": len(bitstream),
        "bpp": bits_per_pixel(payload, height, width),
        "bpp_total": bits_per_pixel(len(bitstream), height, width),
        "psnr": psnr(image, coded),
        "faces": len(scene.boxes),
        **seconds,
    }
    # Copies: a view would keep the whole picture in memory until the job ends.
    originals, after = (tuple(crop(picture, box).copy() for box in scene.boxes) for picture in (image, coded))
    return CodedScene(scene, row, originals, after)


def code_scenes(
    scenes: Sequence[Scene], codec: Codec, cache: Cache, label: str, workers: int | None = None
) -> tuple[list[CodedScene], list[dict]]:
    """Code every scene, several at once; a scene that cannot be coded is skipped with its reason.

    ``workers`` is the number of images in work at a time (None: the codec's own limit, else the number of cores).
    """
    count = workers or codec.max_workers or len(os.sched_getaffinity(0))
    coded, skipped = [], []
    executor = ThreadPoolExecutor(max_workers=count)
    try:
        futures = [executor.submit(_code_scene, scene, codec, cache) for scene in scenes]
        for scene, future in _progress(zip(scenes, futures, strict=True), len(scenes), f"{label} | coding"):
            try:
                coded.append(future.result())
            except UserError as error:
                skipped.append({"image": scene.source.name, "reason": printable(error)})
    finally:
        # After Ctrl-C nothing more starts; what is under way ends by itself and only then lands in the cache.
        executor.shutdown(wait=True, cancel_futures=True)
    return coded, skipped


# Recognition ---------------------------------------------------------------------------------------------------------


def embed(crops: Sequence[np.ndarray], embedder: Embedder, cache: Cache, label: str, batch: int = 32) -> np.ndarray:
    """Embeddings of face crops, (n, dim) float32; each distinct crop is embedded once and remembered."""
    keys = [
        content_key(crop=image_hash(face), embedder=embedder.name, parameters=embedder.parameters,
                    version=embedder.version)
        for face in crops
    ]  # fmt: skip
    found: dict[str, np.ndarray] = {}
    for key in keys:
        if key not in found and (blob := cache.get("embedding", key)) is not None:
            found[key] = np.frombuffer(blob, dtype="<f4")
    missing = {key: face for key, face in zip(keys, crops, strict=True) if key not in found}
    if missing:
        todo = list(missing.items())
        with _progress(None, len(todo), f"{label} | {embedder.name}", unit="face") as bar:
            for start in range(0, len(todo), batch):
                part = todo[start : start + batch]
                for (key, _), row in zip(part, embedder.embed([face for _, face in part]), strict=True):
                    found[key] = np.asarray(row, dtype="<f4")
                    cache.put("embedding", key, found[key].tobytes())
                bar.update(len(part))
    return np.stack([found[key] for key in keys])


def compare_faces(
    coded: Sequence[CodedScene], embedder: Embedder, cache: Cache, label: str, seed: int
) -> tuple[list[dict], dict]:
    """Similarity of every face before and after coding by one embedder: rows of faces.csv and their summary."""
    faces = [(scene, index) for scene in coded for index in range(len(scene.scene.boxes))]
    originals = embed([scene.originals[index] for scene, index in faces], embedder, cache, label)
    after = embed([scene.coded[index] for scene, index in faces], embedder, cache, label)
    identities = [who for scene in coded for who in scene.scene.source.identities(scene.scene.boxes)]
    impostor = privacy.impostor_mean(originals, identities)
    similarity = privacy.cosine_similarity(originals, after)
    calibrated = privacy.calibrate(similarity, impostor)
    rows = []
    for (scene, index), identity, raw, scaled in zip(faces, identities, similarity, calibrated, strict=True):
        box = scene.scene.boxes[index]
        rows.append(
            {
                "image": scene.scene.source.name,
                "face": index,
                "x": box.x,
                "y": box.y,
                "width": box.width,
                "height": box.height,
                "detector_confidence": float(box.confidence),
                "identity": identity,
                "embedder": embedder.name,
                "cosine_similarity": float(raw),
                "calibrated_similarity": float(scaled),
            }
        )
    clusters = [row["image"] for row in rows]
    return rows, _similarity_summary(similarity, calibrated, impostor, clusters, seed)


def _similarity_summary(
    similarity: np.ndarray, calibrated: np.ndarray, impostor: float | None, clusters: list[str], seed: int
) -> dict:
    def mean_and_interval(values: np.ndarray) -> tuple[float | None, list[float | None]]:
        usable = ~np.isnan(values)
        if not usable.any():
            return None, [None, None]
        kept = [name for name, keep in zip(clusters, usable, strict=True) if keep]
        return float(values[usable].mean()), list(bootstrap_mean_ci(values[usable], kept, seed=seed))

    mean, interval = mean_and_interval(similarity)
    calibrated_mean, calibrated_interval = mean_and_interval(calibrated)
    return {
        "mean": mean,
        "ci95": interval,
        "calibrated_mean": calibrated_mean,
        "calibrated_ci95": calibrated_interval,
        "impostor_mean": impostor,
        "faces": len(similarity),
    }


# The job -------------------------------------------------------------------------------------------------------------


def label_of(codec: Codec) -> str:
    """A short name of a codec at its operating point, such as ``vvc qp 37`` or ``sa_icm control rate mid``."""
    variant = codec.parameters.get("variant")
    return " ".join(filter(None, [codec.name, variant, *(f"{name} {value}" for name, value in codec.point.items())]))


def data_id(scenes: Sequence[Scene]) -> str:
    """16 hexadecimal digits that name the measured faces: the pixels of every image and the boxes in it."""
    faces = [[scene.source.name, scene.hash, [[box.x, box.y, box.width, box.height] for box in scene.boxes]]
             for scene in scenes]  # fmt: skip
    return content_key(faces=faces)[:16]


def evaluate_faces(
    codec: Codec,
    images: Sequence[SourceImage],
    detector: Detector,
    embedders: Sequence[Embedder],
    cache: Cache,
    directory: Path,
    seed: int = 0,
    workers: int | None = None,
) -> Run:
    """Measure one codec on a set of images; returns the run, with its crops written below ``directory``.

    Nothing but ``directory/crops`` is written; `icm.evaluation.results.write_run` stores the rest.

    Raises:
        UserError: no image is left to measure, with the reason of the first skipped one.
    """
    label = label_of(codec)
    scenes, skipped = find_scenes(images, detector, cache, label)
    coded, failed = code_scenes(scenes, codec, cache, label, workers)
    skipped += failed
    for entry in skipped:
        log.warning("skipped %s: %s", entry["image"], entry["reason"])
    if not coded:
        first = f"; first: {skipped[0]['image']}: {skipped[0]['reason']}" if skipped else "; the source lists no image"
        raise UserError(f"no image left to measure of {len(images)}{first}")
    face_rows, similarity = [], {}
    for embedder in embedders:
        rows, similarity[embedder.name] = compare_faces(coded, embedder, cache, label, seed)
        face_rows += rows
    write_crops(coded, directory / "crops")
    rows = [scene.row for scene in coded]
    summary = {
        "codec": codec.name,
        "label": label,
        "point": codec.point,
        "qp": codec.point.get("qp"),
        "parameters": codec.parameters,
        "codec_version": codec.version,
        "images": len(rows),
        "faces": sum(row["faces"] for row in rows),
        "data": data_id(scenes),
        "skipped": skipped,
        **{name: _finite_mean(rows, name) for name in ("bpp", "bpp_total", "psnr")},
        "lossless_images": sum(row["psnr"] == float("inf") for row in rows),
        "similarity": similarity,
    }
    return Run(directory, summary, rows, face_rows)


def _finite_mean(rows: Sequence[dict], column: str) -> float | None:
    """Mean over the images where it is finite, which the PSNR of one coded without loss is not; None where none is."""
    values = [row[column] for row in rows if np.isfinite(row[column])]
    return float(np.mean(values)) if values else None


def write_crops(coded: Sequence[CodedScene], directory: Path) -> None:
    """Write every face to ``original/`` and ``coded/``, named by `icm.evaluation.results.crop_name`."""
    for scene in coded:
        for index, (original, after) in enumerate(zip(scene.originals, scene.coded, strict=True)):
            name = crop_name(scene.scene.source.name, index)
            write_png(directory / "original" / name, original)
            write_png(directory / "coded" / name, after)
