"""Latency of zoo networks on a device: from the zoo's cache, measured where it is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nns.errors import WeightsError
from nns.types import LatencyRecord

if TYPE_CHECKING:
    from torch import nn

    from nns.types import PartProgress
    from nns.zoo import Zoo


def load_network(zoo: Zoo, network_id: str) -> nn.Module:
    """Build a network of a zoo and give it its stored weights, with its own head, on the CPU.

    Raises:
        UnknownNameError: If there is no such network, or its backend is not installed.
        WeightsError: If the zoo only describes it, and has no weights of it.
        ZooError: If the weights are damaged.
    """
    from safetensors.torch import load

    entry = zoo.entry(network_id)
    data = zoo.load_weights(entry.id)
    if not data:
        raise WeightsError(f"the zoo has no weights of network {entry.id}, only its description; take another")
    state = load(data)
    return zoo.registry.backend(entry.spec.backend).load(entry.spec, state, len(entry.classes))


def latencies(
    zoo: Zoo, network_ids: Sequence[str], device: str, progress: PartProgress | None = None
) -> Mapping[str, float]:
    """Return seconds of one image (batch 1) on this machine; what is measured is kept in the zoo.

    A zoo that cannot be written to is measured all the same.

    Args:
        zoo: The zoo.
        network_ids: Which networks.
        device: ``"cpu"`` or ``"cuda"``.
        progress: ``progress(done, total)`` over those that must be measured.
    """
    from nns.networks.costs import device_key, measure_latency

    key = device_key(device)
    known = dict(zoo.latencies(key))
    missing = [network for network in network_ids if network not in known]
    measured: list[LatencyRecord] = []
    try:
        for number, network in enumerate(missing, 1):
            module = load_network(zoo, network)
            seconds = measure_latency(module, zoo.entry(network).preprocessing, device)
            measured.append(LatencyRecord(network, key, seconds))
            if progress:
                progress(number, len(missing))
    finally:
        _keep(zoo, measured)
    known.update({record.network_id: record.seconds for record in measured})
    return {network: known[network] for network in network_ids}


def _keep(zoo: Zoo, measured: list[LatencyRecord]) -> None:
    import logging

    if not measured:
        return
    try:
        zoo.store.put_latencies(measured)
        zoo.store.merge()
    except OSError as error:
        logging.getLogger("nns").warning("the latencies measured cannot be kept in the zoo: %s", error)
