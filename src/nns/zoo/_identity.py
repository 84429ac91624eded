"""Which zoo is meant, and what makes a network the same network."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from nns.stores import canonical_json, without_timing
from nns.types import ArchitectureSpec, Json

ID_DIGITS = 16
"""Hex digits of an id: among a million networks two agree by chance once in 37 million zoos."""


def default_zoo_path() -> Path | None:
    """Return the path in $NNS_ZOO, None if that is unset or empty."""
    value = os.environ.get("NNS_ZOO", "")
    return Path(value).expanduser() if value else None


def network_id(spec: ArchitectureSpec, dataset_digest: str, seed: int, recipe: Json) -> str:
    """Derive the id of a network from what it is made of; the same work has the same id anywhere.

    Args:
        spec: The architecture and where its weights start from.
        dataset_digest: Content digest of the data it is trained on, empty for none.
        seed: Seed of the training.
        recipe: JSON-able settings of the training; timing keys do not count.

    Returns:
        16 hex digits.
    """
    made_of = {
        "backend": spec.backend,
        "name": spec.name,
        "config": dict(spec.config),
        "source": spec.source,
        "dataset": dataset_digest,
        "seed": seed,
        "recipe": without_timing(recipe),
    }
    return hashlib.sha256(canonical_json(made_of)).hexdigest()[:ID_DIGITS]
