from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from nns.stores import HDF5Store, MemoryStore
from nns.testing._store import StoreContract, assert_same, sample_network


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self):
        return MemoryStore()


class TestHDF5Store(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return HDF5Store(tmp_path / "zoo.h5")


class TestHDF5StoreReopened(StoreContract):
    """Each read comes from a store that was just opened."""

    @pytest.fixture
    def store(self, tmp_path):
        class Reopened(HDF5Store):
            def _current(self):
                self.close()
                return super()._current()

        return Reopened(tmp_path / "zoo.h5")


def test_pickled_store_is_its_path(tmp_path):
    store = HDF5Store(tmp_path / "zoo.h5")
    store.add_network(sample_network(1))
    assert_same(pickle.loads(pickle.dumps(store)).entries()[0], sample_network(1).entry)


def test_import_is_light():
    code = "import sys, nns.stores, nns.zoo; print(sorted({'h5py', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
