"""From a module to a record: counted, fingerprinted, serialised, as it enters a zoo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nns.networks.checking import keep_count
from nns.networks.counting import count_cost
from nns.networks.fingerprints import fingerprint_network
from nns.networks.origins import with_origin
from nns.places import StoredWeights, Weights
from nns.types import (
    ArchitectureSpec,
    NetworkCost,
    NetworkEntry,
    NetworkRecord,
    Preprocessing,
    Provenance,
    SupernetRecord,
)

if TYPE_CHECKING:
    from torch import nn

    from nns.backends import Backend


@dataclass(frozen=True)
class Origin:
    """What a network is called in the zoo, and what it was trained on.

    Attributes:
        id: Its id.
        classes: Names of the classes its head tells apart.
        source_dataset: Name of the dataset.
        source_digest: Content digest of the dataset, empty if unknown.
    """

    id: str
    classes: tuple[str, ...]
    source_dataset: str
    source_digest: str


def describe_network(
    backend: Backend,
    spec: ArchitectureSpec,
    module: nn.Module,
    preprocessing: Preprocessing,
    origin: Origin,
    accuracy: float,
    provenance: Provenance | None = None,
    *,
    half: bool = False,
    weights: Weights | None = None,
) -> NetworkRecord:
    """Count, fingerprint and serialise a trained network.

    Args:
        backend: The backend that built it.
        spec: Its architecture.
        module: The network, with its own head.
        preprocessing: Its input.
        origin: Its id, and what it was trained on.
        accuracy: On its own dataset, 0..1; NaN if unknown.
        provenance: Where it comes from.
        half: Round its weights to fp16 before, in place.
        weights: Where they are, if the zoo is not to store them.
    """
    data = serialise(module, half) if weights is None else b""
    cost = count_cost(backend, module, preprocessing, len(origin.classes))
    keep_count(spec, preprocessing.size, len(origin.classes), cost)
    fingerprint = fingerprint_network(backend, spec, module, preprocessing, cost)
    entry = _entry(backend, spec, cost, preprocessing, origin, accuracy, provenance or Provenance(), weights)
    return NetworkRecord(entry, fingerprint, data)


def describe_supernet(
    backend: Backend,
    spec: ArchitectureSpec,
    module: nn.Module,
    preprocessing: Preprocessing,
    origin: Origin,
    accuracy: float,
    provenance: Provenance,
    *,
    half: bool = False,
) -> SupernetRecord:
    """Count and serialise a trained supernet; see :func:`describe_network`."""
    data = serialise(module, half)
    cost = count_cost(backend, module, preprocessing, len(origin.classes))
    entry = _entry(backend, spec, cost, preprocessing, origin, accuracy, provenance)
    return SupernetRecord(entry, data)


def _entry(
    backend: Backend,
    spec: ArchitectureSpec,
    cost: NetworkCost,
    preprocessing: Preprocessing,
    origin: Origin,
    accuracy: float,
    provenance: Provenance,
    weights: Weights | None = None,
) -> NetworkEntry:
    return NetworkEntry(
        id=origin.id,
        spec=spec,
        cost=cost,
        preprocessing=preprocessing,
        classes=origin.classes,
        source_dataset=origin.source_dataset,
        source_digest=origin.source_digest,
        accuracy=accuracy,
        license=backend.license(spec),
        provenance=with_origin(provenance, spec.backend),
        weights=weights or StoredWeights(),
    )


def serialise(module: nn.Module, half: bool = False) -> bytes:
    """Write a state dict as safetensors; ``half`` rounds the module's floats to fp16 first, in place.

    Numbers beyond the range of fp16 become its largest, so that no infinity enters a network.
    """
    import torch
    from safetensors.torch import save

    state = {}
    for name, tensor in module.state_dict().items():
        kept = tensor.detach().contiguous().clone()
        if half and kept.is_floating_point():
            limit = torch.finfo(torch.float16).max
            kept = kept.clamp(-limit, limit).half()
            tensor.copy_(kept)
        state[name] = kept
    return save(state)
