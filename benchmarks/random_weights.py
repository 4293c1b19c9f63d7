"""Weights with random values in DeepFace's own file formats: they show what a network costs, not what it sees."""

import struct

import numpy as np


def write_random_weights(name: str):
    """Write the weight file of a recogniser, a name of `icm.faces.weights.FILES`, where DeepFace looks for it.

    Returns:
        Its path.
    """
    from icm.faces import weights

    path = weights.path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == "sface":
        path.write_bytes(tiny_sface())
        weights.record(path)  # says that these weights are meant, though they are not the published ones
    else:
        import torch

        torch.save(random_state(name), path)
    return path


def random_state(name: str) -> dict:
    """A state dict with the names and shapes of DeepFace's own network, filled quickly."""
    import torch
    from deepface.models.facial_recognition.pytorch import ArcFace, DeepID, Facenet, GhostFaceNet, OpenFace, VGGFace

    networks = {
        "vggface": VGGFace.VggFaceBaseModel,
        "facenet": Facenet.InceptionResNetV1,
        "openface": OpenFace.OpenFaceNet,
        "arcface": ArcFace.ArcFaceModel,
        "ghostfacenet": GhostFaceNet.GhostFaceNetV1,
        "deepid": DeepID.DeepIdNet,
    }
    with torch.device("meta"):
        shapes = networks[name]().state_dict()
    generator = torch.Generator().manual_seed(1)
    state = {}
    for key, value in shapes.items():
        if not value.is_floating_point():
            state[key] = torch.zeros(value.shape, dtype=value.dtype)
        elif value.ndim < 2:
            state[key] = torch.rand(value.shape, generator=generator) + 0.5
        else:
            spread = (3 / value[0].numel()) ** 0.5
            state[key] = torch.empty(value.shape).uniform_(-spread, spread, generator=generator)
    return state


def tiny_sface() -> bytes:
    """An ONNX graph with SFace's interface: "data" [1,3,112,112] -> averages of 16x16 -> linear -> "fc1" [1,128].

    Written field by field, since the package onnx is no dependency (onnx/onnx.proto gives the numbers).
    """
    weight = np.random.default_rng(1).normal(size=(147, 128)).astype("<f4")
    sixteen = {"kernel_shape": [16, 16], "strides": [16, 16]}
    matrix = _field(1, 147) + _field(1, 128) + _field(2, 1) + _field(8, b"weight") + _field(9, weight.tobytes())
    graph = b"".join(
        [
            _field(1, _node("AveragePool", ["data"], "pooled", sixteen)),
            _field(1, _node("Flatten", ["pooled"], "flat", {})),
            _field(1, _node("MatMul", ["flat", "weight"], "fc1", {})),
            _field(2, b"tiny"),
            _field(5, matrix),
            _field(11, _value("data", [1, 3, 112, 112])),
            _field(12, _value("fc1", [1, 128])),
        ]
    )
    return _field(1, 6) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 11))


def _node(kind: str, inputs: list[str], output: str, attributes: dict[str, list[int]]) -> bytes:
    fields = [_field(1, name.encode()) for name in inputs] + [_field(2, output.encode()), _field(4, kind.encode())]
    for name, numbers in attributes.items():
        fields.append(_field(5, _field(1, name.encode()) + b"".join(_field(8, n) for n in numbers) + _field(20, 7)))
    return b"".join(fields)


def _value(name: str, shape: list[int]) -> bytes:
    dimensions = b"".join(_field(1, _field(1, side)) for side in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, 1) + _field(2, dimensions)))


def _field(number: int, value: int | bytes) -> bytes:
    """One protobuf field: a varint or a length-delimited value."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes(digits) + struct.pack("B", value)
