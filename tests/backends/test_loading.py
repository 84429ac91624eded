"""Weights into a network: what does not fit is found before the network takes memory, and nothing is cast silently."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from nns.backends.loading import LARGEST, load_weights
from nns.backends.ofa import OfaBackend
from nns.backends.timm import TimmBackend
from nns.errors import UnknownNameError, WeightsError
from nns.plugins import installed_plugins
from nns.types import ArchitectureSpec

SPEC = ArchitectureSpec("timm", "lcnet_050")


def net():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_a_giant_with_small_weights_takes_no_memory():
    """In a process of its own: only there the most that was ever held says something."""
    code = """
import resource, sys, torch, timm
from nns.backends.timm import TimmBackend
from nns.errors import WeightsError
from nns.types import ArchitectureSpec
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in ("vit_gigantic_patch14_224", "vit_gigantic_patch14_clip_378", "eva_giant_patch14_560"):
    try:
        TimmBackend().load(ArchitectureSpec("timm", name), {"w": torch.zeros(2)}, 10)
    except WeightsError as error:
        assert "they lack" in str(error)
    else:
        sys.exit(1)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 300


def test_building_is_planned_first():
    devices = []

    def build():
        devices.append(torch.zeros(1).device.type)
        return net()

    state = net().state_dict()
    assert isinstance(load_weights(build, SPEC, state), nn.Sequential)
    assert devices == ["meta", "cpu"]
    devices.clear()
    with pytest.raises(WeightsError):
        load_weights(build, SPEC, {})
    assert devices == ["meta"]


def test_what_cannot_be_planned_is_built():
    def build():
        if torch.zeros(1).is_meta:
            raise RuntimeError("no meta")
        return net()

    load_weights(build, SPEC, net().state_dict())
    with pytest.raises(WeightsError, match="they lack"):
        load_weights(build, SPEC, {})


ODD = {
    "complex": ("0.weight", lambda t: t.to(torch.complex64), "is of type torch.complex64"),
    "bool": ("0.weight", lambda t: t > 0, "is of type torch.bool"),
    "integers": ("0.weight", lambda t: t.to(torch.int32), "is of type torch.int32"),
    "a count of floats": ("1.num_batches_tracked", lambda t: t.float(), "is of type torch.float32"),
    "another shape": ("0.weight", lambda t: t[:1], "is of shape"),
    "one of one dimension": ("0.weight", lambda t: t.reshape(-1), "is of shape"),
    "NaN": ("0.weight", lambda t: t.fill_(float("nan")), "holds NaN"),
    "infinity": ("1.running_var", lambda t: t.fill_(float("inf")), "holds NaN"),
    "1e30": ("0.bias", lambda t: t.fill_(-1e30), "holds NaN or 1e"),
}


@pytest.mark.parametrize("what", ODD)
def test_what_does_not_fit(what):
    name, change, words = ODD[what]
    state = {key: tensor.clone() for key, tensor in net().state_dict().items()}
    state[name] = change(state[name])
    for module in (net, net()):
        with pytest.raises(WeightsError, match=words):
            load_weights(module, SPEC, state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_other_floats_are_fine(dtype):
    state = {
        key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in net().state_dict().items()
    }
    assert load_weights(net, SPEC, state)[0].weight.dtype == torch.float32
    assert torch.tensor(LARGEST) > 1e14


NAMES = [
    "resnet18.a/b",
    "resnet18.x:y",
    "resnet18.",
    "resnet18\n",
    "resnet18.a1_in1k\n",
    "resnet18.\x1b[2J",
    "hf-hub:a/b",
]
NAMES += [
    "resnet18.A1_in1k",
    " resnet18",
    "local-dir:/tmp",
    "resnet18.*",
    "resnet*",
    "",
    ".",
    "-s3",
    "resnet18.a1_in1k.b",
]


@pytest.mark.parametrize("name", NAMES)
def test_only_names_that_the_backend_lists(name):
    backend, spec = TimmBackend(), ArchitectureSpec("timm", name)
    for use in (
        lambda: backend.build(spec, 2),
        lambda: backend.load(spec, {}, 2),
        lambda: backend.preprocessing(spec),
        lambda: backend.license(ArchitectureSpec("timm", name, {}, "imagenet")),
    ):
        with pytest.raises(UnknownNameError) as caught:
            use()
        assert str(caught.value).isprintable()
    assert backend.read_config({"architecture": name, "num_classes": 2}) is None


def test_names_with_tags_and_cuts_are_fine():
    for name in ("resnet18", "resnet18.a1_in1k", "tf_efficientnet_lite0-s5", "tf_efficientnet_lite0.in1k-s3"):
        TimmBackend().build(ArchitectureSpec("timm", name), 2)


def test_every_name_of_the_starter_zoo_is_known():
    from nns import Zoo
    from nns.backends.timm.weights import check_name

    registry = installed_plugins()
    if not registry.names("zoo"):
        pytest.skip("the starter zoo is not installed")
    for entry in Zoo(registry.default_zoo(), registry=registry).store.entries():
        if entry.spec.backend == "timm":
            check_name(entry.spec.name)


def test_supernets_are_planned_too(monkeypatch):
    built = []
    from nns.backends.ofa import space, supernet

    build = supernet.build_supernet
    monkeypatch.setattr(
        supernet, "build_supernet", lambda *args: built.append(torch.zeros(1).device.type) or build(*args)
    )
    with pytest.raises(WeightsError):
        OfaBackend().load_supernet(space.largest_spec(0.5), {"w": torch.zeros(1)}, 3)
    assert built[:1] == ["meta"]
