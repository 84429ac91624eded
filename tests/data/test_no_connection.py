"""Files never make nns connect; the command line may."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import pytest

from nns import build as nns_build
from nns.data.extractors.resnet18 import RESNET18_VARIABLE, ResNet18Extractor
from nns.data.formats import refuse_connections
from nns.data.formats.torchvision import ROOT_VARIABLE
from nns.errors import UsageError, WeightsError
from nns.repro import DIGITS, ReproSettings, StageRecord
from nns.repro.lock import Lock, read_lock, write_lock


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """Whoever connects fails the test, and nothing has been fetched before."""
    monkeypatch.setattr(socket.socket, "connect", lambda *args: pytest.fail("connected"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: pytest.fail("asked for an address"))
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "torchvision"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv(RESNET18_VARIABLE, raising=False)


NAMES = ["torchvision:CIFAR10", "torchvision:MNIST", "torchvision:Flowers102", "torchvision:Country211"]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe(name, tmp_path, nns):
    (tmp_path / "recipe.toml").write_text(f'data = ["{name}"]\n')
    with pytest.raises(UsageError, match=f"a file never makes nns connect; fetch it first: `nns doctor {name}`"):
        nns_build(tmp_path / "zoo.h5", recipe=tmp_path / "recipe.toml")
    done = nns("zoo", "build", tmp_path / "zoo.h5", "--recipe", tmp_path / "recipe.toml")
    assert done.code == 2
    assert not (tmp_path / "zoo.h5").exists()


@pytest.mark.parametrize("query", [True, False])
def test_a_lock(query, tmp_path, nns):
    build = replace(DIGITS, data=(*DIGITS.data, NAMES[0]))
    names = {"queries": (NAMES[0],)} if query else {"build": build}
    stages = tuple(StageRecord(stage, {}, {}, {}) for stage in ReproSettings().covered)
    write_lock(tmp_path / "lock.json", Lock(ReproSettings(**names), 0.1, stages, {}))
    assert NAMES[0] in json.dumps(json.loads((tmp_path / "lock.json").read_text()))
    with pytest.raises(UsageError, match="never makes nns connect"):
        read_lock(tmp_path / "lock.json")
    assert nns("repro", "check", tmp_path / "lock.json").code == 2


def test_the_extractor_of_a_zoo():
    import numpy as np

    with pytest.raises(WeightsError, match="it has not been fetched.*'download' to have them fetched once"):
        ResNet18Extractor().extract(np.zeros((1, 3, 224, 224), np.uint8))


def test_what_is_here_may_be_named(tmp_path, write_digits):
    refuse_connections([str(write_digits(tmp_path / "d", (1, 2))), "torchvision:FakeData", "torchvision:NoSuch"], "x")
