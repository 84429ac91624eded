"""Where the networks, datasets and spaces of a zoo are stored: :class:`HDF5Store`, one file (docs/zoo-format.md).

Importing this package loads neither h5py nor torch.
"""

from nns.stores._digest import (
    TIMING_KEYS,
    canonical_json,
    dataset_content_digest,
    network_content_digest,
    supernet_content_digest,
    without_timing,
)
from nns.stores.hdf5.schema import FORMAT_VERSION
from nns.stores.hdf5.store import HDF5Store

__all__ = [
    "FORMAT_VERSION",
    "TIMING_KEYS",
    "HDF5Store",
    "canonical_json",
    "dataset_content_digest",
    "network_content_digest",
    "supernet_content_digest",
    "without_timing",
]
