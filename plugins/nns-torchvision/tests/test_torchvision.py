from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from nns_torchvision import TorchvisionBackend, networks, weights
from torchvision import models

from nns import Zoo
from nns.backends import head_of
from nns.errors import UsageError, WeightsError
from nns.networks import count_cost
from nns.places import AddressWeights
from nns.plugins import ArchitectureSpec, load_plugins
from nns.testing import BackendContract

FAMILIES = [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5",
    "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5",
    "squeezenet1_0", "swin_t", "swin_v2_t", "vgg11", "vit_b_32", "wide_resnet50_2",
]  # fmt: skip


class TestTorchvisionBackend(BackendContract):
    pattern = "squeezenet1_1"
    image_size = 32

    @pytest.fixture
    def backend(self):
        return TorchvisionBackend()


def spec_of(name, **changes):
    return replace(ArchitectureSpec("torchvision", name), **changes)


def test_it_is_found_by_its_entry_point():
    assert isinstance(load_plugins().backend("torchvision"), TorchvisionBackend)


def test_every_family_is_in_the_list():
    letters = re.compile(r"[a-z]+")
    assert {letters.match(name)[0] for name in FAMILIES} == {letters.match(name)[0] for name in networks.names()}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_head_of_each_family(name):
    backend, spec = TorchvisionBackend(), spec_of(name)
    preprocessing = backend.preprocessing(spec, 32)
    costs = set()
    with torch.device("meta"):
        for classes in (3, 5):
            module = backend.build(spec, classes)
            assert (
                backend.replace_head(module, classes)(torch.zeros(2, 3, *[preprocessing.size] * 2)).shape[1] == classes
            )
            assert head_of(module).bias is not None
            costs.add(count_cost(backend, module, preprocessing, classes))
    (cost,) = costs
    theirs = next(iter(models.get_model_weights(name))).meta["num_params"]
    ours = cost.params(1000)
    assert ours - theirs == {"maxvit_t": 1000}.get(name, min(0, ours - theirs)), "no fewer but auxiliary classifiers"
    assert ours == theirs or name in (*networks.WITH_AUXILIARY, "maxvit_t")


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_published_weights_with_auxiliary_classifiers(name, tmp_path):
    theirs = models.get_model(name, transform_input=True, aux_logits=True, init_weights=False, num_classes=7).eval()
    torch.save(theirs.state_dict(), tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    ours = loaded(name, tmp_path / "x.pth", 7)
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        assert torch.equal(ours(images), theirs(images))


def test_published_weights_under_old_names(tmp_path):
    theirs = models.densenet121(num_classes=7).state_dict()
    old = {key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value for key, value in theirs.items()}
    assert old.keys() != theirs.keys()
    torch.save(old, tmp_path / "x.pth")
    found = loaded("densenet121", tmp_path / "x.pth", 7).state_dict()
    assert all(torch.equal(found[key], value) for key, value in theirs.items())


def test_a_head_without_a_bias_gets_one():
    found = networks.renamed("maxvit_t", {"classifier.5.weight": torch.ones(4, 9)})
    assert torch.equal(found["classifier.5.bias"], torch.zeros(4))


def loaded(name, path, classes):
    backend, spec = TorchvisionBackend(), spec_of(name, source="IMAGENET1K_V1")
    return backend.load(spec, backend.read_weights(spec, path), classes)


def test_what_is_said_of_weights():
    offers = {(offer.spec.name, offer.spec.source): offer for offer in TorchvisionBackend().pretrained()}
    assert len(offers) > 100
    for offer in offers.values():
        assert offer.weights.url.startswith("https://download.pytorch.org/models/")
        assert offer.weights.sha256 in offer.weights.url
        assert 0.5 < offer.accuracy < 0.9
        assert len(set(offer.classes)) == 1000
    squeeze = offers["squeezenet1_1", "IMAGENET1K_V1"]
    assert (squeeze.weights.sha256, squeeze.accuracy) == ("b8a52dc0", pytest.approx(0.58178))
    assert ("vgg16", "IMAGENET1K_FEATURES") not in offers
    assert offers["vit_b_16", "IMAGENET1K_SWAG_E2E_V1"].spec.config == {"image_size": 384}


def test_licences_and_preprocessing_are_those_of_the_weights():
    backend = TorchvisionBackend()
    swag = spec_of("vit_b_16", config={"image_size": 384}, source="IMAGENET1K_SWAG_E2E_V1")
    assert backend.license(swag) == "CC-BY-NC-4.0"
    assert backend.preprocessing(swag, 64).size == 384
    assert backend.license(spec_of("efficientnet_b0", source="IMAGENET1K_V1")) == "Apache-2.0"
    assert backend.license(spec_of("resnet18", source="IMAGENET1K_V1")) == "BSD-3-Clause"
    large = backend.preprocessing(spec_of("efficientnet_v2_l", source="IMAGENET1K_V1"))
    assert (large.size, large.mean, large.std) == (480, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert backend.preprocessing(spec_of("inception_v3"), 32).size == 75


@pytest.mark.parametrize(
    "spec",
    [
        spec_of("vit_b_32", config={"image_size": 10**9}),
        spec_of("vit_b_32", config={"image_size": "64"}),
        spec_of("resnet18", config={"image_size": 64}),
        spec_of("fasterrcnn_resnet50_fpn"),
        spec_of("../x"),
    ],
    ids=lambda spec: f"{spec.name} {spec.config}",
)
def test_a_zoo_may_say_anything(spec):
    with pytest.raises(UsageError):
        TorchvisionBackend().build(spec, 3)


def test_weights_that_are_elsewhere_are_not_built():
    with pytest.raises(WeightsError, match="zoo add ZOO --offered torchvision:resnet18"):
        TorchvisionBackend().build(spec_of("resnet18", source="IMAGENET1K_V1"), 3)


@pytest.fixture
def server(user, tmp_path, monkeypatch):
    """Serve a folder on loopback, as a mirror of torchvision's files, to a user who has fetched nothing yet."""
    (tmp_path / "served").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    served = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    monkeypatch.setenv(weights.MIRROR, f"http://127.0.0.1:{served.server_port}/")
    monkeypatch.setenv("NNS_ALLOW_HTTP", "1")
    yield tmp_path / "served"
    served.shutdown()
    served.server_close()


@pytest.mark.parametrize("mirror", ["file:///etc", "http://files.example.com/nets", "nets"])
def test_a_mirror_that_is_no_address(nns, tmp_path, monkeypatch, mirror):
    monkeypatch.delenv("NNS_ALLOW_HTTP", raising=False)
    monkeypatch.setenv(weights.MIRROR, mirror)
    done = nns("zoo", "add", tmp_path / "zoo.h5", "--offered", "torchvision:squeezenet1_1")
    assert done.code == 2
    assert weights.MIRROR in done.err
    assert not (tmp_path / "zoo.h5").exists()


def test_from_an_offer_to_a_network(nns, server, tmp_path, monkeypatch):
    theirs = models.squeezenet1_1(num_classes=1000).eval()
    torch.save(theirs.state_dict(), server / "squeezenet1_1-b8a52dc0.pth", _use_new_zipfile_serialization=False)
    zoo = tmp_path / "zoo.h5"
    done = nns("zoo", "add", zoo, "--offered", "torchvision:squeezenet1_*", "--max-params", "1.24M", "--json")
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)["networks"]
    assert (row["architecture"], row["license"], row["image_size"]) == ("squeezenet1_1", "BSD-3-Clause", 224)
    assert row["published"] == {"imagenet": pytest.approx(0.58178)}
    assert row["weights_at"]["sha256"] == "b8a52dc0"
    assert nns("zoo", "fetch", zoo).code == 7, "what comes is not what torchvision published"

    digest = hashlib.sha256((server / "squeezenet1_1-b8a52dc0.pth").read_bytes()).hexdigest()
    monkeypatch.setattr(weights, "_digest", lambda url: digest[:10])
    weights._offers.cache_clear()
    try:
        (offer,) = (each for each in TorchvisionBackend().pretrained() if each.spec.name == "squeezenet1_1")
        assert offer.weights == AddressWeights(f"{row['weights_at']['url']}", sha256=digest[:10])
        for copy in ([], ["--copy"]):
            path = tmp_path / f"zoo{len(copy)}.h5"
            added = nns("zoo", "add", path, "--offered", "torchvision:squeezenet1_1", *copy)
            assert added.code == 0, added.err
            with Zoo(path) as opened:
                network = opened.networks()[0]
                found = network.load()
                assert network.place.where == ("zoo" if copy else offer.weights.url)
                assert network.known_weights() == network.entry.weights or network.known_weights().sha256 == digest
            images = torch.randn(1, 3, 64, 64)
            with torch.inference_mode():
                assert torch.equal(found(images), theirs(images))
            assert "already there" in nns("zoo", "add", path, "--offered", "torchvision:squeezenet1_1").err
    finally:
        weights._offers.cache_clear()
