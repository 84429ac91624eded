"""Listing the architectures of a backend within size limits, without training or weights."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nns.backends.loading import on_meta
from nns.errors import UnknownNameError, UsageError
from nns.networks.counting import count_cost
from nns.types import ArchitectureSpec, Limits, NetworkCost, Preprocessing

if TYPE_CHECKING:
    from torch import nn

    from nns.backends import Backend, PretrainedOffer

REASON_LENGTH = 80

MAX_PARAMS = 200_000_000
"""Parameters up to which an architecture is built to be counted, where that cannot be done without memory."""


@dataclass(frozen=True)
class ArchitectureListing:
    """An architecture within the limits; the counts include the head for the classes asked for.

    Attributes:
        spec: The architecture, as the backend offers it.
        params: Parameters.
        macs: Multiply-accumulates of one image.
        bytes: Bytes of the fp32 weights.
        license: SPDX name of the licence of the weights.
        offer: What the backend says of the weights if they come trained; None: they have to be trained or fetched.
    """

    spec: ArchitectureSpec
    params: int
    macs: int
    bytes: int
    license: str
    offer: PretrainedOffer | None = None


@dataclass(frozen=True)
class ListingProgress:
    """How far a listing is.

    Attributes:
        done: Architectures looked at.
        total: Architectures that match the pattern.
        name: The one that was looked at last.
        kept: Architectures within the limits so far.
        skipped: Reason to number of architectures that could not be built or run at this image size.
    """

    done: int
    total: int
    name: str
    kept: int
    skipped: Mapping[str, int]


def list_architectures(
    backend: Backend,
    pattern: str,
    classes: int,
    limits: Limits,
    image_size: int,
    on_progress: Callable[[ListingProgress], None] | None = None,
) -> tuple[ArchitectureListing, ...]:
    """List what a backend offers within limits, smallest first; what comes trained, too.

    Networks are built on PyTorch's meta device, that is without memory for weights and without computing, or
    on the CPU if they cannot be built there. No weights are fetched.

    Args:
        backend: Where the architectures come from.
        pattern: Glob of names.
        classes: Classes of the head that is counted.
        limits: The limits; ``max_latency`` must be None.
        image_size: Side of the square images, unless an architecture has a size of its own.
        on_progress: Called after each architecture.

    Returns:
        The architectures, sorted by parameters and name. What could not be built or run is left out; the
        last progress says why and how often.

    Raises:
        UnknownNameError: If no name matches.
        UsageError: If a latency is limited: that takes measuring a network, not counting.
    """
    if limits.max_latency is not None:
        raise UsageError("a listing counts and does not measure: leave out the limit of the latency")
    if limits.backend is not None and limits.backend != backend.name:
        return ()
    trained = {(offer.spec.name, offer.spec.source): offer for offer in _trained(backend, pattern)}
    try:
        offered = list(backend.offers(pattern))
    except UnknownNameError:
        if not trained:
            raise
        offered = []
    listed = {(spec.name, spec.source) for spec in offered}
    offered += [offer.spec for key, offer in trained.items() if key not in listed]
    kept: list[ArchitectureListing] = []
    skipped: dict[str, int] = {}
    counted: dict[str, NetworkCost | None] = {}  # of one architecture there may be weights of several trainings
    for done, spec in enumerate(offered, start=1):
        try:
            license = backend.license(spec)
            size = backend.preprocessing(spec, image_size)
            key = repr((spec.name, spec.config, size.size))
            if limits.license is not None and license.casefold() != limits.license.casefold():
                cost = None
            elif key in counted:
                cost = counted[key]
            else:
                cost = counted[key] = _within(backend, spec, classes, limits, image_size)
        except Exception as error:  # noqa: BLE001 - architectures refuse sizes and devices with whatever error they like
            reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"[:REASON_LENGTH]
            skipped[reason] = skipped.get(reason, 0) + 1
            cost = None
        if cost:
            counts = (cost.params(classes), cost.macs(classes), cost.bytes(classes))
            offer = trained.get((spec.name, spec.source))
            kept.append(ArchitectureListing(spec, *counts, license, offer))
        if on_progress:
            on_progress(ListingProgress(done, len(offered), spec.name, len(kept), dict(skipped)))
    return tuple(sorted(kept, key=lambda listing: (listing.params, listing.spec.name)))


def _trained(backend: Backend, pattern: str) -> list[PretrainedOffer]:
    return [offer for offer in backend.pretrained() if fnmatch.fnmatchcase(offer.spec.name, pattern)]


def cost_without_weights(
    backend: Backend, spec: ArchitectureSpec, preprocessing: Preprocessing, classes: Sequence[str]
) -> NetworkCost:
    """Count an architecture on the meta device, or on the CPU if it cannot be built there.

    Raises:
        UsageError: If it cannot be built, or does not run on its own input.
    """
    import torch

    def build() -> nn.Module:
        return backend.build(replace(spec, source="random"), len(classes))

    plan = on_meta(build)
    try:
        if plan is not None:
            with suppress(Exception), torch.device("meta"):
                return count_cost(backend, plan, preprocessing, len(classes))
            # what fails on the meta device may work on the CPU, but a zoo that names a giant gets no gigabytes for it
            if sum(parameter.numel() for parameter in plan.parameters()) > MAX_PARAMS:
                raise ValueError("it cannot be counted without memory for its weights")
        return count_cost(backend, build(), preprocessing, len(classes))
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise UsageError(f"{spec.name!r} does not run at {preprocessing.size} px ({lines[0]:.200})") from error


def _within(
    backend: Backend, spec: ArchitectureSpec, classes: int, limits: Limits, image_size: int
) -> NetworkCost | None:
    """Count one architecture, None if it is beyond a limit."""
    import torch

    try:
        with torch.device("meta"):
            return _count(backend, spec, classes, limits, image_size)
    except Exception:  # noqa: BLE001 - what fails on the meta device may work on the CPU
        return _count(backend, spec, classes, limits, image_size)


def _count(
    backend: Backend, spec: ArchitectureSpec, classes: int, limits: Limits, image_size: int
) -> NetworkCost | None:
    module = backend.build(replace(spec, source="random"), classes)
    # the parameters are there at once, a forward pass is what takes time
    if not _under(sum(p.numel() for p in module.parameters()), limits.max_params):
        return None
    cost = count_cost(backend, module, backend.preprocessing(spec, image_size), classes)
    sizes_fit = _under(cost.macs(classes), limits.max_macs) and _under(cost.bytes(classes), limits.max_size)
    return cost if sizes_fit else None


def _under(count: int, limit: int | None) -> bool:
    return limit is None or count <= limit
