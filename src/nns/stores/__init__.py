"""Stores: where the networks, datasets and spaces of a zoo are kept.

:class:`HDF5Store` keeps a zoo in one file (docs/zoo-format.md), :class:`MemoryStore` keeps it in memory.
Importing this package loads neither h5py nor torch.
"""

from nns.stores._base import Store
from nns.stores._digest import (
    TIMING_KEYS,
    canonical_json,
    dataset_content_digest,
    network_content_digest,
    supernet_content_digest,
    without_timing,
)
from nns.stores.hdf5 import HDF5Store
from nns.stores.hdf5.migrate import Migration, migrate
from nns.stores.hdf5.schema import FORMAT_VERSION
from nns.stores.memory import MemoryStore

__all__ = [
    "FORMAT_VERSION",
    "TIMING_KEYS",
    "HDF5Store",
    "MemoryStore",
    "Migration",
    "Store",
    "canonical_json",
    "dataset_content_digest",
    "migrate",
    "network_content_digest",
    "supernet_content_digest",
    "without_timing",
]
