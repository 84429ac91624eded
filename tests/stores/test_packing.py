"""Weights in a file: each piece once, slices of supernets, differences to what was fine-tuned, and what it saves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from nns.errors import ZooError
from nns.stores import HDF5Store
from nns.testing._store import sample_network, sample_subnet, sample_supernet
from nns.types import Provenance


@pytest.fixture
def store(tmp_path):
    return HDF5Store(tmp_path / "zoo.h5")


def tensors(seed, scale=1.0):
    random = np.random.default_rng(seed)
    return {
        "body": (scale * random.standard_normal((128, 256))).astype(np.float32),
        "bias": random.standard_normal(256).astype(np.float32),
    }


def with_weights(number, weights, **changes):
    return replace(sample_network(number, **changes), weights=save(weights))


def codecs(store):
    return {name: frames for name, (frames, _, _) in store.packing().codecs.items()}


def test_subnets_are_slices_of_their_supernet(store):
    store.add_supernet(sample_supernet(1))
    subnets = [sample_subnet(number, 1, 30 + 5 * number) for number in range(4)]
    for subnet in subnets:
        store.add_network(subnet)
    whole = sum(len(subnet.weights) for subnet in subnets)
    assert store.packing().stored > whole
    store.merge()
    assert codecs(store)["slice"] == 4
    assert store.packing().stored < len(sample_supernet(1).weights)
    assert store.packing().ratio > 2
    for subnet in subnets:
        assert store.weights(subnet.entry.id) == subnet.weights


def test_a_fine_tuned_network_is_a_difference_to_its_base(store):
    base = tensors(0)
    tuned = {name: (array + 1e-4 * tensors(1)[name]).astype(np.float32) for name, array in base.items()}
    store.add_network(with_weights(1, base))
    store.add_network(with_weights(2, tuned, provenance=Provenance(base=sample_network(1).entry.id)))
    store.add_network(with_weights(3, tensors(5), provenance=Provenance(base=sample_network(1).entry.id)))
    store.merge()
    assert codecs(store)["difference"] == 2  # both tensors; another network in spite of its name is stored whole
    assert store.weights(sample_network(2).entry.id) == save(tuned)
    assert store.weights(sample_network(3).entry.id) == save(tensors(5))


def test_a_pretrained_network_is_the_base_without_being_named(store):
    spec = replace(sample_network(0).entry.spec, name="lite0", source="imagenet")
    base, random = tensors(0), np.random.default_rng(3)
    store.add_network(with_weights(1, base, spec=spec, source_digest=""))
    for number in (2, 3):
        tuned = {
            name: array + (1e-4 * random.standard_normal(array.shape)).astype("f4") for name, array in base.items()
        }
        store.add_network(with_weights(number, tuned, spec=spec))
    store.merge()
    assert codecs(store)["difference"] == 4


def test_no_chains_of_differences(store):
    arrays, random = [tensors(0)], np.random.default_rng(3)
    for _ in range(3):
        arrays.append({k: v + (1e-4 * random.standard_normal(v.shape)).astype("f4") for k, v in arrays[-1].items()})
    for number, array in enumerate(arrays):
        named = Provenance(base=sample_network(number - 1).entry.id if number else None)
        store.add_network(with_weights(number, array, provenance=named))
        store.merge()
    for number, array in enumerate(arrays):
        assert store.weights(sample_network(number).entry.id) == save(array)
    part = store._current().main
    bases = part.frames.base[part.frames.base >= 0]
    assert len(bases)
    assert (part.frames.base[bases] == -1).all()


def test_identical_pieces_are_stored_once(store):
    shared = tensors(0)
    for number in range(5):
        store.add_network(with_weights(number, {**shared, "head.w": tensors(number)["body"][:40]}))
    store.merge()
    packing = store.packing()
    assert packing.decoded > 5 * shared["body"].nbytes
    assert packing.stored < 1.2 * shared["body"].nbytes + 5 * 40 * 256 * 4


def test_a_base_may_go(store):
    """What was stored as a difference stays whole when its base is removed, also after garbage was collected."""
    base = tensors(0)
    tuned = {name: (array + 1e-4 * tensors(1)[name]).astype(np.float32) for name, array in base.items()}
    ids = [sample_network(number).entry.id for number in (1, 2)]
    store.add_network(with_weights(1, base))
    store.add_network(with_weights(2, tuned, provenance=Provenance(base=ids[0])))
    store.merge()
    with_base = store.packing().stored
    store.remove([ids[0]])
    assert store.weights(ids[1]) == save(tuned)
    assert store.packing().stored > 0.9 * with_base  # the base is needed still
    garbage = store.collect_garbage()
    assert codecs(store).get("difference", 0) == 0
    assert store.weights(ids[1]) == save(tuned)
    assert store.packing().stored < 0.7 * with_base
    assert garbage.bytes_after < garbage.bytes_before


def test_merging_copies_frames_and_checks_them(store, tmp_path):
    other = HDF5Store(tmp_path / "other.h5")
    other.add_supernet(sample_supernet(1))
    other.add_network(sample_subnet(1, 1))
    other.add_network(with_weights(2, tensors(0)))
    other.merge()
    store.add_network(with_weights(3, {**tensors(0), "head.w": tensors(1)["body"]}))
    store.merge()
    before = store.path.read_bytes()
    at = other._current().main.file.part("frames/data", 0, 1).offset
    data = bytearray(other.path.read_bytes())
    for offset in range(at + 20, len(data), 5000):  # damage all over the weights
        data[offset] ^= 0x10
    bad = tmp_path / "bad.h5"
    bad.write_bytes(data)
    with pytest.raises(ZooError, match="damaged"):
        store.absorb(HDF5Store(bad))
    assert store.path.read_bytes() == before
    store.absorb(other)
    assert codecs(store)["slice"] == 1
    assert len(store.ids()) == 3
    for number, weights in ((2, save(tensors(0))), (1, sample_subnet(1, 1).weights)):
        assert store.weights(sample_network(number).entry.id) == weights


def test_too_much_is_refused_before_it_is_read(store, monkeypatch):
    store.add_network(with_weights(1, tensors(0)))
    store.merge()
    monkeypatch.setenv("NNS_MAX_WEIGHTS", "100000")
    with pytest.raises(ZooError, match="set NNS_MAX_WEIGHTS"):
        store.weights(sample_network(1).entry.id)
    assert list(store.ids())
