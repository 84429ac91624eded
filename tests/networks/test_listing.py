from __future__ import annotations

from dataclasses import replace

import pytest
from nns_example import ExampleBackend

from nns.backends.ofa import OfaBackend
from nns.backends.timm import TimmBackend
from nns.errors import UnknownNameError, UsageError
from nns.networks import count_cost
from nns.networks.listing import list_architectures
from nns.types import Limits

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


def test_misuse():
    with pytest.raises(UnknownNameError):
        listed(ExampleBackend(), "nothing-*")
    with pytest.raises(UsageError, match="latency"):
        listed(ExampleBackend(), limits=Limits(max_latency=0.01))
