from __future__ import annotations

import os
from urllib.error import HTTPError, URLError

import pytest
import timm
import torch
from safetensors.torch import save_file

from nns.backends.checkpoint import WRAPPERS
from nns.backends.timm import TimmBackend, weights
from nns.errors import UnknownNameError, WeightsError
from nns.types import ArchitectureSpec

SMALL = "mobilenetv3_small_050"


@pytest.fixture
def backend():
    return TimmBackend()


def from_file(path, name=SMALL, **more):
    return ArchitectureSpec("timm", name, {"file": str(path), **more}, weights.FILE)


def checkpoint(classes=5):
    return timm.create_model(SMALL, num_classes=classes).state_dict()


@pytest.mark.parametrize("name", weights.PACKAGES)
def test_installed_packages_hold_the_weights(backend, name):
    (offer,) = [offer for offer in backend.pretrained() if offer.spec.name == name]
    module = backend.load_pretrained(offer)
    state = weights.package_state(name)
    assert torch.equal(module.state_dict()["classifier.bias"], list(state.values())[-1])
    assert len(offer.classes) == 1000
    assert offer.classes[1] == "n01443537"  # goldfish
    assert offer.accuracy == weights.IMAGENET_ACCURACY[name]
    assert backend.license(offer.spec) == "Apache-2.0"
    with torch.inference_mode():
        assert module(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


def test_building_from_a_package_replaces_the_head_alone(backend):
    spec = backend.offers("tf_efficientnet_lite0")[0]
    assert spec.source == weights.IMAGENET
    module = backend.build(spec, 3, seed=1)
    state = list(weights.package_state(spec.name).values())
    assert module.classifier.weight.shape == (3, 1280)
    assert all(torch.equal(a, b) for a, b in zip(list(module.state_dict().values())[:-2], state[:-2], strict=True))


@pytest.mark.parametrize("wrapper", [None, *WRAPPERS])
def test_checkpoints_of_torch(backend, tmp_path, wrapper):
    state = checkpoint()
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "net.pth")
    module = backend.build(from_file(tmp_path / "net.pth"), 3)
    assert torch.equal(module.conv_stem.weight, state["conv_stem.weight"])
    assert module.classifier.weight.shape[0] == 3


def test_checkpoints_in_safetensors_keep_their_own_head(tmp_path):
    save_file(checkpoint(7), tmp_path / "net.safetensors")
    module = weights.create_pretrained(from_file(tmp_path / "net.safetensors"))
    assert module.classifier.weight.shape[0] == 7


class Dangerous:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("content", [Dangerous(), {"state_dict": Dangerous()}, [1, 2], {"epoch": 1}])
def test_checkpoints_that_hold_no_state_dict(backend, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "net.pth")
    with pytest.raises(WeightsError, match=r"net\.pth"):
        backend.build(from_file("net.pth"), 3)
    assert not (tmp_path / "executed").exists()


def test_checkpoints_that_do_not_fit(backend, tmp_path):
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    save_file(checkpoint(), tmp_path / "other.safetensors")
    for spec in (
        from_file(tmp_path / "missing.pth"),
        from_file(tmp_path / "damaged.safetensors"),
        from_file(tmp_path / "other.safetensors", name="lcnet_050"),
    ):
        with pytest.raises(WeightsError, match=os.path.basename(spec.config["file"])) as caught:
            backend.build(spec, 3)
        assert "\n" not in str(caught.value)


def test_only_its_owner_knows_the_licence_of_a_file(backend):
    assert backend.license(from_file("net.pth")) == "NOASSERTION"
    assert backend.license(from_file("net.pth", license="MIT")) == "MIT"
    assert backend.license(ArchitectureSpec("timm", SMALL)) == "Apache-2.0"


def test_unknown_names_suggest_a_likely_one(backend):
    for ask in (lambda name: backend.offers(name), lambda name: backend.build(ArchitectureSpec("timm", name), 3)):
        with pytest.raises(UnknownNameError, match="did you mean 'mobilenetv3_small_050'"):
            ask("mobilnetv3_small_050")


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet10t", "hf_hub:timm/resnet10t", "local-dir:/tmp/net", "https://x"])
@pytest.mark.parametrize("source", [weights.RANDOM, weights.IMAGENET, weights.FILE])
def test_addresses_never_reach_timm(backend, monkeypatch, name, source):
    def unreachable(*_, **__):
        raise AssertionError("timm.create_model was called")

    monkeypatch.setattr(timm, "create_model", unreachable)
    spec = ArchitectureSpec("timm", name, {"file": "/tmp/net"}, source)
    with pytest.raises(UnknownNameError, match="unknown timm architecture"):
        backend.offers(name)
    with pytest.raises(UnknownNameError, match="unknown timm architecture"):
        backend.build(spec, 3)
    with pytest.raises(UnknownNameError, match="unknown timm architecture"):
        weights.create_pretrained(spec)
    with pytest.raises(UnknownNameError, match="unknown timm architecture"):
        backend.preprocessing(spec)


def test_unknown_tags_are_unknown_names(backend):
    with pytest.raises(UnknownNameError, match="no_such_tag"):
        backend.preprocessing(ArchitectureSpec("timm", f"{SMALL}.no_such_tag"))


def test_unknown_sources(backend):
    with pytest.raises(WeightsError, match=r"'elsewhere'.*imagenet"):
        backend.build(ArchitectureSpec("timm", SMALL, {}, "elsewhere"), 3)


IMAGENET_SPEC = ArchitectureSpec("timm", "resnet10t", {}, weights.IMAGENET)


def answer(monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(weights, "urlopen", refuse)
    monkeypatch.setattr(weights, "_cached", lambda _: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def test_no_connection_is_told_at_once(backend, monkeypatch, capfd):
    answer(monkeypatch, URLError("name or service not known"))
    with pytest.raises(WeightsError, match=r"'resnet10t'.*not known.*tf_efficientnet_lite0.*local files") as caught:
        backend.build(IMAGENET_SPEC, 3)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_offline_mode_is_told_at_once(backend, monkeypatch):
    answer(monkeypatch, AssertionError("asked in spite of it"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        backend.build(IMAGENET_SPEC, 3)


def test_a_hub_that_answers_is_left_to_timm(backend, monkeypatch):
    asked = []

    def create(name, **settings):
        asked.append((name, settings))
        raise OSError("the rest is timm's")

    answer(monkeypatch, HTTPError("https://huggingface.co", 405, "no HEAD here", None, None))
    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(WeightsError, match="the rest is timm's"):
        backend.build(IMAGENET_SPEC, 3)
    assert asked == [("resnet10t", {"pretrained": True, "pretrained_cfg_overlay": None})]


def test_cached_weights_need_no_connection(backend, monkeypatch, tmp_path):
    original = timm.create_model("resnet10t")
    save_file(original.state_dict(), tmp_path / "model.safetensors")
    answer(monkeypatch, URLError("no connection"))
    monkeypatch.setattr(weights, "_cached", lambda _: str(tmp_path / "model.safetensors"))
    module = backend.build(IMAGENET_SPEC, 3)
    assert torch.equal(module.conv1[0].weight, original.conv1[0].weight)


def test_architectures_without_weights(backend):
    with_weights = {name.partition(".")[0] for name in timm.list_pretrained()}
    name = min(set(timm.list_models()) - with_weights)
    with pytest.raises(WeightsError, match="timm has no pretrained weights"):
        backend.build(ArchitectureSpec("timm", name, {}, weights.IMAGENET), 3)


def test_sizes_follow_the_request_unless_they_are_fixed(backend):
    assert backend.preprocessing(ArchitectureSpec("timm", SMALL), 48).size == 48
    assert backend.preprocessing(ArchitectureSpec("timm", SMALL)).size == 224
    assert backend.preprocessing(ArchitectureSpec("timm", "vit_tiny_patch16_224"), 48).size == 224
    lite = backend.preprocessing(ArchitectureSpec("timm", "tf_efficientnet_lite0"))
    assert (lite.mean, lite.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
