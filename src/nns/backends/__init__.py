"""Backends: where networks come from. The built-ins register through the same hook as outsiders."""

from nns.backends._base import Backend, PretrainedOffer, ProducedNetwork, ProducedSupernet, Trainer, WorkItem

__all__ = ["Backend", "PretrainedOffer", "ProducedNetwork", "ProducedSupernet", "Trainer", "WorkItem"]
