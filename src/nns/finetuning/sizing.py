"""The side of a network's input, from the images, from what the network was trained at, and from the time there is.

Fine-tuned at 96 pixels networks are 2 to 7 points better than at 64, also on images of 64, and at equal time
(docs/results.md). Larger pays as long as the images hold more detail and there is time for some epochs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from nns.errors import NoNetworkError
from nns.finetuning.timing import training_step
from nns.networks.latency import measure_latency
from nns.networks.listing import cost_without_weights
from nns.quantities import format_count, format_seconds

if TYPE_CHECKING:
    from nns.networks import Network
    from nns.types import Limits

SIZES = (32, 48, 64, 96, 128, 160, 192, 224)
SMALL = 64
"""Never less, unless the network was trained at less."""
USUAL = 96
"""Without a budget, unless a network was trained at more."""
DETAIL = 1.5
"""Times its side that an image may be enlarged."""
ENOUGH = 12
"""Epochs that there must be time for before a larger input is worth more than another epoch."""
FEW = 4
"""Epochs below which even a smaller input than usual is better."""
IMAGES, STEPS = 8, 3
"""Of a step that is timed, and how many are."""


def input_size(own: int, side: int, epochs: Callable[[int], float] | None = None) -> int:
    """Choose the side of a network's input in pixels.

    Args:
        own: What the network was trained at.
        side: The shorter side of the images: half of them have a shorter one.
        epochs: Gives the epochs that there is time for at a size; None: time does not count.
    """
    least = min(own, SMALL)
    most = max(least, next((size for size in SIZES if size >= DETAIL * side), SIZES[-1]))
    usual = max(min(own, USUAL), min(most, max(own, USUAL)))
    if epochs is None:
        return usual
    floor = min(usual, USUAL)
    fits = [size for size in SIZES if floor < size <= max(most, usual) and epochs(size) >= ENOUGH]
    if fits:
        return max(fits)
    smaller = [size for size in SIZES if least <= size < floor]
    return floor if epochs(floor) >= FEW or not smaller else max(smaller)


def epochs_within(network: Network, classes: int, images: int, seconds: float, device: str) -> Callable[[int], float]:
    """Time a training step of a network, and return how many epochs there is time for at a size.

    Time is taken to grow with the pixels; small inputs take more than that says, and large ones no more.

    Args:
        network: The network; its weights are read.
        classes: Of the head.
        images: Of an epoch.
        seconds: For all of it.
        device: ``"cpu"`` or ``"cuda"``.
    """
    usual = network.backend.preprocessing(network.spec, USUAL).size
    taken = []
    with training_step(network.load(classes), usual, device) as step:
        for _ in range(STEPS):
            began = time.perf_counter()
            step(IMAGES)
            taken.append(time.perf_counter() - began)
    each = max(min(taken), 1e-6) / IMAGES  # the first pays for allocations, and others for what else runs here
    return lambda size: seconds / (max(1, images) * each * (size / usual) ** 2)


def check_at_size(network: Network, size: int, classes: int, limits: Limits) -> None:
    """Check that a network meets the limits that depend on its input at another size than its own.

    Args:
        network: The network; its weights are not read.
        size: Side of the input in pixels.
        classes: Of the head.
        limits: Of them, MACs and latency.

    Raises:
        NoNetworkError: If it does not.
        UsageError: If it does not run at that size.
    """
    backend, own = network.backend, network.entry.preprocessing.size
    preprocessing = backend.preprocessing(network.spec, size)
    takes = ""
    if limits.max_macs is not None:
        cost = cost_without_weights(backend, network.spec, preprocessing, [""] * classes)
        if (macs := cost.macs(classes)) > limits.max_macs:
            takes = f"{format_count(macs)} MACs, and {format_count(limits.max_macs)} are allowed"
    if not takes and limits.max_latency is not None:
        module = backend.build(replace(network.spec, source="random"), classes)
        if (seconds := measure_latency(module, preprocessing)) > limits.max_latency:
            takes = f"{format_seconds(seconds)}, and {format_seconds(limits.max_latency)} are allowed"
    if takes:
        raise NoNetworkError(
            f"{network.id[:10]} ({network.spec.name}) meets the limits at its own {own} px; at image_size={size} it "
            f"takes {takes}: leave `image_size` out, or raise the limit"
        )
