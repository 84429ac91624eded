"""Every column of a zoo file, in every wrong form; flipped bits; files changed at random."""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from nns.errors import ZooError
from nns.stores import HDF5Store
from nns.stores.hdf5 import schema
from nns.stores.hdf5.file import ZooFile
from nns.zoo import verify_path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from store import hostile, making, mutations

COLUMNS = [
    schema.HEADER,
    schema.SEAL,
    *(f"{table}/{column}" for table, columns in schema.TABLES.items() for column in columns),
    *(f"spaces/mixed/{column}" for column in schema.SPACE),
]
FORMS = ("external storage", "external link", "soft link", "second name of the root", "chunks", "vlen", "compound")
FORMS += ("object reference", "huge shape", "scalar", "one axis more", "a group in place of a column", "missing")


@pytest.fixture(scope="module")
def good():
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield making.good_zoo(Path(folder) / "good.h5")


def opening(path):
    """Give the sentence with which a file is refused."""
    with pytest.raises(ZooError) as caught:
        ZooFile(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("column", COLUMNS)
def test_columns_that_are_not_plain(column, good, tmp_path):
    """Checksums are left as they were: none is looked at before the form."""
    path, folder = tmp_path / "zoo.h5", hostile.canary(tmp_path / "zoo.h5")
    for form in FORMS:
        shutil.copyfile(good.path, path)
        with h5py.File(path, "r+") as file:
            old = file[column][()]
            del file[column]
            hostile.SWAPS[form](file, column, old, folder)
        opening(path)


@pytest.mark.parametrize("column", COLUMNS)
def test_columns_of_another_type(column, good, tmp_path):
    path = tmp_path / "zoo.h5"
    for kind in ("i1", "u2", "u4", "i4", ">u8", ">f4", "f2", "f8", "S64", "S63", "V1", bool):
        shutil.copyfile(good.path, path)
        with h5py.File(path, "r+") as file:
            old = file[column]
            if old.dtype == np.dtype(kind):
                continue
            shape = old.shape
            del file[column]
            file.create_dataset(column, data=np.zeros(shape, kind))
        assert f"is not of type {dtype_of(column)}" in opening(path)


def dtype_of(column):
    if column in (schema.HEADER, schema.SEAL):
        return "<u1"
    table, _, leaf = column.rpartition("/")
    return schema.TABLES.get(table, schema.SPACE)[leaf][0]


@pytest.mark.parametrize("name", ["/", "spaces", "spaces/mixed", *schema.TABLES, *COLUMNS])
def test_attributes(name, good, tmp_path):
    path = tmp_path / "zoo.h5"
    shutil.copyfile(good.path, path)
    with h5py.File(path, "r+") as file:
        file[name].attrs["x"] = "text of any length"
    assert "attributes" in opening(path)


@pytest.mark.parametrize("column", [column for column in COLUMNS if column not in (schema.HEADER, schema.SEAL)])
def test_damaged_columns(column, good, tmp_path):
    """Damage is noticed when a column is first read, and by its sha256 or that of a frame."""
    path = tmp_path / "zoo.h5"
    shutil.copyfile(good.path, path)
    with h5py.File(path, "r+") as file:
        place, size = file[column].id.get_offset(), file[column].nbytes
    with path.open("r+b") as raw:
        raw.seek(place + size // 2)
        byte = raw.read(1)[0]
        raw.seek(place + size // 2)
        raw.write(bytes([byte ^ 4]))
    assert verify_path(path)
    if column != "frames/sha256":  # which readers have no need of: they look at that of the whole weights
        with pytest.raises(ZooError, match=r"checksum|sha256|frame \d+"), HDF5Store(path) as store:
            hostile.read_everything(store)


def test_not_a_zoo(tmp_path):
    path = tmp_path / "file.h5"
    for content in (b"", b"hello", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + os.urandom(2000), b"x" * 10_000):
        path.write_bytes(content)
        opening(path)
    with h5py.File(path, "w") as file:
        file["x"] = [1]
    assert "no valid zoo file" in opening(path)
    with h5py.File(path, "w") as file:
        file["format"] = np.frombuffer(b'{"format":"something"}', np.uint8)
    assert "no zoo" in opening(path)


def test_truncated(good, tmp_path):
    path, whole = tmp_path / "zoo.h5", good.whole
    for length in random.Random(0).sample(range(len(whole)), 60):
        path.write_bytes(whole[:length])
        opening(path)


def outcomes(maker, count, folder):
    folder.mkdir()
    return [maker.try_one(number, folder) for number in range(count)]


def test_every_flipped_bit_is_found(tmp_path):
    """Anywhere in a zoo or in a shard; the benchmark tries a thousand."""
    (tmp_path / "made").mkdir()
    found = outcomes(mutations.Maker(tmp_path / "made", 1, flips=True), 100, tmp_path / "tried")
    assert {what for _, what, _ in found} == {"found"}


def test_mutated_files(tmp_path):
    """Refused, or everything is as it was; or, with right checksums, another zoo. The benchmark tries 10,000."""
    (tmp_path / "made").mkdir()
    found = outcomes(mutations.Maker(tmp_path / "made", 1, flips=False), 300, tmp_path / "tried")
    assert not [outcome for outcome in found if outcome[1] in mutations.BAD]
    assert {"refused", "same", "found", "another"} >= {what for _, what, _ in found}
