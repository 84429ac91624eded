"""A zoo of what is installed, for who has no other: the networks whose trained weights came with a package."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nns.building.offers import describe_offer
from nns.errors import MissingZooError
from nns.files import replacing
from nns.stores import canonical_json
from nns.types import NetworkRecord
from nns.zoo import Zoo

if TYPE_CHECKING:
    from nns.backends import Backend, PretrainedOffer
    from nns.plugins import Registry

SIZE = 64
"""Pixels that the networks look at, as in a zoo that was built with default settings."""


def installed_zoo(registry: Registry) -> Path:
    """Return a zoo of the networks that installed packages have weights of; it is made once, in the user's cache.

    They are counted without their weights, so it takes seconds; they have no fingerprints, and a search ranks them by
    what is known of networks at large.

    Raises:
        MissingZooError: If no backend has such a network.
    """
    from platformdirs import user_cache_path

    offers = list(_offers(registry))
    if not offers:
        raise MissingZooError(
            "no zoo named, and no network is installed: give `zoo` FILE, set NNS_ZOO, install the starter zoo "
            "(nns-zoo-starter), or make one with `nns zoo build`"
        )
    # what is installed names the file: another set of networks is another zoo
    names = [[offer.spec.backend, offer.spec.name, *place] for _, offer, place in offers]
    digest = hashlib.sha256(canonical_json(names)).hexdigest()[:16]
    path = user_cache_path("nns", appauthor=False) / "zoos" / f"installed-{digest}.h5"
    if not path.exists():
        # of several processes at once each makes the same
        with replacing(path) as temporary, Zoo(temporary, must_exist=False, registry=registry) as zoo:
            records = [NetworkRecord(describe_offer(backend, offer, SIZE), None, b"") for backend, offer, _ in offers]
            zoo.store.add_all(records)
    return path


def _offers(registry: Registry) -> Iterator[tuple[Backend, PretrainedOffer, tuple[str, str]]]:
    """List what is offered with a file in a package; a backend that fails has nothing to offer here."""
    for name in registry.names("backend"):
        try:
            backend = registry.backend(name)
            offers = [(offer, backend.packaged_file(offer.spec)) for offer in backend.pretrained()]
        except Exception:  # noqa: BLE001 - `nns plugins` says what is wrong with it
            continue
        yield from ((backend, offer, place) for offer, place in offers if place is not None)
