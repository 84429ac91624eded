"""The closed schema of format version 1: every dataset that a zoo file may hold, with type and shape.

A letter in a shape is bound where it is first seen and must then be the same everywhere in its table;
``n`` is the number of rows that ``/format`` gives.
"""

from __future__ import annotations

FORMAT_NAME = "nns-zoo"
FORMAT_VERSION = 1
HEADER = "format"

Shape = tuple[str, ...]

NETWORKS: dict[str, tuple[str, Shape]] = {
    "id": ("S64", ("n",)),
    "meta": ("<u1", ("meta",)),
    "meta_offset": ("<u8", ("n+1",)),
    "meta_sha256": ("<u1", ("32",)),
    "graph": ("<f4", ("n", "g")),
    "kernel": ("<f4", ("n", "m", "m")),
    "surprise": ("<f4", ("n", "r", "q")),
    "topology": ("<f4", ("topology",)),
    "topology_offset": ("<u8", ("n+1",)),
    "functional": ("<f4", ("functional",)),
    "functional_offset": ("<u8", ("n+1",)),
    "weights": ("<u1", ("weights",)),
    "weights_offset": ("<u8", ("n+1",)),
    "weights_sha256": ("<u1", ("n", "32")),
    "digest": ("<u1", ("n", "32")),
}

DATASETS: dict[str, tuple[str, Shape]] = {
    "meta": ("<u1", ("meta",)),
    "meta_offset": ("<u8", ("n+1",)),
    "meta_sha256": ("<u1", ("32",)),
    "features": ("<f4", ("features",)),
    "features_offset": ("<u8", ("n+1",)),
    "labels": ("<i8", ("labels",)),
    "labels_offset": ("<u8", ("n+1",)),
    "digest": ("<u1", ("n", "32")),
}

SPACE: dict[str, tuple[str, Shape]] = {
    "meta": ("<u1", ("meta",)),
    "tensors": ("<u1", ("tensors",)),
    "ids": ("S64", ("rows",)),
    "embeddings": ("<f4", ("rows", "dim")),
}

LATENCY: dict[str, tuple[str, Shape]] = {
    "devices": ("<u1", ("devices",)),
    "network": ("S64", ("n",)),
    "device": ("<u4", ("n",)),
    "seconds": ("<f8", ("n",)),
    "sha256": ("<u1", ("32",)),
}

ALIGNMENT_THRESHOLD = 65536
ALIGNMENT_INTERVAL = 4096

MAX_HEADER = 16 << 20
"""Bytes of ``/format``."""

MAX_JSON = 1 << 30
"""Bytes of one column of JSON."""

MAX_ROWS = 1 << 31
"""Rows of one table."""
