"""Bringing a zoo to the current format version."""

from __future__ import annotations

import os
from pathlib import Path

from nns.errors import MissingZooError, ZooError
from nns.stores import HDF5Store, Migration, migrate
from nns.stores.hdf5.migrate import version_of


def migrate_zoo(path: str | os.PathLike[str]) -> Migration:
    """Write a zoo of an older format version anew, see :func:`nns.stores.migrate`; nothing is made of no zoo.

    Raises:
        MissingZooError: If there is no zoo.
        ZooError: If it is damaged, newer, or no zoo.
    """
    try:
        HDF5Store(path, must_exist=True)
    except MissingZooError:
        raise
    except ZooError:  # of an older version, or else this says what is wrong
        version_of(Path(path))
    return migrate(Path(path))
