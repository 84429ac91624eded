"""What a build needs before it trains: datasets opened and described, and networks that come trained."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from nns.data import Dataset
from nns.data.extractors import extractor_of
from nns.errors import DatasetError, ZooError
from nns.networks import Origin, describe_network
from nns.types import NetworkRecord, Provenance
from nns.zoo import network_id

if TYPE_CHECKING:
    from nns.backends import Backend, PretrainedOffer
    from nns.building.settings import BuildSettings
    from nns.plugins import Registry
    from nns.stores import HDF5Store
    from nns.types import DatasetRecord

_log = logging.getLogger("nns")


def named_datasets(data: Sequence[Any], registry: Registry | None = None) -> list[tuple[str, Dataset]]:
    """Open datasets and name each: its folder's name, made unique by a number.

    Args:
        data: What :meth:`nns.data.Dataset.of` takes.
        registry: Where the data formats are; None: the installed plugins.

    Raises:
        DatasetError: If one cannot be used for training, or two have the same content.
    """
    if not data:
        raise DatasetError("no dataset named: give `data` FOLDER at least once")
    named: list[tuple[str, Dataset]] = []
    by_digest: dict[str, str] = {}
    taken: set[str] = set()
    for each in data:
        dataset = Dataset.of(each, registry=registry)
        if dataset.digest in by_digest:
            raise DatasetError(f"{dataset.path!r} holds the same images as {by_digest[dataset.digest]!r}; give it once")
        by_digest[dataset.digest] = dataset.path
        for warning in dataset.seen.warnings:
            _log.warning("%s: %s", dataset.path, warning)
        numbered = (f"{dataset.name}-{number}" for number in count(2))  # one of them may be another's own name
        name = next(name for name in chain([dataset.name], numbered) if name not in taken)
        taken.add(name)
        named.append((name, dataset))
    return named


def describe_datasets(
    datasets: Sequence[tuple[str, Dataset]],
    store: HDF5Store,
    prepared: HDF5Store,
    registry: Registry,
    seed: int,
    on_described: Callable[[str], None],
) -> list[DatasetRecord]:
    """Compute query features of the datasets that a zoo lacks.

    Args:
        datasets: Name in the zoo and opened dataset.
        store: The zoo, to which nothing is written.
        prepared: Where each is kept as soon as it is there, and what an earlier build left is found.
        registry: Where the extractors are.
        seed: Of the images that are drawn.
        on_described: Called with the name of each.
    """
    present = store.datasets()
    known = {record.digest for record in present}
    extractor = extractor_of(present, registry)
    kept = {record.digest: record for record in prepared.datasets() if record.extractor == extractor.name}
    described = []
    for name, dataset in datasets:
        if dataset.digest not in known:
            record = kept.get(dataset.digest)
            if record is None:
                record = dataset.features(extractor, seed=seed, workers=1)
                with suppress(ZooError):  # another build of this zoo, which has another extractor
                    prepared.add_dataset(record)
            described.append(replace(record, name=name))
        on_described(name)
    return described


def at_hand(backend: Backend) -> list[PretrainedOffer]:
    """List what a backend offers with weights that need not be fetched."""
    return [offer for offer in backend.pretrained() if offer.weights is None]


def describe_pretrained(
    settings: BuildSettings, store: HDF5Store, prepared: HDF5Store, registry: Registry
) -> tuple[list[str], list[NetworkRecord]]:
    """Describe the networks that come trained, with weights at hand, as far as a zoo lacks them.

    Args:
        settings: Which backends, which size of images, which precision of weights.
        store: The zoo, to which nothing is written.
        prepared: As in :func:`describe_datasets`.
        registry: Where the backends are.

    Returns:
        The ids of all, and the records of those that the zoo lacks.
    """
    present, kept = set(store.ids()), set(prepared.ids())
    ids, described = [], []
    for name in {backend.partition(":")[0] for backend in settings.backends}:
        backend = registry.backend(name)
        for offer in at_hand(backend):
            recipe: dict[str, Any] = {"image_size": settings.image_size, "pretrained": True}
            if settings.weights == "fp16":
                recipe["weights"] = "fp16"
            identity = network_id(offer.spec, offer.dataset, 0, recipe)
            ids.append(identity)
            if identity in present:
                continue
            if identity in kept:
                parts = prepared.entry(identity), prepared.fingerprint(identity), prepared.weights(identity)
                described.append(NetworkRecord(*parts))
                continue
            described.append(_described(backend, offer, identity, recipe, settings))
            with suppress(ZooError):  # another build of this zoo, on a machine that computes otherwise
                prepared.add_network(described[-1])
    return ids, described


def _described(
    backend: Backend, offer: PretrainedOffer, identity: str, recipe: dict[str, Any], settings: BuildSettings
) -> NetworkRecord:
    module = backend.load_pretrained(offer)
    origin = Origin(identity, offer.classes, offer.dataset, "")
    preprocessing = backend.preprocessing(offer.spec, settings.image_size)
    about = (backend, offer.spec, module, preprocessing, origin, offer.accuracy, Provenance.of(recipe))
    return describe_network(*about, half=settings.weights == "fp16")
