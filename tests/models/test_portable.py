"""Portable networks: streams decode though every scale comes out a little different on the decoder's side."""

import copy

import pytest
import torch

from models import portable
from models.entropy import Checksum, GaussianConditional
from models.portable import Borders, make_portable

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pictures():
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(3, 1, 3, 16, 16, generator=generator)
    return [torch.nn.functional.interpolate(picture, size=(256, 256), mode="bicubic").clamp(0, 1) for picture in coarse]


@pytest.fixture
def made(network):
    if hasattr(network, "h_s"):  # fresh, it predicts hardly any scale above the least one
        with torch.no_grad():
            network.h_s[-1].weight.mul_(20)
    return make_portable(network)


def code(network, picture):
    with torch.inference_mode(), Borders(network) as borders, Checksum(network, "encoded") as checksum:
        coded = network.compress(picture)
    return coded, borders.to_bytes(), checksum.value


def decode(network, coded, listed):
    with torch.inference_mode(), Borders(network, listed), Checksum(network, "decoded") as checksum:
        x_hat = network.decompress(**coded)["x_hat"]
    return x_hat, checksum.value


def shaken(network, amount):
    """A copy of ``network`` on a machine whose scales are off by up to ``amount`` of their size."""
    other = copy.deepcopy(network)
    (conditional,) = [module for module in other.modules() if isinstance(module, GaussianConditional)]
    build, generator = conditional.build_indexes, torch.Generator().manual_seed(1)

    def off(scales):
        noise = torch.rand(scales.shape, generator=generator, dtype=scales.dtype) * 2 - 1
        return build(scales * (1 + amount * noise))

    conditional.build_indexes = off
    return other


def test_it_decodes_what_it_coded_and_close_to_the_plain_network(network, pictures):
    plain = copy.deepcopy(network)
    made = make_portable(network)
    for picture in pictures[:1]:
        coded, listed, checksum = code(made, picture)
        x_hat, same = decode(made, coded, listed)
        assert same == checksum
        assert x_hat.dtype == torch.float32
        with torch.inference_mode():
            expected = plain.compress(picture)
            sizes = [sum(len(string) for part in found["strings"] for string in part) for found in (coded, expected)]
            assert abs(sizes[0] - sizes[1]) <= 0.002 * sizes[1] + 8
            torch.testing.assert_close(x_hat, plain.decompress(**expected)["x_hat"], atol=0.02, rtol=0)


def test_scales_off_by_the_margin_lose_a_plain_stream_and_no_portable_one(made, pictures, monkeypatch):
    monkeypatch.setattr(portable, "MARGIN", 1e-3)  # wide, so that a few small pictures meet it often
    other = shaken(made, 0.9e-3)
    unlisted = []
    for picture in pictures:
        coded, listed, checksum = code(made, picture)
        assert len(listed) > 4
        x_hat, same = decode(other, coded, listed)
        assert same == checksum
        torch.testing.assert_close(x_hat, decode(made, coded, listed)[0])
        with torch.inference_mode(), Checksum(other, "decoded") as found:
            other.decompress(**coded)
        unlisted.append(found.value == checksum)
    assert not all(unlisted)


def test_the_list_costs_next_to_nothing(made, pictures):
    assert sum(len(code(made, picture)[1]) for picture in pictures) <= 4


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_and_kernels_do_not_matter(made, pictures, threads, monkeypatch):
    seen = []
    build = GaussianConditional.build_indexes
    monkeypatch.setattr(
        GaussianConditional, "build_indexes", lambda self, scales: (seen.append(scales), build(self, scales))[1]
    )
    coded, listed, checksum = code(made, pictures[0])
    here = torch.cat([scales.flatten() for scales in seen])
    seen.clear()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.backends.mkldnn.flags(enabled=False):
            assert decode(made, coded, listed)[1] == checksum
    finally:
        torch.set_num_threads(before)
    there = torch.cat([scales.flatten() for scales in seen])
    assert here.dtype == torch.float64
    # Scales below the table's first level share a row: what they are does not matter.
    off = ((here - there).abs() / here.abs().clamp(min=0.11)).max()
    assert off < portable.MARGIN / 1e5


def test_the_list_reads_back():
    borders = Borders(torch.nn.Module())
    borders._found = [(0, True), (1, False), (200, True), (5_000_000, False)]
    assert portable._positions(borders.to_bytes()) == borders._found
    assert portable._positions(b"") == []


@pytest.mark.parametrize("damaged", [b"\x80", b"\xff" * 12 + b"\x01"])
def test_a_damaged_list_is_refused(damaged, made):
    with pytest.raises(ValueError, match="list of scales"):
        Borders(made, damaged)


def test_a_list_that_names_a_scale_far_from_every_border_is_refused(made, pictures):
    coded, _, _ = code(made, pictures[0])
    with pytest.raises(ValueError, match="near no border"):
        decode(made, coded, b"\x02")


def test_frequencies_do_not_hang_on_the_last_digits(made):
    """No frequency is so near to a half that float64, off by 1e-13, could round it otherwise."""
    for module in made.modules():
        if not hasattr(module, "_pmf_to_cdf"):
            continue
        seen = []
        original = type(module)._pmf_to_cdf

        def spy(self, pmf, tail_mass, *rest, seen=seen, original=original):
            seen += [pmf.flatten(), tail_mass.flatten()]
            return original(self, pmf, tail_mass, *rest)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(module), "_pmf_to_cdf", spy)
            module.update(force=True) if "Bottleneck" in type(module).__name__ else module.update()
        steps = torch.cat(seen) * 65536
        assert steps.dtype == torch.float64
        assert ((steps - steps.floor() - 0.5).abs() > 1e-8).all()


def test_a_network_that_does_not_say_what_predicts_its_scales_has_no_portable_form(network, monkeypatch):
    monkeypatch.setattr(type(network), "entropy_path", ())
    with pytest.raises(ValueError, match="has no portable form"):
        make_portable(network)
