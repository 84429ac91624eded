"""Adding networks that a backend offers with trained weights: by reference, or with their weights."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nns.building.copying import with_weights
from nns.building.references import Added, within
from nns.errors import NnsError, UnknownNameError
from nns.networks import Origin, describe_network
from nns.networks.checking import keep_count
from nns.networks.listing import cost_without_weights
from nns.networks.origins import with_origin
from nns.networks.weights import packaged_weights
from nns.places import StoredWeights
from nns.types import Limits, NetworkEntry, NetworkRecord, Provenance
from nns.zoo import network_id

if TYPE_CHECKING:
    from nns.backends import Backend, PretrainedOffer
    from nns.types import NetworkCost, PartProgress
    from nns.zoo import Zoo


def find_offers(backend: Backend, pattern: str = "*") -> list[PretrainedOffer]:
    """List what a backend offers with trained weights, by a glob of names.

    Raises:
        UnknownNameError: If that is nothing.
    """
    offers = list(backend.pretrained())
    found = [offer for offer in offers if fnmatch.fnmatchcase(offer.spec.name, pattern)]
    if not offers:
        raise UnknownNameError(f"backend {backend.name!r} offers no networks that come trained")
    if not found:
        names = sorted({offer.spec.name for offer in offers})
        raise UnknownNameError.among(f"network that {backend.name!r} offers trained,", pattern, names)
    return found


def add_offers(
    zoo: Zoo,
    offers: Sequence[PretrainedOffer],
    limits: Limits | None = None,
    image_size: int | None = None,
    *,
    copy: bool = False,
    progress: PartProgress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Added:
    """Add networks that backends offer; what fails is left out and told.

    Args:
        zoo: The zoo, which is written to.
        offers: The networks.
        limits: Networks beyond them, each with its own head, and those of other licences, are left out.
        image_size: Side of their images in pixels; None: each one's own.
        copy: Store the weights in the zoo, which fetches those that are not at hand; else only those are stored that
            are at hand and in no package, and the zoo refers to the others.
        progress: Called with networks done and networks in all.
        tell: Called with host, size and licence of each before it is asked for its weights.
    """
    entries: dict[str, NetworkEntry] = {}
    failures: dict[str, NnsError] = {}
    beyond: list[str] = []
    before = set(zoo.store.ids())
    described: list[NetworkRecord] = []
    counts: dict[str, NetworkCost] = {}  # of one architecture there may be weights of several trainings
    for done, offer in enumerate(offers):
        if progress:
            progress(done, len(offers))
        name = f"{offer.spec.backend}:{offer.spec.name} ({offer.spec.source})"
        try:
            backend = zoo.registry.backend(offer.spec.backend)
            entry = describe_offer(backend, offer, image_size, counts)
            if limits is not None and not within(entry, limits):
                beyond.append(name)
                continue
            if entry.id not in before | set(entries):
                record = _record(zoo, backend, offer, entry, copy, tell)
                if record.weights:  # what was fetched stays, should the next be interrupted
                    zoo.store.add_all([record])
                else:
                    described.append(record)
            entries[entry.id] = entry
        except NnsError as error:
            failures[name] = error
    zoo.store.add_all(described)
    found = tuple(zoo.network(id).entry for id in entries)
    return Added(found, tuple(beyond), failures, frozenset(before & set(entries)))


def describe_offer(
    backend: Backend,
    offer: PretrainedOffer,
    image_size: int | None = None,
    counts: dict[str, NetworkCost] | None = None,
) -> NetworkEntry:
    """Describe a network that a backend offers, without its weights.

    Args:
        backend: The backend.
        offer: What it says.
        image_size: Side of its images in pixels; None: its own.
        counts: What was counted before, by architecture; it grows.

    Raises:
        UsageError: If it cannot be built, or does not run on its own input.
        WeightsError: If the package with its weights lacks their file.
    """
    preprocessing = backend.preprocessing(offer.spec, image_size)
    # as a build calls it, which goes by the size that is asked for
    recipe = {"image_size": image_size or preprocessing.size, "pretrained": True}
    known = offer.dataset == "imagenet-1k" and not math.isnan(offer.accuracy)
    key = repr((offer.spec.backend, offer.spec.name, offer.spec.config, preprocessing.size, len(offer.classes)))
    cost = counts.get(key) if counts else None
    cost = cost or cost_without_weights(backend, offer.spec, preprocessing, offer.classes)
    if counts is not None:
        counts[key] = cost
    keep_count(offer.spec, preprocessing.size, len(offer.classes), cost)  # a search need not count it again
    return NetworkEntry(
        id=network_id(offer.spec, offer.dataset, 0, recipe),
        spec=offer.spec,
        cost=cost,
        preprocessing=preprocessing,
        classes=offer.classes,
        source_dataset=offer.dataset,
        source_digest="",
        accuracy=offer.accuracy,
        license=backend.license(offer.spec),
        provenance=with_origin(Provenance.of(recipe), offer.spec.backend),
        weights=offer.weights or packaged_weights(backend, offer.spec) or StoredWeights(),
        published={"imagenet": offer.accuracy} if known else {},
    )


def _record(
    zoo: Zoo,
    backend: Backend,
    offer: PretrainedOffer,
    entry: NetworkEntry,
    copy: bool,
    tell: Callable[[str], None] | None,
) -> NetworkRecord:
    if offer.weights is None:
        weights = None if copy or isinstance(entry.weights, StoredWeights) else entry.weights
        module = backend.load_pretrained(offer)
        origin = Origin(entry.id, entry.classes, entry.source_dataset, "")
        about = (backend, entry.spec, module, entry.preprocessing, origin, entry.accuracy, entry.provenance)
        record = describe_network(*about, weights=weights)
        return replace(record, entry=replace(record.entry, published=entry.published))
    record = NetworkRecord(entry, None, b"")
    return with_weights(zoo, record, tell) if copy else record
