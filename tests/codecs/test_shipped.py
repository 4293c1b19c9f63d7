"""The shipped networks, and how one is found."""

import json
from dataclasses import replace

import numpy as np
import pytest

from icm import codecs
from icm.codecs import shipped
from icm.codecs.base import BitstreamError, CodecError, pack, unpack
from icm.files import file_sha256


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of two random shipped networks."""
    import torch

    from models.checkpoint import load_network, save_safetensors, weights_id
    from models.gated import GatedHyperprior

    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    for seed, variant in enumerate(("edge", "control")):
        torch.manual_seed(seed)
        path = save_safetensors(GatedHyperprior(8, 12, gate=8), tmp_path / f"{variant}_mid.safetensors")
        card = {"lambda": 0.5, "sha256": file_sha256(path), "weights_id": weights_id(load_network(path))}
        path.with_suffix(".json").write_text(json.dumps(card))
    return tmp_path


def test_the_default_is_the_edge_network_and_variants_are_told_apart(folder):
    edge, control = codecs.create("sa_icm"), codecs.create("sa_icm", variant="control")
    assert edge.checkpoint == folder / "edge_mid.safetensors"
    assert control.checkpoint == folder / "control_mid.safetensors"
    assert edge.point == {"rate": "mid"}
    assert (edge.parameters["variant"], control.parameters["variant"]) == ("edge", "control")


def test_a_stream_finds_its_weights_by_itself(folder, make_picture):
    picture = make_picture(70, 90)
    streams = {variant: codecs.create("sa_icm", variant=variant).encode(picture) for variant in ("edge", "control")}
    assert unpack(streams["edge"]).weights_id != unpack(streams["control"]).weights_id
    for variant, stream in streams.items():
        expected = codecs.create("sa_icm", variant=variant).decode(stream)
        assert np.array_equal(codecs.decode(stream), expected)
    (folder / "edge_mid.json").unlink()
    with pytest.raises(BitstreamError, match=r"not among the shipped ones.*--checkpoint"):
        codecs.decode(streams["edge"])
    assert codecs.decode(streams["edge"], checkpoint=folder / "edge_mid.safetensors").shape == picture.shape


def test_streams_of_an_earlier_network_with_the_same_decoder_go_on_decoding(folder, make_picture):
    """As when the gate of a shipped network, which the encoder alone uses, was replaced."""
    card = folder / "edge_mid.json"
    content = json.loads(card.read_text())
    stream = codecs.create("sa_icm").encode(make_picture(70, 90))
    expected = codecs.decode(stream)
    card.write_text(json.dumps({**content, "decodes": ["00" * 8]}))
    earlier = pack(replace(unpack(stream), weights_id="00" * 8))
    assert np.array_equal(codecs.decode(earlier), expected)
    assert np.array_equal(codecs.decode(stream), expected)
    with pytest.raises(BitstreamError, match="not among the shipped"):
        codecs.decode(pack(replace(unpack(stream), weights_id="11" * 8)))


def test_missing_and_damaged_files_and_bad_options_are_named(folder):
    with pytest.raises(CodecError, match=r"edge_high\.json: missing.*codec\.checkpoint=PATH"):
        codecs.create("sa_icm", rate="high")
    with pytest.raises(CodecError, match=r"codec\.variant=texture.*edge, faceless, control"):
        codecs.create("sa_icm", variant="texture")
    path = folder / "edge_mid.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CodecError, match=r"edge_mid\.safetensors: damaged"):
        codecs.create("sa_icm")


@pytest.mark.parametrize("text", ["{", "[]", '{"lambda": 1}', ""])
def test_a_damaged_card_is_named(folder, text):
    (folder / "edge_mid.json").write_text(text)
    with pytest.raises(CodecError, match=r"edge_mid\.json: damaged"):
        codecs.create("sa_icm")


@pytest.mark.parametrize("variant", shipped.VARIANTS)
@pytest.mark.parametrize("rate", shipped.RATES)
def test_every_shipped_network_is_what_its_card_says(variant, rate):
    from models.checkpoint import load_network, weights_id

    network = shipped.find(variant, rate)
    loaded = load_network(network.path)
    assert network.path.stat().st_size <= 12e6
    assert weights_id(loaded) == network.card["weights_id"]
    assert sum(parameter.numel() for parameter in loaded.parameters()) == network.card["parameters"]
    assert (network.card["variant"], network.card["rate"]) == (variant, rate)
    told = {name: network.card["network"].get(name) for name in ("N", "M", "gate", "blocks")}
    assert loaded.architecture() == {name: value for name, value in told.items() if value is not None}


@pytest.mark.parametrize("variant", shipped.VARIANTS)
def test_rates_rise_from_low_to_high(variant, make_picture):
    picture = make_picture(128, 192)
    sizes = [len(codecs.create("sa_icm", variant=variant, rate=rate).encode(picture)) for rate in shipped.RATES]
    assert sizes == sorted(sizes)
    held_out = [shipped.find(variant, rate).card["held_out"]["bpp"] for rate in shipped.RATES]
    assert held_out == sorted(held_out)


def test_the_edge_networks_are_selective_against_their_controls():
    def selectivity(variant, rate):
        return shipped.find(variant, rate).card["held_out"]["selectivity"]

    for rate in shipped.RATES:
        assert selectivity("edge", rate) > selectivity("control", rate) + 1
