"""The starter zoo: found, whole, and of use at every size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from nns_zoo_starter import ZOO
from PIL import Image

import nns
from nns.places import HubWeights
from nns.plugins import load_plugins
from nns.zoo import Zoo, verify_path

MB = 1_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Stripes that lean to either side."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:48, :48]
    for name, lean in (("left", 1), ("right", -1)):
        (tmp_path / name).mkdir()
        for number in range(12):
            stripes = np.sin((rows + lean * columns) / rng.uniform(2, 5) + rng.uniform(0, 6))
            Image.fromarray(((stripes + 1) * 127).astype(np.uint8)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_it_is_the_zoo_where_no_other_is_named(monkeypatch):
    monkeypatch.delenv("NNS_ZOO", raising=False)
    assert load_plugins().default_zoo() == ZOO
    assert ZOO.stat().st_size <= 25 * MB


def test_it_verifies():
    assert not verify_path(ZOO)


def test_what_is_on_this_disk_loads_and_runs():
    with Zoo(ZOO) as zoo:
        here = [network for network in zoo.networks() if not isinstance(network.entry.weights, HubWeights)]
        assert len(here) >= 15
        for network in here:
            module = network.load(classes=3)
            assert sum(p.numel() for p in module.parameters()) == network.entry.cost.params(3), network.spec.name
            with torch.no_grad():
                assert module(torch.zeros(1, 3, 64, 64)).isfinite().all()


def test_what_others_host_says_where_it_is_and_under_which_licence():
    with Zoo(ZOO) as zoo:
        elsewhere = [each.entry for each in zoo.networks() if isinstance(each.entry.weights, HubWeights)]
    assert len(elsewhere) == 755
    for entry in elsewhere:
        assert entry.license
        assert entry.weights.file.endswith((".safetensors", ".bin"))
        assert entry.cost.body_params <= 30_000_000
        assert all(0 < value < 1 for value in entry.published.values())


@pytest.mark.parametrize("limit", ["600k", "1M", "2M", "5M"])
def test_at_every_size_something_that_knows_something_is_first(folder, limit):
    found = nns.search(folder, zoo=ZOO, max_params=limit, offline=True)
    first = found.candidates[0].entry
    assert first.source_dataset in {"imagenet-1k", "starter-pictures"}
    assert found.candidates[0].params <= {"600k": 0.6e6, "1M": 1e6, "2M": 2e6, "5M": 5e6}[limit]
