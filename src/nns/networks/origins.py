"""Which plugin's backend a network needs: written into its provenance, and read where that is not installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from nns.plugins import install_hint, installed_plugins, is_origin

if TYPE_CHECKING:
    from nns.plugins import Registry
    from nns.types import NetworkEntry, Provenance

VERSIONS = "versions"
"""Key of a provenance that stays out of digests: the same network of another version is the same."""


def with_origin(provenance: Provenance, backend: str) -> Provenance:
    """Note which distribution and version the backend of a network came from, if that is known."""
    origin = installed_plugins().origin("backend", backend)
    if not is_origin(origin):
        return provenance
    known = provenance.extra.get(VERSIONS)
    versions = {**(known if isinstance(known, Mapping) else {}), "backend": origin}
    return replace(provenance, extra={**provenance.extra, VERSIONS: versions})


def origin_of(entry: NetworkEntry) -> str:
    """Return distribution and version that a network's backend came from, ``acme-nets==0.2``; empty if unknown."""
    versions = entry.provenance.extra.get(VERSIONS)
    origin = versions.get("backend") if isinstance(versions, Mapping) else None
    return origin if isinstance(origin, str) and is_origin(origin) else ""


def missing_backend(entry: NetworkEntry, registry: Registry) -> str:
    """Say what a network needs that is not installed; empty if nothing."""
    backend = entry.spec.backend
    if backend in registry.names("backend"):
        return ""
    return f"backend {backend!r:.80}, which is not installed{install_hint(origin_of(entry))}"
