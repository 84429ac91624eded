"""Backends: where networks come from. The built-ins register through the same hook as outsiders."""

from nns.backends._base import (
    Backend,
    PretrainedOffer,
    ProducedNetwork,
    Published,
    Trainer,
    WorkItem,
    spdx,
)
from nns.backends.heads import head_of, name_head
from nns.backends.loading import load_weights

__all__ = [
    "Backend",
    "PretrainedOffer",
    "ProducedNetwork",
    "Published",
    "Trainer",
    "WorkItem",
    "head_of",
    "load_weights",
    "name_head",
    "spdx",
]
