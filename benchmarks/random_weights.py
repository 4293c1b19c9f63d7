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
        path.write_bytes(random_sface())
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


# SFace is a MobileNet: channels and stride of its thirteen pairs of a depthwise and a pointwise convolution.
_SFACE = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]


def random_sface() -> bytes:
    """An ONNX graph of SFace's interface, operators and size: "data" [1,3,112,112] -> MobileNet -> "fc1" [1,128].

    Written field by field, since the package onnx is no dependency (onnx/onnx.proto gives the numbers).
    """
    rng = np.random.default_rng(1)
    nodes: list[bytes] = []
    tensors: list[bytes] = []
    last = "data"

    def convolution(inputs: int, outputs: int, side: int, stride: int, groups: int = 1) -> None:
        nonlocal last
        number, fan = len(nodes), inputs // groups * side**2
        kernel = rng.standard_normal((outputs, inputs // groups, side, side), "f4") * (2 / fan) ** 0.5
        parts = {"weight": kernel, "bias": rng.normal(0, 0.1, outputs), "slope": np.full((outputs, 1, 1), 0.25)}
        tensors.extend(_tensor(f"{part}{number}", values) for part, values in parts.items())
        shape = {"kernel_shape": [side] * 2, "strides": [stride] * 2, "pads": [side // 2] * 4, "group": [groups]}
        nodes.append(_node("Conv", [last, f"weight{number}", f"bias{number}"], f"conv{number}", shape))
        nodes.append(_node("PRelu", [f"conv{number}", f"slope{number}"], last := f"relu{number}", {}))

    convolution(3, channels := 32, 3, 1)
    for outputs, stride in _SFACE:
        convolution(channels, channels, 3, stride, groups=channels)
        convolution(channels, channels := outputs, 1, 1)
    nodes.append(_node("Flatten", [last], "flat", {}))
    nodes.append(_node("MatMul", ["flat", "fc"], "fc1", {}))
    tensors.append(_tensor("fc", rng.standard_normal((channels * 7 * 7, 128), "f4") / 100))
    graph = b"".join(
        [
            *(_field(1, node) for node in nodes),
            _field(2, b"sface"),
            *(_field(5, tensor) for tensor in tensors),
            _field(11, _value("data", [1, 3, 112, 112])),
            _field(12, _value("fc1", [1, 128])),
        ]
    )
    return _field(1, 6) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 11))


def _tensor(name: str, values: np.ndarray) -> bytes:
    sides = b"".join(_field(1, side) for side in values.shape)
    return sides + _field(2, 1) + _field(8, name.encode()) + _field(9, values.astype("<f4").tobytes())


def _node(kind: str, inputs: list[str], output: str, attributes: dict[str, list[int]]) -> bytes:
    fields = [_field(1, name.encode()) for name in inputs] + [_field(2, output.encode()), _field(4, kind.encode())]
    for name, numbers in attributes.items():
        if name == "group":
            value = _field(3, numbers[0]) + _field(20, 2)
        else:
            value = b"".join(_field(8, number) for number in numbers) + _field(20, 7)
        fields.append(_field(5, _field(1, name.encode()) + value))
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
