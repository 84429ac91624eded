"""Networks whose weights are elsewhere: no fingerprint, no weights, and everything else as with others."""

from dataclasses import replace

import numpy as np
import pytest

from nns.errors import ZooError
from nns.places import AddressWeights, FileWeights, HubWeights
from nns.stores import HDF5Store
from nns.stores.hdf5.merge import merge
from nns.testing._store import assert_same, sample_network
from nns.types import NetworkRecord, Provenance
from nns.zoo import merge_zoos, verify_path

PLACES = (
    HubWeights("timm/resnet18.a1_in1k", "model.safetensors"),
    HubWeights("a/b", "sub/model.bin", "v1.0", 5, "0" * 64),
    AddressWeights("https://example.org/net.safetensors", bytes=10),
    FileWeights("nets/net.safetensors", 7, "f" * 64),
)


def reference(number, **changes):
    """A network without weights and fingerprint."""
    changes = {
        "weights": PLACES[number % len(PLACES)],
        "accuracy": float("nan"),
        "published": {"imagenet": 0.75, "imagenet-r": 0.25},
        "provenance": Provenance(epochs=300, images_seen=384_000_000),
    } | changes
    return NetworkRecord(sample_network(number, **changes).entry, None, b"")


@pytest.mark.parametrize("merged", [False, True], ids=["journal", "merged"])
@pytest.mark.parametrize("with_others", [False, True], ids=["alone", "among others"])
def test_read_back(tmp_path, merged, with_others):
    store = HDF5Store(tmp_path / "zoo.h5")
    records = [reference(number) for number in range(0, 8, 2)]
    records += [sample_network(number) for number in range(1, 6, 2)] if with_others else []
    for record in records:
        store.add_network(record)
    if merged:
        store.merge()
    records.sort(key=lambda record: record.entry.id)
    has = [record.fingerprint is not None for record in records]
    for where in (store, HDF5Store(tmp_path / "zoo.h5")):
        assert where.ids() == tuple(record.entry.id for record in records)
        for found, record in zip(where.entries(), records):
            assert_same(found, record.entry)
        assert where.columns().fingerprinted.tolist() == has
        assert np.isnan(where.columns().accuracy).tolist() == [not each for each in has]
        for record in records:
            assert_same(where.fingerprint(record.entry.id), record.fingerprint)
            assert where.weights(record.entry.id) == record.weights
        expected = [record.fingerprint.kernel for record in records if record.fingerprint is not None]
        assert where.kernels().shape[0] == where.graphs().shape[0] == where.surprises().shape[0] == len(expected)
        for found, kernel in zip(where.kernels(), expected):
            np.testing.assert_array_equal(found, kernel)
        assert where.fingerprint_shapes() == (((12,), (8, 8), (2, 8)) if with_others else None)
        assert where.format_version() == 3
    assert not verify_path(tmp_path / "zoo.h5")


def test_a_zoo_where_all_have_a_fingerprint_keeps_the_format_that_older_readers_know(tmp_path):
    store = HDF5Store(tmp_path / "zoo.h5")
    assert store.format_version() == 2
    store.add_all([sample_network(1), sample_network(2)])
    assert store.format_version() == 2
    store.add_all([reference(3)])
    assert store.format_version() == 3
    digest = store.digest()
    store.remove([sample_network(3).entry.id])
    assert (store.format_version(), store.digest() == digest) == (2, False)
    np.testing.assert_array_equal(store.kernels()[1], sample_network(2).fingerprint.kernel)


def test_many_at_once_and_with_other_zoos(tmp_path):
    one, two = HDF5Store(tmp_path / "one.h5"), HDF5Store(tmp_path / "two.h5")
    one.add_all([reference(number) for number in (0, 2, 4)])
    two.add_all([sample_network(1), reference(2), sample_network(3), reference(5)])
    merge_zoos(tmp_path / "out.h5", [tmp_path / "one.h5", tmp_path / "two.h5"])
    merge(tmp_path / "out.h5")
    out = HDF5Store(tmp_path / "out.h5")
    assert out.columns().fingerprinted.tolist() == [False, True, False, True, False, False]
    assert not verify_path(tmp_path / "out.h5")
    garbage = out.collect_garbage()
    assert garbage.supernets == ()
    assert_same(out.fingerprint(out.ids()[3]), sample_network(3).fingerprint)
    assert out.fingerprint(out.ids()[4]) is None


def test_a_reference_has_no_shapes_to_fit(tmp_path):
    store = HDF5Store(tmp_path / "zoo.h5")
    store.add_all([reference(1)])
    store.add_network(sample_network(2))
    store.add_network(reference(3))
    other = sample_network(4)
    wide = replace(other, fingerprint=replace(other.fingerprint, graph=np.zeros(13, np.float32)))
    with pytest.raises(ZooError, match="other shapes|fingerprint of shapes"):
        store.add_network(wide)


def test_the_same_network_with_and_without_fingerprint_is_not_the_same(tmp_path):
    store = HDF5Store(tmp_path / "zoo.h5")
    store.add_network(reference(1))
    store.add_network(reference(1))
    with pytest.raises(ZooError, match="other content"):
        store.add_network(replace(reference(1), fingerprint=sample_network(1).fingerprint))


@pytest.mark.parametrize(
    "wrong",
    [
        {"repo": "noslash"},
        {"repo": "a/b/c"},
        {"repo": "../b"},
        {"repo": "a/..b"},
        {"repo": "a/b--c"},
        {"repo": "a/b.git"},
        {"repo": "a/b?x"},
        {"repo": "a/b\n"},
        {"repo": "http://evil.example/a"},
        {"repo": "a" * 200 + "/b"},
        {"repo": 7},
        {"file": "../up.bin"},
        {"file": "/etc/passwd"},
        {"file": "a//b"},
        {"file": "a\\b"},
        {"file": "c:x"},
        {"file": ""},
        {"file": "a\0b"},
        {"file": None},
        {"revision": "../main"},
        {"revision": "-x"},
        {"revision": "a b"},
        {"revision": 7},
        {"bytes": -1},
        {"bytes": True},
        {"bytes": 1.5},
        {"bytes": 100 * 10**9 + 1},
        {"sha256": "0" * 63},
        {"sha256": "G" * 64},
        {"sha256": 5},
    ],
    ids=repr,
)
def test_hub_refuses(wrong):
    with pytest.raises(ValueError, match="is not|are not"):
        HubWeights(**{"repo": "org/name", "file": "model.safetensors", **wrong})


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "http://example.org/x",
        "http://127.0.0.1.example.org/x",
        "ftp://example.org/x",
        "https://user:word@example.org/x",
        "https:///x",
        "https://example.org",
        "https://example.org/../x",
        "https://example.org/x y",
        "https://example.org/x\n",
        "https://example.org/x#y",
        "https://[::1/x",
        "simplecache::https://example.org/x",
        "s3://bucket/x::file:///etc/passwd",
        "s3://",
        "https://example.org/" + "x" * 2048,
        b"https://example.org/x",
        None,
    ],
    ids=repr,
)
def test_address_refuses(url):
    with pytest.raises(ValueError, match="address|IPv6"):
        AddressWeights(url)


def test_address_takes():
    for url in ("https://example.org/a/b.pth?download=1", "s3://bucket/key.safetensors", "http://127.0.0.1:8080/x"):
        assert AddressWeights(url, 5, "0" * 64).host == url.split("/")[2]


def test_an_address_may_know_the_beginning_of_a_digest():
    assert AddressWeights("https://example.org/x-0123abcd.pth", None, "0123abcd").sha256 == "0123abcd"
    for digest in ("0123abc", "0123ABCD", "0" * 65, "0123abcx", 12345678):
        with pytest.raises(ValueError, match="8 to 64 hex digits"):
            AddressWeights("https://example.org/x", None, digest)
    with pytest.raises(ValueError, match="64 hex digits"):
        HubWeights("org/name", "x.pth", None, None, "0123abcd")


@pytest.mark.parametrize("path", ["..", "a/../b", "/a", "a/", "./a", "", "c:/a", "a\\..\\b", None])
def test_file_refuses(path):
    with pytest.raises(ValueError, match="not below"):
        FileWeights(path, 5, "0" * 64)


@pytest.mark.parametrize(
    "published", [{"imagenet": 1.5}, {"": 0.5}, {"Imagenet!": 0.5}, {f"d{i}": 0.5 for i in range(65)}], ids=repr
)
def test_published_accuracies_are_checked(tmp_path, published):
    store = HDF5Store(tmp_path / "zoo.h5")
    with pytest.raises(ValueError, match="published"):
        store.add_network(reference(1, published=published))
