"""A DeepFace home of the test's own, for weights with random values."""

import pytest

from benchmarks.random_weights import write_random_weights
from icm.faces.deepface_setup import import_deepface


@pytest.fixture
def has_all_of():
    """The function ``has_all_of(thing, protocol)``: whether a thing has every attribute and method of a protocol.

    What ``isinstance`` says reads every property, and a version that names a missing weight file raises.
    """

    def has_all_of(thing, protocol) -> bool:
        annotated = {name for base in protocol.__mro__ for name in vars(base).get("__annotations__", ())}
        return {name for name in annotated | set(dir(protocol)) if not name.startswith("_")} <= set(dir(thing))

    return has_all_of


@pytest.fixture
def deepface_home(tmp_path, monkeypatch):
    """An empty DeepFace home; the networks DeepFace keeps in memory are set aside for the test."""
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path / "home"))
    import_deepface()
    from deepface.modules import modeling

    fresh = {task: {} for task in modeling.AVAILABLE_MODELS}
    monkeypatch.setattr(modeling, "cached_models", fresh, raising=False)
    return tmp_path / "home"


@pytest.fixture(name="write_random_weights")
def write_random_weights_into_the_home(deepface_home):
    """The function ``write_random_weights(name)``: writes the weight file ``name`` and returns its path."""
    return write_random_weights
