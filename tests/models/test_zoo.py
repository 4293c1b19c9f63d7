"""CompressAI's architectures: its published format, its bitstreams, and the codec around them."""

import compressai.models
import numpy as np
import pytest
import torch

from icm.codecs import zoo
from icm.codecs.base import CodecError, unpack
from icm.codecs.learned import LearnedCodec
from models.checkpoint import load_network, save_safetensors
from models.hyperprior import Hyperprior
from models.zoo import Cheng2020Anchor, Cheng2020Attention, Factorized, JointAutoregressive, ScaleHyperprior

pytestmark = pytest.mark.usefixtures("one_thread")
# CompressAI's class and its arguments, small, and what it is here.
ARCHITECTURES = {
    "bmshj2018-factorized": (compressai.models.FactorizedPrior, (8, 12), Factorized),
    "bmshj2018-hyperprior": (compressai.models.ScaleHyperprior, (8, 12), ScaleHyperprior),
    "mbt2018-mean": (compressai.models.MeanScaleHyperprior, (8, 12), Hyperprior),
    "mbt2018": (compressai.models.JointAutoregressiveHierarchicalPriors, (8, 12), JointAutoregressive),
    "cheng2020-anchor": (compressai.models.Cheng2020Anchor, (8,), Cheng2020Anchor),
    "cheng2020-attn": (compressai.models.Cheng2020Attention, (8,), Cheng2020Attention),
}


def test_the_scale_hyperprior_has_a_portable_form(tmp_path, make_picture):
    torch.manual_seed(1)
    path = tmp_path / "network.safetensors"
    save_safetensors(ScaleHyperprior(8, 12), path, half=False)
    plain, portable = (LearnedCodec("learned", path, portable=portable) for portable in (False, True))
    picture = make_picture(70, 90)
    bitstream = portable.encode(picture)
    assert "listed_at" in unpack(bitstream).parameters
    assert np.abs(plain.decode(bitstream).astype(int) - plain.decode(plain.encode(picture))).max() <= 1


@pytest.fixture(params=ARCHITECTURES)
def published(request, tmp_path, monkeypatch):
    """A network of CompressAI with random weights, its file where `download zoo` puts it, and its name."""
    make, sizes, ours = ARCHITECTURES[request.param]
    torch.manual_seed(1)
    network = make(*sizes).eval()
    with torch.no_grad():
        for name, value in network.g_a.named_parameters():
            if value.ndim > 1 and "gamma" not in name:
                value *= 1.7  # latents that are not all 0
    network.update(force=True)
    monkeypatch.setenv("ICM_CACHE", str(tmp_path))
    name = f"{request.param}-3"
    zoo.path_of(name).parent.mkdir(parents=True)
    torch.save({_first_releases(key): value for key, value in network.state_dict().items()}, zoo.path_of(name))
    return network, name, ours


def _first_releases(key):
    """The name that CompressAI's first releases, which the files are of, had for a tensor."""
    for new, old in (("matrices", "_matrices"), ("biases", "_biases"), ("factors", "_factors")):
        key = key.replace(f"entropy_bottleneck.{new}.", f"entropy_bottleneck.{old}.")
    return key.replace(".skip.", ".downsample.")


def test_published_weights_give_compressais_own_bitstreams(published, waves):
    theirs, name, kind = published
    ours = load_network(zoo.path_of(name))
    assert type(ours) is kind
    x = waves(64, 128)
    with torch.inference_mode():
        expected, found = theirs.compress(x), ours.compress(x)
        assert found["strings"][: len(expected["strings"])] == expected["strings"]
        assert len(found["strings"][0][0]) > 20
        decoded = theirs.decompress(expected["strings"], expected["shape"])["x_hat"]
        torch.testing.assert_close(ours.decompress(**found)["x_hat"], decoded, rtol=0, atol=1e-5)


def test_a_codec_by_name_decodes_from_bytes_alone(published, make_picture):
    _, name, _ = published
    codec = LearnedCodec("learned", name)
    assert (codec.title, codec.series, codec.point) == (f"{name[:-2]} quality 3", name[:-2], {"quality": 3})
    picture = make_picture(50, 70)
    bitstream = codec.encode(picture)
    assert unpack(bitstream).width == 70
    decoded = LearnedCodec("learned", name).decode(bitstream)
    assert decoded.shape == picture.shape
    np.testing.assert_array_equal(decoded, codec.decode(bitstream))


@pytest.mark.parametrize("kind", [Factorized, ScaleHyperprior, JointAutoregressive, Cheng2020Attention])
def test_every_parameter_is_trained(kind, waves):
    from models.objective import RateDistortion

    torch.manual_seed(0)
    network, x = kind(N=8).train(), waves(128, 128)
    (RateDistortion(lmbda=0.05, region="plain")(network(x), x)["loss"] + network.aux_loss()).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_the_names_are_compressais_own():
    from compressai.zoo.image import model_urls

    for architecture, metrics in model_urls.items():
        for metric, files in metrics.items():
            for quality, url in files.items():
                name = f"{architecture}-{quality}" if metric == "mse" else f"{architecture}-{metric}-{quality}"
                assert f"{zoo.HOST}/{zoo.FILES[name]}.pth.tar" == url
    assert zoo.names_of("mbt2018") == [f"mbt2018-{quality}" for quality in range(1, 9)]
    with pytest.raises(CodecError, match="no such network; choose from bmshj2018-factorized"):
        zoo.names_of("mbt")


def test_what_has_not_been_fetched_says_how(tmp_path, monkeypatch):
    monkeypatch.setenv("ICM_CACHE", str(tmp_path))
    with pytest.raises(CodecError, match="python -m icm download zoo cheng2020-attn-6"):
        LearnedCodec("learned", "cheng2020-attn-6")
