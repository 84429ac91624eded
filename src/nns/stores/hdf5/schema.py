"""The closed schema of the format: every dataset that a zoo file may hold, with type and shape.

A letter in a shape is bound where it is first seen and must then be the same everywhere in its table;
``n`` is the number of rows that ``/format`` gives, and ``k`` that of the networks with a fingerprint. In version 2 each
network has one; version 3 has the column that says which, and is written only where some have none.
"""

from __future__ import annotations

FORMAT_NAME = "nns-zoo"
FORMAT_VERSION = 3
"""The latest version that is read and written."""

PLAIN_VERSION = 2
"""The version of a file all of whose networks have fingerprints, which older readers know as well."""

HEADER = "format"
SEAL = "seal"

Shape = tuple[str, ...]
Table = dict[str, tuple[str, Shape]]

META: Table = {
    "meta": ("<u1", ("meta",)),
    "meta_offset": ("<u8", ("n+1",)),
}

WEIGHTS: Table = {
    "frames": ("<u8", ("frames",)),
    "frames_offset": ("<u8", ("n+1",)),
    "weights_length": ("<u8", ("n",)),
    "weights_sha256": ("<u1", ("n", "32")),
    "digest": ("<u1", ("n", "32")),
}

NETWORKS: Table = {
    "id": ("S64", ("n",)),
    **META,
    "body_params": ("<u8", ("n",)),
    "body_macs": ("<u8", ("n",)),
    "body_bytes": ("<u8", ("n",)),
    "feature_dim": ("<u4", ("n",)),
    "classes": ("<u4", ("n",)),
    "accuracy": ("<f8", ("n",)),
    "graph": ("<f4", ("k", "g")),
    "kernel": ("<f4", ("k", "m", "m")),
    "surprise": ("<f4", ("k", "r", "q")),
    "topology": ("<f4", ("topology",)),
    "topology_offset": ("<u8", ("n+1",)),
    "functional": ("<f4", ("functional",)),
    "functional_offset": ("<u8", ("n+1",)),
    **WEIGHTS,
}

FINGERPRINTED = "networks/fingerprinted"
"""The column of version 3, ``u1 (n,)``: 1 for a network with a fingerprint, 0 for one without."""

SUPERNETS: Table = {"id": ("S64", ("n",)), **META, **WEIGHTS}

FRAMES: Table = {
    "sha256": ("<u1", ("n", "32")),
    "length": ("<u8", ("n",)),
    "codec": ("<u1", ("n",)),
    "item": ("<u1", ("n",)),
    "base": ("<i8", ("n",)),
    "data": ("<u1", ("data",)),
    "data_offset": ("<u8", ("n+1",)),
}

DATASETS: Table = {
    **META,
    "features": ("<f4", ("features",)),
    "features_offset": ("<u8", ("n+1",)),
    "labels": ("<i8", ("labels",)),
    "labels_offset": ("<u8", ("n+1",)),
    "digest": ("<u1", ("n", "32")),
}

TRANSFERS: Table = {**META}

LATENCIES: Table = {
    "devices": ("<u1", ("devices",)),
    "network": ("S64", ("n",)),
    "device": ("<u4", ("n",)),
    "seconds": ("<f8", ("n",)),
}

SPACE: Table = {
    "meta": ("<u1", ("meta",)),
    "tensors": ("<u1", ("tensors",)),
    "ids": ("S64", ("rows",)),
    "embeddings": ("<f4", ("rows", "dim")),
}


def tables(version: int) -> dict[str, Table]:
    """Return the tables of a version of the format."""
    if version == PLAIN_VERSION:
        return TABLES
    table, _, column = FINGERPRINTED.partition("/")
    return {**TABLES, table: {**TABLES[table], column: ("<u1", ("n",))}}


TABLES: dict[str, Table] = {
    "networks": NETWORKS,
    "supernets": SUPERNETS,
    "frames": FRAMES,
    "datasets": DATASETS,
    "transfers": TRANSFERS,
    "latencies": LATENCIES,
}
"""Tables with a number of rows in ``/format``."""

UNCHECKED = "frames/data"
"""The column without a checksum of its own: each frame in it has a sha256."""

ALIGNMENT_THRESHOLD = 65536
ALIGNMENT_INTERVAL = 4096

SEAL_BLOCK = 4 << 20
"""Bytes of a block of the file whose XXH3-128 goes into the seal."""

MAX_HEADER = 4 << 20
"""Bytes of ``/format``."""

MAX_JSON = 1 << 30
"""Bytes of one column of JSON."""

MAX_ROWS = 1 << 31
"""Rows of one table."""

MAX_WEIGHTS = 4 << 30
"""Bytes of the weights of one network; $NNS_MAX_WEIGHTS changes it."""

MAX_PART = 64 << 20
"""Bytes of what is read as a whole: a ragged row of numbers, the names of devices, the description of a space."""

MAX_TENSORS = 256 << 20
"""Bytes of the tensors of a space."""
