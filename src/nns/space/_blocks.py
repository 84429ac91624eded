"""The fingerprints of a zoo's networks as the blocks that space methods read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nns.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.types import Fingerprint
    from nns.zoo import Zoo


def fingerprint_blocks(zoo: Zoo, rows: NDArray[np.int64] | None = None) -> dict[str, NDArray[np.float32]]:
    """Read the fingerprint blocks of the networks that have fingerprints, in the order of the zoo's entries.

    ``topology`` and ``functional`` are there only if all networks share their widths, the others only if they are
    not empty, as they are where a zoo only describes its networks.

    Args:
        zoo: The zoo.
        rows: Which networks, by row of the zoo's columns, each with a fingerprint; None: all that have one.
    """
    has = zoo.store.columns().fingerprinted
    rows = np.flatnonzero(has) if rows is None else rows
    # rows of the columns of fingerprints, a view where all are meant
    chosen = slice(None) if len(rows) == has.sum() else (np.cumsum(has) - 1)[rows]
    columns = {"graph": zoo.store.graphs(), "kernel": zoo.store.kernels(), "surprise": zoo.store.surprises()}
    blocks = {name: np.array(column[chosen]) for name, column in columns.items() if column.size}
    ids = np.array(zoo.store.ids(), dtype=object)[rows]
    ragged: dict[str, NDArray[np.float32]] = {}
    for row, network in enumerate(ids):
        found = fingerprint_of(zoo, str(network))  # one at a time: all of them take as much again as the blocks
        if not row:
            parts = {name: getattr(found, name) for name in ("topology", "functional")}
            ragged = {name: np.empty((len(ids), *part.shape), part.dtype) for name, part in parts.items() if part.size}
        for name in tuple(ragged):
            part = getattr(found, name)
            if part.shape == ragged[name].shape[1:]:
                ragged[name][row] = part
            else:
                del ragged[name]
        if not ragged:
            break
    return blocks | ragged


def fingerprint_of(zoo: Zoo, network: str) -> Fingerprint:
    """Read the fingerprint of a network that has one.

    Raises:
        UsageError: If it has none.
    """
    found = zoo.store.fingerprint(network)
    if found is None:
        raise UsageError(f"network {network!r} has no fingerprint: its weights are elsewhere and were not here yet")
    return found
