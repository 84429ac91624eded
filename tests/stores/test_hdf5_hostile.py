"""Files from strangers, damaged files, and files that are something else."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import socket

import h5py
import numpy as np
import pytest

from nns.errors import NnsError, ZooError
from nns.stores import HDF5Store, canonical_json
from nns.stores._codec import parse_json
from nns.stores.hdf5 import shards
from nns.testing._store import assert_same, sample_dataset, sample_network, sample_space
from nns.types import LatencyRecord
from nns.zoo import verify_path


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "zoo.h5"
    fill(HDF5Store(path))
    return path


@pytest.fixture
def path(good, tmp_path):
    return shutil.copy(good, tmp_path / "zoo.h5")


def fill(store):
    for number in range(3):
        store.add_network(sample_network(number))
    store.add_dataset(sample_dataset("birds"))
    store.put_space(sample_space("default"))
    store.put_latencies([LatencyRecord("a", "cpu", 0.5)])
    store.merge()


def everything(store):
    return [
        store.entries(),
        [(store.weights(name), store.fingerprint(name), store.network_digest(name)) for name in store.ids()],
        store.graphs(),
        store.kernels(),
        store.datasets(),
        [store.space(name) for name in store.spaces()],
        [store.latencies(name) for name in store.devices()],
        store.digest(),
    ]


def refused(path, match):
    with pytest.raises(ZooError, match=match) as caught:
        everything(HDF5Store(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def replace_dataset(path, name, make):
    with h5py.File(path, "r+") as file:
        old = file[name][()]
        del file[name]
        make(file, name, old)


def external_storage(file, name, old):
    file.create_dataset(name, old.shape, old.dtype, external=[("/etc/passwd", 0, old.nbytes)])


def virtual(file, name, old):
    layout = h5py.VirtualLayout(old.shape, old.dtype)
    layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", old.shape)
    file.create_virtual_dataset(name, layout)


def alias(file, name, old):
    file[name] = file["networks/weights_sha256"]


HOSTILE = {
    "external link": lambda file, name, old: file.__setitem__(name, h5py.ExternalLink("/etc/passwd", "/x")),
    "soft link": lambda file, name, old: file.__setitem__(name, h5py.SoftLink("/networks/weights_sha256")),
    "soft loop": lambda file, name, old: file.__setitem__(name, h5py.SoftLink(name)),
    "second name": alias,
    "external storage": external_storage,
    "virtual": virtual,
    "chunks": lambda file, name, old: file.create_dataset(name, data=old, chunks=True),
    "gzip": lambda file, name, old: file.create_dataset(name, data=old, compression="gzip"),
    "vlen": lambda file, name, old: file.create_dataset(name, len(old), h5py.vlen_dtype(np.uint8)),
    "strings": lambda file, name, old: file.create_dataset(name, data=["a"] * 3, dtype=h5py.string_dtype()),
    "compound": lambda file, name, old: file.create_dataset(name, 3, [("a", "u1", 32)]),
    "opaque": lambda file, name, old: file.create_dataset(name, old.shape, "V1"),
    "reference": lambda file, name, old: file.create_dataset(name, old.shape, h5py.ref_dtype),
    "enumeration": lambda file, name, old: file.create_dataset(name, old.shape, h5py.enum_dtype({"a": 1}, "u1")),
    "signed": lambda file, name, old: file.create_dataset(name, data=old.astype("i1")),
    "wide": lambda file, name, old: file.create_dataset(name, data=old.astype("u2")),
    "fewer rows": lambda file, name, old: file.create_dataset(name, data=old[:2]),
    "scalar": lambda file, name, old: file.create_dataset(name, data=np.uint8(1)),
    "empty": lambda file, name, old: file.create_dataset(name, data=h5py.Empty("u1")),
    "group": lambda file, name, old: file.create_group(name),
    "missing": lambda file, name, old: None,
    "not allocated": lambda file, name, old: file.create_dataset(name, old.shape, old.dtype),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_columns_that_are_not_plain(path, kind):
    replace_dataset(path, "networks/digest", HOSTILE[kind])
    refused(path, "no valid zoo file")


def test_huge_declared_column(path):
    make = lambda file, name, old: file.create_dataset(name, (2**42,), "u1")
    replace_dataset(path, "networks/weights", make)
    refused(path, "weights does not lie inside the file")


@pytest.mark.parametrize("name", ["/", "networks", "networks/weights", "format", "spaces/default"])
def test_attributes(path, name):
    with h5py.File(path, "r+") as file:
        file[name].attrs["x"] = "text of any length"
    refused(path, "attributes")


def test_group_that_is_elsewhere(path):
    with h5py.File(path, "r+") as file:
        del file["networks"]
        file["networks"] = h5py.ExternalLink("other.h5", "/networks")
    refused(path, "link to elsewhere")


def with_format(path, **changes):
    def make(file, name, old):
        value = parse_json(old.tobytes(), "format") | changes
        value.pop("sha256")
        value["sha256"] = hashlib.sha256(canonical_json(value)).hexdigest()
        file[name] = np.frombuffer(canonical_json(value), np.uint8)

    replace_dataset(path, "format", make)


def test_newer_version(path):
    with_format(path, version=2)
    refused(path, r"format version 2, this nns reads up to 1; upgrade nns")


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"version": "1"},
        {"version": 1.5},
        {"format": "other"},
        {"networks": 2},
        {"networks": 2**40},
        {"networks": -1},
        {"networks": True},
        {"datasets": 2},
        {"spaces": ["missing"]},
        {"spaces": ["default", "default"]},
        {"spaces": ["../networks"]},
        {"spaces": ["."]},
        {"spaces": "default"},
        {"spaces": [1]},
        {"merged": None},
    ],
)
def test_header_that_does_not_fit(path, changes):
    with_format(path, **changes)
    refused(path, "zoo")


def overwrite(path, name, change):
    with h5py.File(path, "r+") as file:
        data = file[name][()]
        change(data)
        file[name][...] = data


@pytest.mark.parametrize("column", ["meta", "topology", "functional", "weights"])
@pytest.mark.parametrize("value", [2**64 - 1, 2**40, 0])
def test_offsets_out_of_order(path, column, value):
    overwrite(path, f"networks/{column}_offset", lambda data: data.__setitem__(2, value))
    if value or column == "meta":
        refused(path, "damaged|JSON")
    assert verify_path(path)


@pytest.mark.parametrize("name", [b"../../x", b"", b"0000000000000001", b"\xff\xfe", b"\x1b[31m", b"a b"])
def test_ids_that_are_not_allowed(path, name):
    overwrite(path, "networks/id", lambda data: data.__setitem__(0, name))
    refused(path, "damaged")


@pytest.mark.parametrize(
    "meta", [b"", b"{", b"[]", b"null", b"NaN", b"[" * 100_000, b'{"id":"x"}', b"\xff", b"9" * 5000, b"{},{},{}"]
)
def test_descriptions_that_do_not_fit(path, meta):
    with h5py.File(path, "r+") as file:
        rows = meta + b"\n"
        for name in ("meta", "meta_offset", "meta_sha256"):
            del file[f"networks/{name}"]
        file["networks/meta"] = np.frombuffer(3 * rows, "u1")
        file["networks/meta_offset"] = np.arange(4, dtype="u8") * len(rows)
        file["networks/meta_sha256"] = shards.sha256_column(3 * rows)
    refused(path, "zoo.h5")
    with pytest.raises(ZooError, match="zoo.h5"):
        HDF5Store(path).entry(sample_network(1).entry.id)
    assert verify_path(path)


def test_not_a_zoo(tmp_path):
    path = tmp_path / "file.h5"
    for content in (b"", b"hello", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + os.urandom(2000), b"x" * 10_000):
        path.write_bytes(content)
        refused(path, "zoo")
    with h5py.File(path, "w") as file:
        file["x"] = [1]
    refused(path, "no valid zoo file")
    with h5py.File(path, "w") as file:
        file["format"] = np.frombuffer(b'{"format":"something"}', np.uint8)
    refused(path, "no zoo")


def test_not_a_regular_file(path, tmp_path):
    link, pipe, here = tmp_path / "link.h5", tmp_path / "pipe.h5", tmp_path / "socket.h5"
    link.symlink_to(path)
    refused(link, "symbolic link; give the path of the file itself")
    os.mkfifo(pipe)
    refused(pipe, "not a regular file")
    refused(tmp_path, "not a regular file")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(here))
        refused(here, "cannot be opened")


def test_linked_shard(path, tmp_path):
    store = HDF5Store(tmp_path / "new.h5")
    store.add_network(sample_network(1))
    folder = tmp_path / "new.h5.journal"
    (name,) = os.listdir(folder)
    os.rename(folder / name, tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(ZooError, match="symbolic link"):
        HDF5Store(store.path).ids()


def test_truncated(path, good):
    whole = good.read_bytes()
    for length in random.Random(0).sample(range(len(whole)), 40):
        path.write_bytes(whole[:length])
        with pytest.raises(ZooError):
            everything(HDF5Store(path))


def test_flipped_bits_never_pass(path, good):
    """Either verifying finds it, or it is where nothing is kept: then all is as it was."""
    whole, expected = good.read_bytes(), everything(HDF5Store(good))
    choose, found = random.Random(0), 0
    for _ in range(150):
        at, changed = choose.randrange(len(whole)), bytearray(whole)
        changed[at] ^= 1 << choose.randrange(8)
        path.write_bytes(changed)
        problems = verify_path(path)
        found += bool(problems)
        if not problems:
            same(everything(HDF5Store(path)), expected)
    assert found > 30


def same(found, expected):
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    else:
        assert_same(found, expected)


def test_mutated_files_raise_nothing_else(path, good):
    whole, choose = good.read_bytes(), random.Random(1)
    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(choose.choice([1, 4, 16])):
            at = choose.randrange(len(whole))
            changed[at : at + choose.choice([1, 4, 8])] = choose.randbytes(choose.choice([1, 4, 8]))
        path.write_bytes(changed[: len(whole)])
        try:
            everything(HDF5Store(path))
        except NnsError as error:
            assert "\n" not in str(error)
