"""What is taken from a method to see what it is good for: add a line for another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nns.bench.choosers.spaces import (
    Variant,
    score_without_prior,
    similarity_alone,
    without_functional,
    without_history,
)

ABLATIONS: Mapping[str, Variant] = {
    "no predictor": Variant(order=similarity_alone),
    "no prior": Variant(order=score_without_prior, of="mixed"),
    "no functional embedding": Variant(data=without_functional),
    "no transfers": Variant(data=without_history),
    "query shuffled": Variant(shuffles=5),
    "no contrastive loss": Variant(settings={"epochs": 1, "lr": 0.0, "similarity_weight": 0.0}, of="mixed"),
    "no source term": Variant(settings={"source_term": False}, of="mixed"),
}
"""By name. Those that are settings of one method name it: ``Variant(settings={"dim": 8}, of="mixed")``."""


def ablations_of(method: str) -> dict[str, Variant]:
    """Return the ablations that a method can have, with its name filled in."""
    found = {}
    for name, variant in ABLATIONS.items():
        if variant.of in ("", method):
            found[name] = replace(variant, method=variant.method or method)
    return found
