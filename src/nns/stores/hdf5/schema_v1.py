"""The tables of format version 1 (2026), which `nns zoo migrate` reads."""

from __future__ import annotations

from nns.stores.hdf5.schema import Table

NETWORKS: Table = {
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

DATASETS: Table = {
    "meta": ("<u1", ("meta",)),
    "meta_offset": ("<u8", ("n+1",)),
    "meta_sha256": ("<u1", ("32",)),
    "features": ("<f4", ("features",)),
    "features_offset": ("<u8", ("n+1",)),
    "labels": ("<i8", ("labels",)),
    "labels_offset": ("<u8", ("n+1",)),
    "digest": ("<u1", ("n", "32")),
}

LATENCY: Table = {
    "devices": ("<u1", ("devices",)),
    "network": ("S64", ("n",)),
    "device": ("<u4", ("n",)),
    "seconds": ("<f8", ("n",)),
    "sha256": ("<u1", ("32",)),
}

TABLES: dict[str, Table] = {"networks": NETWORKS, "datasets": DATASETS, "latencies": LATENCY}
