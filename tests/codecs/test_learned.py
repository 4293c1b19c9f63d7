"""The learned codec: exact round trips at any size, and a typed error for whatever cannot be decoded."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

import icm
from icm import codecs
from icm.codecs.base import BitstreamError, Codec, CodecError, pack, payload_size, unpack
from icm.errors import UserError
from icm.threads import in_threads

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(icm.__file__).parents[1]


def new_network(family: str, seed: int):
    """An untrained network whose latents spread over some tens of steps, so that there is something to code."""
    import torch

    from models.hyperprior import Hyperprior
    from models.tcm import TCM

    torch.manual_seed(seed)
    tiny = {"N": 16, "M": 40, "hyper": 16, "depth": 1, "attention": 16, "context": (24, 16)}
    network = TCM(**tiny) if family == "tcm" else Hyperprior(N=16, M=24)
    last_y, last_z = (network.g_a[-1], network.h_a[-1])
    with torch.no_grad():
        last_y.weight.mul_(30)
        last_z.weight.mul_(30)
    return network


@pytest.fixture(scope="module", params=["tcm", "hyperprior"])
def checkpoint(request, tmp_path_factory) -> Path:
    from models.checkpoint import save_safetensors

    path = tmp_path_factory.mktemp(request.param) / "weights.safetensors"
    return save_safetensors(new_network(request.param, seed=1), path, half=False)


@pytest.fixture
def codec(checkpoint) -> Codec:
    return codecs.create("sa_icm", checkpoint=checkpoint)


@pytest.fixture
def tight(checkpoint) -> Codec:
    return codecs.create("sa_icm", checkpoint=checkpoint, tight=True)


def damaged(bitstream: bytes, **changes) -> bytes:
    """The container with other contents and a checksum that fits them."""
    return pack(replace(unpack(bitstream), **changes))


@pytest.mark.parametrize("size", [(1, 1), (3, 130), (96, 128), (129, 65)])
def test_decoding_gives_the_networks_own_reconstruction(codec, checkpoint, make_picture, size):
    import torch

    from models.checkpoint import load_network

    image = make_picture(*size)
    network = load_network(checkpoint)
    rows, columns = (-side % network.multiple for side in size)
    replicated = np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="edge")
    with torch.no_grad():
        x = torch.from_numpy(replicated).permute(2, 0, 1)[None] / 255
        x_hat = network(x)["x_hat"][0].clamp(0, 1).permute(1, 2, 0)
    expected = (x_hat * 255).round().byte().numpy()[: size[0], : size[1]]
    decoded = codecs.decode(codec.encode(image), checkpoint=checkpoint)
    np.testing.assert_array_equal(decoded, expected)
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable


def test_the_payload_is_the_strings_and_nothing_else(codec, checkpoint, make_picture):
    import torch

    from models.checkpoint import load_network, weights_id

    image = make_picture(128, 128)
    with torch.no_grad():
        strings = load_network(checkpoint).compress(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)["strings"]
    container = unpack(codec.encode(image))
    assert container.payload == strings[0][0] + strings[1][0]
    assert container.weights_id == weights_id(checkpoint)
    assert (container.width, container.height) == (128, 128)


def test_it_is_a_codec_like_the_others(codec, picture):
    assert isinstance(codec, Codec)
    assert codec.name == "sa_icm"
    assert codec.point == {}
    assert codec.max_workers == 1
    assert "torch" in codec.version
    assert codec.encode(picture) == codec.encode(picture[:, :].copy())
    view = picture[::2, ::-1]
    assert codec.encode(view) == codec.encode(view.copy())


def test_parameters_tell_checkpoints_apart(checkpoint, tmp_path):
    from models.checkpoint import save_safetensors

    other = save_safetensors(new_network("hyperprior", seed=3), tmp_path / "other.safetensors")
    first, second = (codecs.create("sa_icm", checkpoint=path) for path in (checkpoint, other))
    assert first.parameters != second.parameters


def test_what_is_no_checkpoint_is_refused_at_once(tmp_path):
    (tmp_path / "other.ckpt").write_bytes(b"not even a checkpoint")
    for name in ("sa_icm", "learned"):
        with pytest.raises(UserError, match=r"other\.ckpt"):
            codecs.create(name, checkpoint=tmp_path / "other.ckpt")
    with pytest.raises(CodecError, match=r"codec\.checkpoint=None: learned needs one"):
        codecs.create("learned")


def test_either_name_decodes_what_the_other_coded(codec, checkpoint, picture):
    learned = codecs.create("learned", checkpoint=checkpoint)
    streams = {codec.name: codec.encode(picture), learned.name: learned.encode(picture)}
    assert unpack(streams["sa_icm"]).payload == unpack(streams["learned"]).payload
    for name, stream in streams.items():
        assert unpack(stream).codec == name
        for decoded in (codec.decode(stream), learned.decode(stream), codecs.decode(stream, checkpoint=checkpoint)):
            np.testing.assert_array_equal(decoded, codec.decode(streams["sa_icm"]))


def test_a_file_coded_as_sa_icm_decodes_whatever_its_weights_were_trained_for(tmp_path, picture):
    """Before there was a codec `learned`, every network coded as sa_icm."""
    import torch

    content = {"state_dict": new_network("hyperprior", seed=1).state_dict(), "global_step": 1}
    torch.save(content | {"hyper_parameters": {"objective": {"region": "plain", "lmbda": 1}}}, tmp_path / "plain.ckpt")
    codec = codecs.create("learned", checkpoint=tmp_path / "plain.ckpt")
    old = damaged(codec.encode(picture), codec="sa_icm")
    np.testing.assert_array_equal(codecs.decode(old, checkpoint=tmp_path / "plain.ckpt"), codec.decode(old))


def test_another_process_decodes_the_same_picture(codec, checkpoint, make_picture, tmp_path):
    bitstream = codec.encode(make_picture(150, 200))
    (tmp_path / "a.icm").write_bytes(bitstream)
    program = (
        "import sys, numpy as np; from icm import codecs;"
        "np.save(sys.argv[3], codecs.decode(open(sys.argv[1], 'rb').read(), checkpoint=sys.argv[2]))"
    )
    arguments = [str(tmp_path / "a.icm"), str(checkpoint), str(tmp_path / "a.npy")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as here: threads move the last bit, see below
    command = [sys.executable, "-c", program, *arguments]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), codec.decode(bitstream))


def test_streams_do_not_depend_on_the_number_of_threads(codec, make_picture):
    """The symbols, that is; the synthesis may round the last bit of a sample otherwise."""
    import torch

    before = torch.get_num_threads()
    try:
        coded, decoded = {}, {}
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            coded[threads] = codec.encode(make_picture(150, 200))
            decoded[threads] = codec.decode(coded[1]).astype(int)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert max(np.abs(image - decoded[1]).max() for image in decoded.values()) <= 1
    for bitstream in coded.values():
        assert codec.decode(bitstream).shape == (150, 200, 3)


def test_one_codec_may_be_used_by_several_threads(codec, make_picture):
    """The checksum of the symbols would mix two pictures up if both were coded at once."""
    pictures = [make_picture(64, 96, seed) for seed in range(4)]
    alone = [codec.encode(image) for image in pictures]
    together = [future.result() for _, future in in_threads(codec.encode, pictures, workers=4)]
    assert together == alone
    for _, future in in_threads(codec.decode, together, workers=4):
        assert future.result().shape == (64, 96, 3)


def test_other_weights_are_refused_by_name(codec, picture, tmp_path):
    from models.checkpoint import save_safetensors

    bitstream = codec.encode(picture)
    stranger = save_safetensors(new_network("hyperprior", seed=2), tmp_path / "stranger.safetensors")
    with pytest.raises(BitstreamError, match=unpack(bitstream).weights_id) as caught:
        codecs.decode(bitstream, checkpoint=stranger)
    assert "stranger.safetensors" in str(caught.value)


def test_the_same_weights_in_another_file_format_decode(codec, checkpoint, picture, tmp_path):
    import torch

    from models.checkpoint import load_network

    torch.save({"state_dict": load_network(checkpoint).state_dict()}, tmp_path / "same.pth.tar")
    bitstream = codec.encode(picture)
    np.testing.assert_array_equal(
        codecs.decode(bitstream, checkpoint=tmp_path / "same.pth.tar"), codec.decode(bitstream)
    )


def test_one_string_holds_the_same_symbols(codec, tight, make_picture):
    for size in ((1, 1), (200, 331)):
        picture = make_picture(*size)
        two, one = codec.encode(picture), tight.encode(picture)
        np.testing.assert_array_equal(codec.decode(one), codec.decode(two))
        assert unpack(one).parameters["symbols"] == unpack(two).parameters["symbols"]
        assert unpack(one).payload != unpack(two).payload
    assert (codec.tight, "tight True" in tight.title) == (False, True)
    assert tight.parameters == {**codec.parameters, "tight": True}
    with pytest.raises(CodecError, match=r"codec\.tight=maybe"):
        codecs.create("sa_icm", tight="maybe")


def test_shipped_networks_come_within_bytes_of_their_estimate(make_picture):
    tight, plain = codecs.create("sa_icm"), codecs.create("sa_icm", tight=False)
    assert tight.title == "SA-ICM mid"
    assert plain.title != tight.title
    for size in ((320, 448), (64, 64)):
        picture = make_picture(*size)
        estimate, length = tight.estimated_bits(picture) / 8, payload_size(tight.encode(picture))
        assert (
            estimate < length < 1.003 * estimate + 12
        )  # a string ends with 8 bytes, which say a little, and has 4 to a word
        assert length < payload_size(plain.encode(picture))


@pytest.mark.parametrize("form", ["codec", "tight"])
def test_hostile_strings_are_an_error_and_nothing_worse(form, checkpoint, picture, rng, request):
    codec = request.getfixturevalue(form)
    bitstream = codec.encode(picture)
    container = unpack(bitstream)
    payload = container.payload
    y_bytes = container.parameters.get("y_bytes")
    flipped = bytearray(payload)
    flipped[len(payload) // 3] ^= 0x10
    hostile = [b"", payload[: len(payload) // 2], b"\xff" * len(payload), b"\0" * len(payload), bytes(flipped)]
    hostile += [rng.integers(0, 256, rng.integers(1, len(payload)), dtype=np.uint8).tobytes() for _ in range(8)]
    for strings in hostile:
        parameters = {**container.parameters}
        if form == "codec":
            parameters["y_bytes"] = min(y_bytes, len(strings))
        with pytest.raises(BitstreamError, match="payload is damaged"):
            codec.decode(damaged(bitstream, payload=strings, parameters=parameters))


def test_a_decoder_in_another_state_is_noticed(codec, make_picture, monkeypatch):
    """What another device or library may do: scales that fall on the other side of a table's border."""
    from models.entropy import GaussianConditional

    bitstream = codec.encode(make_picture(128, 128, seed=3))
    ordinary = GaussianConditional.build_indexes
    monkeypatch.setattr(GaussianConditional, "build_indexes", lambda self, scales: ordinary(self, scales * 1.05 + 0.2))
    with pytest.raises(BitstreamError, match="another device or library version"):
        codec.decode(bitstream)


@pytest.mark.parametrize("form", ["codec", "tight"])
def test_portable_streams_decode_whatever_the_decoder_is_set_to(form, checkpoint, make_picture, psnr, request):
    codec = request.getfixturevalue(form)
    portable = codecs.create(codec.name, checkpoint=checkpoint, portable=True, tight=codec.tight)
    picture = make_picture(130, 90)
    bitstream = portable.encode(picture)
    decoded = codec.decode(bitstream)
    np.testing.assert_array_equal(decoded, portable.decode(bitstream))
    assert psnr(decoded, codec.decode(codec.encode(picture))) > 45
    assert portable.decode(codec.encode(picture)).shape == picture.shape
    assert payload_size(bitstream) < 1.01 * payload_size(codec.encode(picture)) + 10
    assert (portable.title, portable.series) != (codec.title, codec.series)
    assert portable.parameters == {**codec.parameters, "portable": True}


def test_damage_to_a_portable_stream_is_noticed(checkpoint, picture):
    codec = codecs.create("learned", checkpoint=checkpoint, portable=True)
    bitstream = codec.encode(picture)
    container = unpack(bitstream)
    length = len(container.payload)
    for listed_at in (-1, 0, length + 1, "3", True, 2.5):
        with pytest.raises(BitstreamError, match="header makes no sense: listed_at"):
            codec.decode(damaged(bitstream, parameters={**container.parameters, "listed_at": listed_at}))
    for tail in (b"\x80", b"\x02", b"\xff" * 30):
        with pytest.raises(BitstreamError, match="do not decode"):
            codec.decode(damaged(bitstream, payload=container.payload + tail))
    with pytest.raises(BitstreamError, match="payload is damaged"):
        codec.decode(damaged(bitstream, payload=bytes(length)))
    with pytest.raises(CodecError, match=r"codec\.portable=maybe"):
        codecs.create("learned", checkpoint=checkpoint, portable="maybe")


def test_headers_that_make_no_sense_are_refused(codec, picture):
    bitstream = codec.encode(picture)
    bad = [{}, {"y_bytes": 3}, {"symbols": 0.5}] + [
        {"y_bytes": value, "symbols": 0} for value in (-1, 10**9, "2", True, 2.5)
    ]
    for parameters in bad:
        with pytest.raises(BitstreamError, match="header makes no sense"):
            codec.decode(damaged(bitstream, parameters=parameters))


def test_another_size_in_the_header_is_noticed(codec, make_picture):
    bitstream = codec.encode(make_picture(128, 128))
    with pytest.raises(BitstreamError):
        codec.decode(damaged(bitstream, width=300, height=200))


def test_other_codecs_streams_are_refused(codec, picture):
    with pytest.raises(BitstreamError, match="jpeg"):
        codec.decode(codecs.create("jpeg").encode(picture))


def test_a_diverged_network_is_a_named_error(picture, tmp_path):
    import torch

    from models.checkpoint import save_safetensors

    network = new_network("hyperprior", seed=1)
    with torch.no_grad():
        network.g_a[-1].weight.mul_(1e12)
    path = save_safetensors(network, tmp_path / "wild.safetensors", half=False)
    with pytest.raises(CodecError, match=r"wild\.safetensors: cannot code this image"):
        codecs.create("sa_icm", checkpoint=path).encode(picture)


def test_images_that_do_not_fit_into_memory_are_refused_before_they_are_tried(codec, picture, monkeypatch):
    """A header may claim any size; the machine must not be brought down by it."""
    bitstream = codec.encode(picture)
    with pytest.raises(BitstreamError, match=r"16384x16384.*GB"):
        codec.decode(damaged(bitstream, width=16384, height=16384))
    monkeypatch.setattr("icm.codecs.learned.physical_memory", lambda: 10**6)
    with pytest.raises(CodecError, match=r"codec\.tile=0.*GB"):
        codec.encode(picture)


def test_options_are_checked(checkpoint, tmp_path):
    with pytest.raises(CodecError, match=r"codec\.rate=huge.*low, mid, high"):
        codecs.create("sa_icm", rate="huge")
    with pytest.raises(CodecError, match=r"codec\.checkpoint=.*nowhere\.ckpt"):
        codecs.create("sa_icm", checkpoint=tmp_path / "nowhere.ckpt")
    with pytest.raises(CodecError, match=r"codec\.device=abacus"):
        codecs.create("sa_icm", checkpoint=checkpoint, device="abacus")
    with pytest.raises(CodecError, match=r"codec\.rate=low: learned has no such option; it takes checkpoint, device"):
        codecs.create("learned", checkpoint=checkpoint, rate="low")
    with pytest.raises(CodecError, match=r"codec\.qp=37"):
        codecs.create("sa_icm", checkpoint=checkpoint, qp=37)


def test_off_the_cpu_arithmetic_is_pinned_once_and_cudnn_stays_on(monkeypatch):
    """What a decoder's rounding hangs on; threads that code must not touch what all threads share."""
    import torch

    cudnn = torch.backends.cudnn
    for name, other in (("benchmark", True), ("deterministic", False), ("allow_tf32", True)):
        monkeypatch.setattr(cudnn, name, other)
    codecs.create("sa_icm")
    assert (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == (True, False, True)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        codecs.create("sa_icm", device="meta")  # the only device besides that torch has everywhere
        assert (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32) == (True, False, True, False)
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision(before)


def test_its_config_makes_it(checkpoint):
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        config = compose(overrides=["+codec=sa_icm", f"codec.checkpoint={checkpoint}"]).codec
        codec = instantiate(config)
        assert (codec.name, codec.checkpoint, codec.device) == ("sa_icm", checkpoint, "cpu")


def test_the_command_line_codes_and_decodes(codec, checkpoint, picture, tmp_path):
    from icm.__main__ import main
    from icm.images import read_image, write_png

    write_png(tmp_path / "a.png", picture)
    learned = ["--checkpoint", str(checkpoint)]
    assert main(["encode", str(tmp_path / "a.png"), "--codec", "sa_icm", *learned, "-o", str(tmp_path / "coded")]) == 0
    assert main(["decode", str(tmp_path / "coded" / "a.icm"), *learned, "-o", str(tmp_path / "back")]) == 0
    bitstream = (tmp_path / "coded" / "a.icm").read_bytes()
    np.testing.assert_array_equal(read_image(tmp_path / "back" / "a.png"), codec.decode(bitstream))
    assert payload_size(bitstream) < len(bitstream)


def test_a_large_picture_is_coded_in_tiles_and_the_stream_says_so(checkpoint, make_picture, monkeypatch):
    from icm.codecs import learned

    image = make_picture(100, 300)
    whole, tiled = (codecs.create("learned", checkpoint=checkpoint, tile=tile) for tile in (0, 128))
    streams = {codec: codec.encode(image) for codec in (whole, tiled)}
    assert "tile" not in unpack(streams[whole]).parameters
    assert unpack(streams[tiled]).parameters["tile"] == 128
    assert payload_size(streams[tiled]) == pytest.approx(payload_size(streams[whole]), rel=1e-2)
    pictures = {codec: whole.decode(stream).astype(float) for codec, stream in streams.items()}
    np.testing.assert_array_equal(tiled.decode(streams[tiled]), pictures[tiled])
    errors = [np.square(picture - image).mean() for picture in pictures.values()]
    assert abs(10 * np.log10(errors[0] / errors[1])) < 0.1
    assert (whole.title, whole.parameters) != (tiled.title, tiled.parameters)
    # By default only what is large; a picture within one tile is whole.
    codec = codecs.create("learned", checkpoint=checkpoint)
    assert codec.encode(image) == streams[whole]
    monkeypatch.setattr(learned, "_WHOLE", 100 * 300 - 1)
    monkeypatch.setattr(learned, "_TILE", 128)
    assert codec.encode(image) == streams[tiled]
    assert "tile" not in unpack(codec.encode(image[:100, :100])).parameters


def test_a_portable_stream_may_have_tiles(checkpoint, make_picture):
    image = make_picture(60, 200)
    codec = codecs.create("learned", checkpoint=checkpoint, tile=128, portable=True)
    assert codecs.decode(codec.encode(image), checkpoint=checkpoint).shape == image.shape


@pytest.mark.parametrize("tile", [100, -128, True, "large", 128.0])
def test_no_other_tiles(checkpoint, picture, tile):
    with pytest.raises(CodecError, match=r"codec\.tile=.* takes a multiple of 128"):
        codecs.create("learned", checkpoint=checkpoint, tile=tile)
    codec = codecs.create("learned", checkpoint=checkpoint)
    stream = codec.encode(picture)
    parameters = unpack(stream).parameters | {"tile": tile}
    with pytest.raises(BitstreamError, match="tile="):
        codec.decode(damaged(stream, parameters=parameters))
