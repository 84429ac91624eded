from __future__ import annotations

from dataclasses import replace

import pytest
from nns_example import ExampleBackend

from nns.backends.ofa import OfaBackend
from nns.backends.timm import TimmBackend
from nns.errors import UnknownNameError, UsageError
from nns.networks import count_cost
from nns.networks.listing import list_architectures
from nns.plugins import PretrainedOffer
from nns.types import ArchitectureSpec, Limits

CLASSES = 10
SIZE = 32


def listed(backend, pattern="*", limits=None, **more):
    return list_architectures(backend, pattern, CLASSES, limits or Limits(), SIZE, **more)


@pytest.mark.parametrize(
    ("backend", "pattern"),
    [(ExampleBackend(), "plain-w8-*"), (OfaBackend(), "mbv3-w0.25-2*"), (TimmBackend(), "mobilenetv3_small_0?0")],
)
def test_counts_are_those_of_the_network(backend, pattern):
    found = listed(backend, pattern)
    assert found
    for item in found[:2]:
        module = backend.build(item.spec, CLASSES)
        cost = count_cost(backend, module, backend.preprocessing(item.spec, SIZE), CLASSES)
        assert (item.params, item.macs, item.bytes) == (cost.params(CLASSES), cost.macs(CLASSES), cost.bytes(CLASSES))


def test_smallest_come_first():
    params = [item.params for item in listed(ExampleBackend())]
    assert len(params) == 9
    assert params == sorted(params)


def test_limits_hold_with_the_head():
    everything = listed(ExampleBackend())
    middle = everything[4]
    assert listed(ExampleBackend(), limits=Limits(max_params=middle.params)) == everything[:5]
    assert len(listed(ExampleBackend(), limits=Limits(max_params=middle.params - 1))) == 4
    for limits in (Limits(max_macs=middle.macs), Limits(max_size=middle.bytes)):
        assert middle in listed(ExampleBackend(), limits=limits)
    assert middle not in listed(ExampleBackend(), limits=Limits(max_macs=middle.macs - 1))
    assert middle not in listed(ExampleBackend(), limits=Limits(max_size=middle.bytes - 1))


def test_backend_and_licence():
    assert listed(ExampleBackend(), limits=Limits(backend="ofa")) == ()
    assert len(listed(ExampleBackend(), limits=Limits(backend="example", license="apache-2.0"))) == 9
    assert listed(ExampleBackend(), limits=Limits(license="MIT")) == ()


def test_weights_are_never_fetched():
    class Pretrained(ExampleBackend):
        def offers(self, pattern="*"):
            return [replace(spec, source="far-away") for spec in super().offers(pattern)]

    found = listed(Pretrained(), "plain-w8-d3")
    assert [item.spec.source for item in found] == ["far-away"]


def test_progress_counts_what_cannot_be_built():
    class Moody(ExampleBackend):
        def build(self, spec, classes, seed=0):
            if spec.config["depth"] == 4:
                raise RuntimeError("not this one\nand more")
            return super().build(spec, classes, seed)

    seen = []
    found = listed(Moody(), on_progress=seen.append)
    assert len(found) == 6
    assert [progress.done for progress in seen] == list(range(1, 10))
    assert seen[-1].total == 9
    assert seen[-1].kept == 6
    assert seen[-1].skipped == {"RuntimeError: not this one": 3}


def test_what_the_meta_device_cannot_do_is_done_on_the_cpu():
    class Concrete(ExampleBackend):
        def build(self, spec, classes, seed=0):
            module = super().build(spec, classes, seed)
            next(module.parameters()).detach().sum().item()  # an error on the meta device
            return module

    assert listed(Concrete()) == listed(ExampleBackend())


def test_attention_is_counted_alike_on_both_devices():
    """The fused attention of the CPU once went uncounted; what is listed must be what a zoo then says."""
    backend = TimmBackend()
    (item,) = listed(backend, "vit_tiny_patch16_224")
    module = backend.build(item.spec, CLASSES)
    cost = count_cost(backend, module, backend.preprocessing(item.spec, SIZE), CLASSES)
    assert item.macs == cost.macs(CLASSES)


class Trained(ExampleBackend):
    """One offer is among the architectures with other weights, one is beside them."""

    def pretrained(self):
        (spec,) = self.offers("plain-w8-d3")
        beside = ArchitectureSpec("example", "zzz-plain", {"width": 8, "depth": 4}, "files")
        return [PretrainedOffer(each, ("a", "b"), "letters", 0.5) for each in (replace(spec, source="files"), beside)]

    def license(self, spec):
        return "MIT" if spec.source == "files" else "Apache-2.0"


def test_what_comes_trained_is_listed_with_its_licence():
    trained = [item for item in listed(Trained()) if item.offer]
    assert [(item.spec.name, item.license, item.offer.dataset) for item in trained] == [
        ("plain-w8-d3", "MIT", "letters"),
        ("zzz-plain", "MIT", "letters"),
    ]
    assert {item.license for item in listed(Trained()) if not item.offer} == {"Apache-2.0"}
    assert len(listed(Trained())) == 9 + 2
    assert listed(Trained(), limits=Limits(license="mit")) == tuple(trained)
    assert [item.spec.name for item in listed(Trained(), "zzz-*")] == ["zzz-plain"]
    same = next(item for item in listed(ExampleBackend()) if item.spec.name == "plain-w8-d3")
    assert trained[0].bytes == same.bytes


def test_the_command_prints_what_comes_trained(nns, monkeypatch):
    import json

    monkeypatch.setattr("nns.backends.timm.CUT_AFTER", (5,))
    done = nns("architectures", "timm:tf_efficientnet_lite0*", "--json", "--image-size", "32")
    assert done.code == 0, done.err
    rows = {row["name"]: row for row in json.loads(done.out)["architectures"]}
    whole, cut = rows["tf_efficientnet_lite0"], rows["tf_efficientnet_lite0-s5"]
    assert (whole["pretrained"]["dataset"], whole["pretrained"]["classes"]) == ("imagenet-1k", 1000)
    assert cut["pretrained"] == {"dataset": "imagenet-1k", "classes": 0, "accuracy": None}
    assert cut["license"]
    assert 0 < cut["bytes"] < whole["bytes"]
    assert "Apache-2.0" in nns("architectures", "example:plain-w8-d3", "--license", "apache-2.0").out


def test_misuse():
    with pytest.raises(UnknownNameError):
        listed(ExampleBackend(), "nothing-*")
    with pytest.raises(UsageError, match="latency"):
        listed(ExampleBackend(), limits=Limits(max_latency=0.01))
