"""The first stages of timm's networks as networks of their own."""

import pytest
import torch

from nns.backends.timm import TimmBackend
from nns.backends.timm.trunks import base_and_stages
from nns.errors import UnknownNameError, UsageError
from nns.types import ArchitectureSpec

IMAGES = torch.linspace(-1, 1, 2 * 3 * 64 * 64).reshape(2, 3, 64, 64)


def spec(name, source="random"):
    return ArchitectureSpec("timm", name, {}, source)


def test_names():
    assert base_and_stages("tf_efficientnet_lite0-s5") == ("tf_efficientnet_lite0", 5)
    assert base_and_stages("tf_efficientnet_lite0") == ("tf_efficientnet_lite0", None)
    assert base_and_stages("resnet-s0") == ("resnet-s0", None)


def test_it_computes_what_the_whole_network_computes_there():
    backend = TimmBackend()
    whole = backend.build(spec("tf_efficientnet_lite0", "imagenet"), 10).eval()
    trunk = backend.build(spec("tf_efficientnet_lite0-s5", "imagenet"), 10).eval()
    with torch.no_grad():
        there = whole.blocks[:5](whole.bn1(whole.conv_stem(IMAGES))).mean((2, 3))
        assert torch.equal(backend.features(trunk, IMAGES), there)
        assert trunk(IMAGES).shape == (2, 10)
    assert sum(p.numel() for p in trunk.parameters()) == 700_768 + 113 * 10


def test_weights_of_the_package_are_read_without_what_is_cut_off(cuts):
    backend = TimmBackend()
    (offer,) = [offer for offer in backend.pretrained() if offer.spec.name == "tf_efficientnet_lite2-s4"]
    trained = backend.load_pretrained(offer)
    assert not offer.classes
    package, file = backend.packaged_file(offer.spec)
    import importlib
    from pathlib import Path

    state = backend.read_weights(offer.spec, Path(importlib.import_module(package).__path__[0]) / file)
    loaded = backend.load(offer.spec, state, 0)
    assert state.keys() == trained.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(backend.features(loaded, IMAGES), backend.features(trained, IMAGES))


@pytest.mark.parametrize(
    "name", ["lcnet_050.ra2_in1k", "convnext_atto.d2_in1k", "deit_tiny_distilled_patch16_224.fb_in1k"]
)
def test_without_classes_the_head_of_the_weights_is_left_out(name, tmp_path):
    from safetensors.torch import save_file

    backend = TimmBackend()
    whole = backend.build(spec(name), 1000, seed=1).eval()
    save_file(whole.state_dict(), tmp_path / "model.safetensors")
    state = backend.read_weights(spec(name, "imagenet"), tmp_path / "model.safetensors")
    trunk = backend.load(spec(name, "imagenet"), state, 0)
    size = backend.preprocessing(spec(name)).size
    with torch.no_grad():
        images = torch.zeros(1, 3, size, size)
        assert torch.equal(backend.features(trunk, images), backend.features(whole, images))
        assert backend.replace_head(trunk, 3)(images).shape == (1, 3)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050-s4", "tinynet_e-s5", "mobilenetv4_conv_small-s3"])
def test_other_families_are_cut_too(name):
    backend = TimmBackend()
    trunk = backend.build(spec(name), 4, seed=1).eval()
    again = backend.build(spec(name), 4, seed=1).eval()
    with torch.no_grad():
        assert trunk(IMAGES).shape == (2, 4)
        assert torch.equal(trunk(IMAGES), again(IMAGES))
        assert backend.features(backend.replace_head(trunk, 9), IMAGES).shape == (2, trunk.num_features)
        assert trunk(IMAGES).shape == (2, 9)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("resnet18-s2", UsageError),
        ("tf_efficientnet_lite0-s7", UsageError),
        ("tf_efficientnet_lite0-s5-s3", UnknownNameError),
        ("hf-hub:a/b-s5", UnknownNameError),
    ],
)
def test_what_cannot_be_cut_is_refused(name, error):
    with pytest.raises(error):
        TimmBackend().build(spec(name), 4)


def test_every_installed_lite_is_offered_whole_and_cut(cuts):
    names = {offer.spec.name: offer for offer in TimmBackend().pretrained()}
    assert len(names) == 12
    assert {"tf_efficientnet_lite1", "tf_efficientnet_lite1-s3", "tf_efficientnet_lite1-s5"} <= names.keys()
    assert all(offer.classes == () for name, offer in names.items() if base_and_stages(name)[1])
