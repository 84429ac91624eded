"""Trained networks of others: a head that is a convolution, layers with versions, offers that are looked at."""

from __future__ import annotations

import fnmatch
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from nns_example import ExampleBackend
from torch import nn

from nns.backends import head_of, load_weights, name_head
from nns.errors import UnknownNameError, UsageError, WeightsError
from nns.finetuning._recipe_parts import freeze_body
from nns.networks import count_cost
from nns.plugins import ArchitectureSpec, Backend, Preprocessing, PretrainedOffer, Training, WorkItem, seeded
from nns.testing import BackendContract
from nns.testing._pretrained import trained_offers

HALF = (0.5, 0.5, 0.5)
SPECS = tuple(ArchitectureSpec("squeeze", name, {"trained": 1}, "files") for name in ("squeezenet1_1", "squeezenet1_0"))


class Squeeze(Backend):
    """SqueezeNet: the head is a convolution, behind it ReLU and the mean over the pixels."""

    name = "squeeze"

    def offers(self, pattern="*"):
        found = [replace(spec, source="random") for spec in SPECS if fnmatch.fnmatch(spec.name, pattern)]
        if not found:
            raise UnknownNameError.among("squeeze architecture", pattern, [spec.name for spec in SPECS])
        return found

    def plan(self, networks, image_size, seed):
        item = WorkItem(self.name, (self.offers()[0],), image_size, Training(epochs=1))
        return [item][:networks]

    def pretrained(self):
        return [PretrainedOffer(spec, ("a", "b", "c", "d"), "letters", float("nan")) for spec in SPECS]

    def load_pretrained(self, offer):
        return self.build(offer.spec, len(offer.classes), seed=9).eval()

    def build(self, spec, classes, seed=0):
        import torchvision

        if not spec.name.startswith("squeezenet1_"):
            raise UsageError(f"no SqueezeNet: {spec.name!r}")
        with seeded(seed):
            module = torchvision.models.get_model(spec.name, weights=None)
        return self.replace_head(module, classes, seed)

    def replace_head(self, module, classes, seed=0):
        with seeded(seed):
            module.classifier[1] = nn.Conv2d(512, classes, 1)
        return name_head(module, "classifier.1")

    def features(self, module, images):
        return module.features(images).mean((2, 3))

    def preprocessing(self, spec, image_size=None):
        return Preprocessing(image_size or 64, HALF, HALF)

    def topology(self, spec):
        return ()

    def license(self, spec):
        return "BSD-3-Clause"


class TestSqueeze(BackendContract):
    image_size = 64
    module = "nns.plugins"

    @pytest.fixture
    def backend(self):
        return Squeeze()


def test_a_head_is_named_or_the_last_linear_layer():
    plain = nn.Sequential(nn.Linear(2, 3), nn.Conv2d(3, 4, 1), nn.Linear(3, 4), nn.ReLU())
    assert head_of(plain) is plain[2]
    assert head_of(name_head(plain, "1")) is plain[1]
    assert head_of(nn.ReLU()) is None
    for layer in ("3", "9", ""):
        with pytest.raises(UsageError, match=r"head"):
            name_head(plain, layer)
    with pytest.raises(UsageError, match="one position"):
        name_head(nn.Sequential(nn.Conv2d(3, 4, 3)), "0")


def test_a_named_head_is_what_is_trained_alone():
    module = Squeeze().build(SPECS[0], 3)
    freeze_body(module)
    assert {name for name, p in module.named_parameters() if p.requires_grad} == {
        "classifier.1.weight",
        "classifier.1.bias",
    }


def test_a_body_is_counted_without_the_head_at_every_position():
    backend = Squeeze()
    one, three = (
        count_cost(backend, backend.build(SPECS[0], classes), backend.preprocessing(SPECS[0]), classes)
        for classes in (1, 3)
    )
    assert one == three
    body = backend.build(SPECS[0], 3).features
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        body(torch.zeros(1, 3, 64, 64))
    assert one.body_macs == counter.get_total_flops() // 2


@pytest.mark.parametrize("carry", [True, False], ids=["its own", "none, as out of a file"])
def test_layers_with_versions_load(carry):
    import torchvision

    def build():
        return torchvision.models.mnasnet0_5(weights=None, num_classes=3)

    state = build().state_dict()
    assert "_metadata" in vars(state)
    loaded = load_weights(build, ArchitectureSpec("x", "mnasnet0_5"), state if carry else dict(state))
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())


def test_a_version_that_a_layer_refuses_is_an_error_of_weights():
    import torchvision

    def build():
        return torchvision.models.mnasnet0_5(weights=None, num_classes=3)

    state = OrderedDict(build().state_dict())
    state._metadata = {"": {"version": 77}}
    with pytest.raises(WeightsError, match="version should be set"):
        load_weights(build, ArchitectureSpec("x", "mnasnet0_5"), state)


class Second(Squeeze):
    """Its second offer is broken, the first is fine."""

    def __init__(self, **second):
        self.second = second

    def pretrained(self):
        first, second = super().pretrained()
        return [first, replace(second, **self.second)]


@pytest.mark.parametrize(
    ("check", "second"),
    [
        ("test_pretrained", {"spec": replace(SPECS[1], name="other")}),
        ("test_pretrained_offers", {"spec": SPECS[0]}),
        ("test_pretrained_offers", {"spec": replace(SPECS[1], source="random")}),
        ("test_pretrained_offers", {"classes": ("a", "a")}),
        ("test_pretrained_offers", {"accuracy": 76.0}),
    ],
)
def test_all_offers_are_looked_at(check, second):
    backend = Second(**second)
    with pytest.raises((AssertionError, UsageError)):
        getattr(TestSqueeze(), check)(backend, backend.pretrained())


def test_a_backend_that_names_no_mean_is_asked_to(monkeypatch):
    class Silent(Squeeze):
        def preprocessing(self, spec, image_size=None):
            return Preprocessing(image_size or 64)

    with pytest.raises(AssertionError, match="name mean and std of 'squeezenet1_1'"):
        TestSqueeze().test_pretrained_preprocessing(Silent(), Silent().pretrained(), monkeypatch)


def test_nothing_trained_is_skipped_not_passed():
    with pytest.raises(pytest.skip.Exception, match="lists nothing"):
        trained_offers(ExampleBackend())
    assert trained_offers(Squeeze())
