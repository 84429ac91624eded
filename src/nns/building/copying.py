"""Storing in a zoo what it would only refer to otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from nns.networks import Network, Origin, bring_weights, describe_network
from nns.places import StoredWeights
from nns.types import NetworkRecord

if TYPE_CHECKING:
    from nns.zoo import Zoo


def with_weights(zoo: Zoo, record: NetworkRecord, tell: Callable[[str], None] | None = None) -> NetworkRecord:
    """Fetch the weights of a network that only refers to them, and give the record that stores them.

    Args:
        zoo: The zoo that the network is for.
        record: The network.
        tell: Called with host, size and licence before anybody is asked for them.

    Raises:
        WeightsError: If they cannot be had, or do not fit.
    """
    entry = record.entry
    network = Network(entry, zoo)
    for error in bring_weights([network], tell=tell).values():
        raise error
    module = network.load()
    origin = Origin(entry.id, entry.classes, entry.source_dataset, entry.source_digest)
    about = (network.backend, entry.spec, module, entry.preprocessing, origin, entry.accuracy, entry.provenance)
    return replace(describe_network(*about), entry=replace(entry, weights=StoredWeights()))
