"""Latency: measured once a network and device, kept in the zoo."""

from __future__ import annotations

import pytest

import nns.networks.latency
from nns import Zoo
from nns.errors import UnknownNameError
from nns.networks import latencies
from nns.types import NetworkRecord


@pytest.fixture
def measured(monkeypatch):
    """The networks that were measured, in order; each takes as many milliseconds as its input has pixels a side."""
    calls = []

    def measure(module, preprocessing, device):
        calls.append(module)
        return preprocessing.size / 1000

    monkeypatch.setattr(nns.networks.latency, "measure_latency", measure)
    return calls


@pytest.fixture
def zoo(small_zoo, tmp_path):
    """A zoo of its own with the three networks of the example backend."""
    copied = Zoo(tmp_path / "zoo.h5", must_exist=False)
    with Zoo(small_zoo.path) as zoo:
        for entry in zoo.store.entries():
            if entry.spec.backend == "example":
                fingerprint, weights = zoo.store.fingerprint(entry.id), zoo.store.weights(entry.id)
                record = NetworkRecord(entry, fingerprint, weights)
                copied.store.add_network(record)
    return copied


def test_a_second_call_measures_nothing(zoo, measured):
    steps = []
    first = latencies(zoo, zoo.store.ids()[:2], "cpu", lambda done, total: steps.append((done, total)))
    assert first == dict.fromkeys(zoo.store.ids()[:2], 0.032)
    assert (len(measured), steps) == (2, [(1, 2), (2, 2)])
    assert latencies(zoo, zoo.store.ids(), "cpu") == dict.fromkeys(zoo.store.ids(), 0.032)
    assert len(measured) == 3
    assert latencies(zoo, zoo.store.ids(), "cpu") == dict.fromkeys(zoo.store.ids(), 0.032)
    assert len(measured) == 3


def test_the_zoo_of_an_installed_plugin_stays_as_it_was_installed(zoo, measured, monkeypatch):
    """pip knows its digest, and in a developer's checkout it is a file of git."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(zoo.store.path.parent / "cache"))
    monkeypatch.setattr(type(zoo.registry), "default_zoo", lambda registry: zoo.store.path)
    zoo.store.merge()
    before = zoo.store.path.read_bytes()
    assert latencies(zoo, zoo.store.ids(), "cpu") == dict.fromkeys(zoo.store.ids(), 0.032)
    assert latencies(zoo, zoo.store.ids(), "cpu") == dict.fromkeys(zoo.store.ids(), 0.032)
    assert len(measured) == 3, "they are remembered for this user"
    assert zoo.store.path.read_bytes() == before
    assert not zoo.store.path.with_name("zoo.h5.journal").exists()


def test_what_was_measured_before_an_interrupt_is_kept(small_zoo, tmp_path, monkeypatch):
    taken = iter([0.25])

    def measure(module, preprocessing, device):
        for seconds in taken:
            return seconds
        raise KeyboardInterrupt

    monkeypatch.setattr(nns.networks.latency, "measure_latency", measure)
    path = small_zoo.copy(tmp_path)
    with Zoo(path) as zoo:
        chosen = [entry.id for entry in zoo.store.entries() if entry.spec.backend == "example"]
        with pytest.raises(KeyboardInterrupt):
            latencies(zoo, chosen, "cpu")
    with Zoo(path) as zoo:
        (device,) = zoo.info().devices
        assert zoo.store.latencies(device) == {chosen[0]: 0.25}


def test_a_zoo_that_cannot_be_written_is_measured_all_the_same(zoo, measured, monkeypatch, caplog):
    def refuse(records):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(zoo.store, "latencies", lambda device: {})
    monkeypatch.setattr(zoo.store, "put_latencies", refuse)
    assert len(latencies(zoo, zoo.store.ids(), "cpu")) == 3
    assert "cannot be kept" in caplog.text


def test_a_stored_network_comes_back_as_it_was_trained(zoo):
    import torch

    module = zoo.network(zoo.store.ids()[0]).load()
    assert not module.training
    from safetensors.torch import load

    stored = load(zoo.store.weights(zoo.store.ids()[0]))
    assert stored.keys() == module.state_dict().keys()
    assert all(torch.equal(stored[name], tensor) for name, tensor in module.state_dict().items())
    with pytest.raises(UnknownNameError):
        zoo.network("zzz")
