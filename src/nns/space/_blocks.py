"""The fingerprints of a zoo's networks as the blocks that space methods read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.zoo import Zoo


def fingerprint_blocks(zoo: Zoo, rows: NDArray[np.int64] | None = None) -> dict[str, NDArray[np.float32]]:
    """Read the fingerprint blocks of networks, in the order of the zoo's entries.

    ``topology`` and ``functional`` are there only if all networks share their widths, the others only if they are
    not empty, as they are where a zoo only describes its networks.

    Args:
        zoo: The zoo.
        rows: Which networks; None: all.
    """
    chosen = slice(None) if rows is None else rows
    columns = {"graph": zoo.store.graphs(), "kernel": zoo.store.kernels(), "surprise": zoo.store.surprises()}
    blocks = {name: np.array(column[chosen]) for name, column in columns.items() if column.size}
    ids = np.array(zoo.store.ids(), dtype=object)[chosen]
    ragged: dict[str, NDArray[np.float32]] = {}
    for row, network in enumerate(ids):
        found = zoo.store.fingerprint(str(network))  # one at a time: all of them take as much again as the blocks
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
