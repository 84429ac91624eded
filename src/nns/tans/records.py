"""Published networks and datasets as records of a zoo."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.building.checkpoints import NO_LICENSE
from nns.data.extractors import RESNET18_EXTRACTOR
from nns.errors import ZooError
from nns.tans.architectures import IMAGE_SIZE, count_subnets, largest_spec, specs_of
from nns.types import (
    ArchitectureSpec,
    DatasetRecord,
    Fingerprint,
    NetworkEntry,
    NetworkRecord,
    Preprocessing,
    Provenance,
)
from nns.zoo import network_id

if TYPE_CHECKING:
    from nns.tans.layout import PublishedDataset, PublishedNetworks

RECIPE = "tans"
"""Recipe in the provenance of what was imported."""

SEED = 0


def dataset_record(dataset: PublishedDataset) -> DatasetRecord:
    """Describe a dataset; which class an image is of is not published, nor are all images counted.

    Its digest is that of its name, classes and features, as the images themselves are not known.
    """
    digest = hashlib.sha256(b"tans dataset 1\n")
    for text in (dataset.name, *dataset.classes):
        digest.update(f"{text}\n".encode())
    digest.update(dataset.features.tobytes())
    return DatasetRecord(
        name=dataset.name,
        digest=digest.hexdigest(),
        classes=dataset.classes,
        features=dataset.features,
        labels=np.full(len(dataset.features), -1, np.int64),
        images=dataset.images,
        extractor=RESNET18_EXTRACTOR,
    )


def network_records(networks: PublishedNetworks, datasets: Sequence[DatasetRecord]) -> list[NetworkRecord]:
    """Describe networks without weights, each once, in the order of the file.

    What the file counts are the parameters with the head of the network's own dataset; MACs and buffers are those of
    its architecture. Graph statistics, similarity kernel and surprise cannot be had without the weights, and are empty.

    Raises:
        ZooError: If a network has fewer parameters than its head.
    """
    known = {record.name: record for record in datasets}
    topology = networks.topology.astype(np.int64)
    nothing = (np.zeros(0, np.float32), np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
    preprocessing = Preprocessing(IMAGE_SIZE)
    found: dict[str, NetworkRecord] = {}
    for row, (spec, cost) in enumerate(zip(specs_of(topology), count_subnets(topology), strict=True)):
        name, params = networks.datasets[row], int(networks.params[row])
        dataset = known.get(name)
        classes, digest = (dataset.classes, dataset.digest) if dataset else ((), "")
        body = params - (cost.feature_dim + 1) * len(classes)
        if body <= 0:
            raise ZooError(
                f"p_mod_zoo.pt: n_params of row {row} is {params}, less than a head of {len(classes)} classes"
            )
        accuracy = float(networks.accuracy[row])
        functional = networks.functional[row]
        made_of = {
            "recipe": RECIPE,
            "accuracy": accuracy,
            "n_params": params,
            "row": _sha256(topology[row], functional),
        }
        entry = NetworkEntry(
            id=network_id(spec, digest or name, SEED, made_of),
            spec=spec,
            cost=replace(cost, body_params=body, body_bytes=cost.body_bytes + 4 * (body - cost.body_params)),
            preprocessing=preprocessing,
            classes=classes,
            source_dataset=name,
            source_digest=digest,
            accuracy=accuracy,
            license=NO_LICENSE,
            provenance=Provenance(extra={"recipe": RECIPE, "n_params": params, "image_size": IMAGE_SIZE}),
        )
        found.setdefault(entry.id, NetworkRecord(entry, Fingerprint(networks.topology[row], functional, *nothing), b""))
    return list(found.values())


def supernet_entry(dataset: DatasetRecord, weights: bytes, own_head: bool) -> NetworkEntry:
    """Describe the supernet of a dataset by its largest subnet; its accuracy is not published."""
    spec = largest_spec()
    (cost,) = count_subnets(_topology(spec))
    made_of: dict[str, Any] = {"recipe": RECIPE, "supernet": hashlib.sha256(weights).hexdigest()}
    return NetworkEntry(
        id=network_id(spec, dataset.digest, SEED, made_of),
        spec=spec,
        cost=cost,
        preprocessing=Preprocessing(IMAGE_SIZE),
        classes=dataset.classes,
        source_dataset=dataset.name,
        source_digest=dataset.digest,
        accuracy=float("nan"),
        license=NO_LICENSE,
        provenance=Provenance(head=head_of(own_head), extra={"recipe": RECIPE, "image_size": IMAGE_SIZE}),
    )


def with_weights(record: NetworkRecord, weights: bytes, supernet: NetworkEntry) -> NetworkRecord:
    """Return a network the weights that were cut out of a supernet, and say so in its provenance.

    Its parameters are then counted, and no longer those that the file names.
    """
    extra = {**record.entry.provenance.extra, "batch_norm": "of the supernet"}
    provenance = Provenance(base=supernet.id, head=supernet.provenance.head, extra=extra)
    (cost,) = count_subnets(_topology(record.entry.spec))
    entry = replace(record.entry, cost=cost, provenance=provenance)
    return replace(record, entry=entry, weights=weights)


def _topology(spec: ArchitectureSpec) -> np.ndarray[Any, Any]:
    """Write one subnet as a row of numbers, (1, 45)."""
    return np.array([[*spec.config["ks"], *spec.config["e"], *spec.config["d"]]], np.int64)


def head_of(own: bool) -> str:
    """Say in a provenance where a head comes from."""
    return "of the supernet" if own else "fresh"


def _sha256(*arrays: np.ndarray[Any, Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()
