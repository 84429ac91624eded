"""Bringing the weights of chosen networks onto this disk, each announced before anything is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from nns.errors import WeightsError
from nns.quantities import format_bytes

if TYPE_CHECKING:
    from nns.networks.network import Network
    from nns.types import Progress

_log = logging.getLogger("nns")


def bring_weights(
    networks: Sequence[Network], progress: Progress | None = None, tell: Callable[[str], None] | None = None
) -> dict[str, WeightsError]:
    """Fetch the weights of networks that are not on this disk.

    Args:
        networks: The networks; of those whose weights are here nothing is asked.
        progress: Called with what is fetched, and bytes done and in all.
        tell: Called with host, size and licence of each before it is asked for; None: they go into the log.

    Returns:
        Id to why, of those that cannot be had.
    """
    say = tell or _log.warning
    failed = {}
    for network in networks:
        place, entry = network.place, network.entry
        if place.on_disk or place.host is None:  # nobody to ask: what is missing is told when it is loaded
            continue
        # of a file of which nobody said the size: that of its weights as fp32, which is what most files hold
        about = format_bytes(entry.cost.bytes(len(entry.classes)))
        size = f"about {about}" if place.bytes is None else format_bytes(place.bytes)
        what = f"fetching {entry.spec.name}"
        try:
            if not network.offline:
                say(f"{what}: {size} from {place.host} ({place.where}), licence {entry.license}")
            network.fetch(partial(progress, what) if progress else None, say)
        except WeightsError as error:
            failed[network.id] = error
    return failed
