"""What a zoo says of a network, held against what its architecture must be: a zoo may come from a stranger.

Limits go by the numbers of the record, so a network of 23 million parameters that is said to have 1,000 would pass any
of them. Architectures are counted on the meta device, once: what was counted is kept in the user's cache, and the zoo
that an installed plugin brings is as good as code, so its numbers are taken as they are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.errors import NnsError, ZooError
from nns.networks.listing import cost_without_weights
from nns.networks.network import is_installed
from nns.networks.remembered import recall, remember
from nns.places import PackagedWeights, StoredWeights
from nns.quantities import format_bytes, format_count
from nns.types import ArchitectureSpec, NetworkCost, NetworkEntry

if TYPE_CHECKING:
    from nns.networks.network import Home
    from nns.plugins import Registry
    from nns.types import PartProgress

FORMAT = 1
"""Changes when the same architecture is counted otherwise."""

WIDTH = 1000
"""Classes of the head with which networks were counted whose own classes a zoo does not name."""

TOLERANCE = {"body_params": 0.01, "body_bytes": 0.01, "body_macs": 0.02, "feature_dim": 0.0}
"""By how much a count may be off: versions of a library count a little otherwise."""

LEAST, MOST = 0.4, 2.2
"""Bytes of stored weights for each byte of the weights as fp32: fp16 to fp64."""

MOST_ELSEWHERE = 10
"""Bytes of a file of weights that is elsewhere, likewise."""

HEADER = 1 << 20
"""Bytes of names and shapes before them, at most."""


def check_records(zoo: Home, entries: Sequence[NetworkEntry], progress: PartProgress | None = None) -> None:
    """Refuse a zoo that says of one of these networks what cannot be.

    A network that cannot be built here at all is left alone: nobody can be handed it.

    Raises:
        ZooError: If the numbers of one are not those of its architecture, or its weights have another size.
    """
    if is_installed(zoo):
        return
    for done, entry in enumerate(entries, 1):
        length = zoo.store.weights_length(entry.id)
        with suppress(UnbuildableError):
            if problem := find_lie(entry, zoo.registry, length):
                raise ZooError(f"{zoo.store.path}: {entry.id} {problem}; do not trust this zoo, see `nns zoo verify`")
        if progress:
            progress(done, len(entries))


class UnbuildableError(NnsError):
    """An architecture that cannot be built here, so nothing can be said about it."""


def find_lie(entry: NetworkEntry, registry: Registry, length: int = 0) -> str | None:
    """Say what a record has wrong about its architecture; None if nothing, or if its backend is not installed.

    Args:
        entry: The record.
        registry: Has the backends.
        length: Bytes of its weights that the zoo stores; 0: none.

    Raises:
        UnbuildableError: If the architecture cannot be built.
    """
    described = isinstance(entry.weights, StoredWeights) and not length  # there is nothing to hand over
    if described or entry.spec.backend not in registry.names("backend"):
        return None
    whole = entry.cost.bytes(len(entry.classes))
    if length and not LEAST * whole <= length <= MOST * whole + HEADER:
        return f"has {format_bytes(length)} of weights, and is said to have {format_bytes(whole)}"
    widths = [len(entry.classes)] if entry.classes else [WIDTH, 0]
    # what a file beside the zoo or on a hub may have: the state of an optimiser and averages are in some. That of an
    # installed package is known by its digest, and may be of the whole network whose first stages these are
    elsewhere = 0 if isinstance(entry.weights, PackagedWeights) else getattr(entry.weights, "bytes", None) or 0
    if elsewhere > MOST_ELSEWHERE * whole + HEADER:
        return f"has a file of {format_bytes(elsewhere)}, and its weights are said to have {format_bytes(whole)}"
    found: NetworkCost | None = None
    for again in (False, True):  # what is kept may be of an older backend, so nobody is accused by that alone
        for classes in widths:
            cost = _must_be(entry, registry, classes, again)
            if cost and not _differences(entry.cost, cost):
                return None
            found = found or cost
    return _differences(entry.cost, found) if found else None


def _differences(said: NetworkCost, found: NetworkCost) -> str | None:
    for name, tolerance in TOLERANCE.items():
        ours, theirs = getattr(found, name), getattr(said, name)
        if abs(ours - theirs) > tolerance * ours:
            what = name.replace("body_", "").replace("_", " ")
            return f"is said to have {format_count(theirs)} {what}, and its architecture has {format_count(ours)}"
    return None


def _must_be(entry: NetworkEntry, registry: Registry, classes: int, again: bool) -> NetworkCost | None:
    """Count an architecture, or look it up; None where only looking up is allowed and nothing is known."""
    size = entry.preprocessing.size
    if not again:
        kept = recall("counts", _about(entry.spec, size, classes))
        known = NetworkCost(*kept) if kept and len(kept) == 4 else None
        return known or _installed(registry).get(_key(entry.spec, size, classes))
    names = ("",) * classes
    backend = registry.backend(entry.spec.backend)
    try:
        cost = cost_without_weights(backend, entry.spec, entry.preprocessing, names)
    except NnsError as error:
        raise UnbuildableError(f"its architecture cannot be built here: {error}") from error
    keep_count(entry.spec, size, classes, cost)
    return cost


def keep_count(spec: ArchitectureSpec, size: int, classes: int, cost: NetworkCost) -> None:
    """Keep what was counted, so that nobody need count it again."""
    remember("counts", _about(spec, size, classes), astuple(cost))


def _about(spec: ArchitectureSpec, size: int, classes: int) -> list[Any]:
    return [FORMAT, spec.backend, spec.name, dict(spec.config), size, classes]


def _installed(registry: Registry) -> dict[str, NetworkCost]:
    """Look up what the zoo of an installed plugin says."""
    try:
        return _counts_of(registry.default_zoo())
    except NnsError:
        return {}


def _key(spec: ArchitectureSpec, size: int, classes: int) -> str:
    return json.dumps(_about(spec, size, classes), sort_keys=True)


@lru_cache(maxsize=2)
def _counts_of(path: Path) -> dict[str, NetworkCost]:
    from nns.stores import HDF5Store

    with HDF5Store(path, must_exist=True) as store:
        entries = store.entries()
    return {_key(e.spec, e.preprocessing.size, len(e.classes) or WIDTH): e.cost for e in entries}
