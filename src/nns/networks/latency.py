"""Measuring latency on the device that will run the network."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nns.networks.remembered import recall, remember
from nns.places import RemoteWeights
from nns.types import LatencyRecord, NetworkEntry, Preprocessing

if TYPE_CHECKING:
    from torch import nn

    from nns.networks.network import Home, Network
    from nns.types import PartProgress


def device_key(device: str = "cpu") -> str:
    """Name the device for the cache in a zoo: model of the processor or GPU, and the number of threads."""
    import torch

    if device.startswith("cuda"):
        return f"cuda:{torch.cuda.get_device_name(device)}"
    return f"cpu:{processor_name()}:{torch.get_num_threads()}t"


def processor_name() -> str:
    """Name the model of this machine's processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


@contextmanager
def _without_cuda_notice() -> Iterator[None]:
    """Keep torch's build tools, which its benchmark imports, from warning that a machine has no CUDA device."""

    def matters(record: logging.LogRecord) -> bool:
        return "No CUDA runtime is found" not in record.getMessage()

    logger = logging.getLogger("torch.utils.cpp_extension")
    logger.addFilter(matters)
    try:
        yield
    finally:
        logger.removeFilter(matters)


def measure_latency(
    module: nn.Module, preprocessing: Preprocessing, device: str = "cpu", seconds: float = 0.15
) -> float:
    """Measure the latency of one image (batch 1) by ``torch.utils.benchmark``.

    Args:
        module: The network, with its head.
        preprocessing: Its input, for the image size.
        device: Where to run it; CUDA is synchronised by the timer.
        seconds: Least time to spend on repetitions, after a warm-up.

    Returns:
        Median seconds of one forward pass.
    """
    import torch

    with _without_cuda_notice():
        from torch.utils.benchmark import Timer

    module = module.eval().to(device)
    image = torch.zeros(1, 3, preprocessing.size, preprocessing.size, device=device)
    with torch.inference_mode():
        for _ in range(3):
            module(image)
        timer = Timer("module(image)", globals={"module": module, "image": image}, num_threads=torch.get_num_threads())
        return float(timer.blocked_autorange(min_run_time=seconds).median)


def latencies(
    zoo: Home, network_ids: Sequence[str], device: str, progress: PartProgress | None = None, *, confirm: bool = False
) -> dict[str, float]:
    """Return seconds of one image (batch 1) on this machine; what is measured is kept in the zoo.

    A zoo that cannot be written to is measured all the same; that of an installed plugin stays as it was installed, and
    what is measured is kept for this user alone.

    Args:
        zoo: The zoo.
        network_ids: Which networks.
        device: ``"cpu"`` or ``"cuda"``.
        progress: ``progress(done, total)`` over those that must be measured.
        confirm: Take what the zoo says for a hint: it may come from a stranger, who can name any processor. What was
            not measured by this user is measured again.
    """
    from nns.networks.network import Network, is_installed

    key = device_key(device)
    known = dict(zoo.store.latencies(key))
    installed = is_installed(zoo)
    if confirm or installed:
        own = ((id, recall("latencies", _about(zoo.store.entry(id), key))) for id in network_ids)
        known = {id: found[0] for id, found in own if found}
    missing = [network for network in network_ids if network not in known]
    measured: list[LatencyRecord] = []
    try:
        for number, network_id in enumerate(missing, 1):
            network = Network(zoo.store.entry(network_id), zoo)
            seconds = measure_latency(_for_timing(network), network.entry.preprocessing, device)
            measured.append(LatencyRecord(network_id, key, seconds))
            remember("latencies", _about(network.entry, key), [seconds])
            if progress:
                progress(number, len(missing))
    except KeyboardInterrupt:  # going on costs less then; where a network is refused, the zoo stays as it was
        _save(zoo, [] if installed else measured)
        raise
    _save(zoo, [] if installed else measured)
    known.update({record.network_id: record.seconds for record in measured})
    return {network: known[network] for network in network_ids}


def _about(entry: NetworkEntry, key: str) -> list[Any]:
    spec = entry.spec
    return [key, spec.backend, spec.name, dict(spec.config), entry.preprocessing.size, len(entry.classes)]


def _for_timing(network: Network) -> nn.Module:
    """Build a network; with random weights if its own are elsewhere: they take as long, and nothing is fetched."""
    if not isinstance(network.entry.weights, RemoteWeights) or network.on_disk:
        return network.load()
    return network.backend.build(replace(network.spec, source="random"), len(network.entry.classes))


def _save(zoo: Home, measured: Sequence[LatencyRecord]) -> None:
    if not measured:
        return
    try:
        zoo.store.put_latencies(measured)
    except OSError as error:
        logging.getLogger("nns").warning("the latencies measured cannot be kept in the zoo: %s", error)
        return
    with suppress(OSError):  # they are in the journal, and count
        zoo.store.merge()
