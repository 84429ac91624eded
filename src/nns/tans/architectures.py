"""The networks of TANS: subnets of OFA-MobileNetV3 at width 1.2, named and counted from their 45 integers alone.

The published zoo has neither MACs nor bytes, and limits need both. A subnet's cost is a sum over its blocks, and a
block's depends on its place, kernel size and expansion ratio only, so all networks are counted by one table of
20 x 3 x 3. Tests hold the counts equal to those of :func:`nns.networks.count_cost` on the networks themselves.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from nns.types import ArchitectureSpec, NetworkCost

if TYPE_CHECKING:
    from numpy.typing import NDArray

BACKEND = "ofa"
WIDTH = 1.2
IMAGE_SIZE = 224
"""Side of the images that the published networks were trained on, in pixels."""

BLOCKS, DEPTH, STAGES = 20, 4, 5
KERNELS, RATIOS, DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)

FEATURES = 1536
"""Width of the features before the classifier."""

_STEM, _EXPANDED = 24, 1152
_WIDTHS = (32, 48, 96, 136, 192)
_STRIDES = (2, 2, 2, 1, 2)
_SQUEEZED = (False, True, False, True, True)


def check_topologies(topology: NDArray[np.int64]) -> NDArray[np.intp]:
    """Find the rows of (n, 45) that are no subnets; entries of blocks beyond a stage's depth may also be 0."""
    kernels, ratios, depths = topology[:, :BLOCKS], topology[:, BLOCKS : 2 * BLOCKS], topology[:, 2 * BLOCKS :]
    there = active_blocks(topology)
    good = np.isin(depths, DEPTHS).all(axis=1)
    for values, allowed in ((kernels, KERNELS), (ratios, RATIOS)):
        good &= (np.isin(values, allowed) | (~there & (values == 0))).all(axis=1)
    return np.flatnonzero(~good)


def active_blocks(topology: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the 20 blocks each of (n, 45) has, (n, 20)."""
    depths = np.repeat(topology[:, 2 * BLOCKS :], DEPTH, axis=1)
    active: NDArray[np.bool_] = np.arange(BLOCKS) % DEPTH < depths
    return active


def specs_of(topology: NDArray[np.int64]) -> list[ArchitectureSpec]:
    """Describe subnets (n, 45) as the backend does; what they lack is set to the smallest, so that names agree."""
    there = active_blocks(topology)
    kernels = np.where(there, topology[:, :BLOCKS], KERNELS[0]).tolist()
    ratios = np.where(there, topology[:, BLOCKS : 2 * BLOCKS], RATIOS[0]).tolist()
    depths = topology[:, 2 * BLOCKS :].tolist()
    return [_spec(*parts) for parts in zip(kernels, ratios, depths, strict=True)]


def largest_spec() -> ArchitectureSpec:
    """Describe the supernet as a whole: its largest subnet."""
    return _spec([KERNELS[-1]] * BLOCKS, [RATIOS[-1]] * BLOCKS, [DEPTHS[-1]] * STAGES)


def _spec(kernels: list[int], ratios: list[int], depths: list[int]) -> ArchitectureSpec:
    config = {"width": WIDTH, "ks": kernels, "e": ratios, "d": depths}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    return ArchitectureSpec(BACKEND, f"mbv3-w{WIDTH:g}-{digest}", config)


@dataclass(frozen=True)
class _Count:
    """Parameters, MACs and bytes of buffers of a part of a network."""

    params: int = 0
    macs: int = 0
    buffers: int = 0

    def __add__(self, other: _Count) -> _Count:
        return _Count(self.params + other.params, self.macs + other.macs, self.buffers + other.buffers)


def count_subnets(topology: NDArray[np.int64]) -> list[NetworkCost]:
    """Count subnets (n, 45) without their heads, for images of ``IMAGE_SIZE``."""
    table, fixed = _table()
    there = active_blocks(topology)
    kernels = np.searchsorted(KERNELS, np.where(there, topology[:, :BLOCKS], KERNELS[0]))
    ratios = np.searchsorted(RATIOS, np.where(there, topology[:, BLOCKS : 2 * BLOCKS], RATIOS[0]))
    counts = (table[np.arange(BLOCKS), kernels, ratios] * there[:, :, None]).sum(axis=1) + fixed
    return [NetworkCost(params, macs, 4 * params + buffers, FEATURES) for params, macs, buffers in counts.tolist()]


@lru_cache(maxsize=1)
def _table() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count every block that may be, (20, 3, 3, 3), and what all subnets have, (3,)."""
    side = IMAGE_SIZE // 2
    fixed = _convolution(3, _STEM, 3, side) + _convolution(_STEM, _STEM, 3, side, groups=_STEM)
    fixed += _convolution(_STEM, _STEM, 1, side)
    table = np.zeros((BLOCKS, len(KERNELS), len(RATIOS), 3), np.int64)
    before = _STEM
    for block in range(BLOCKS):
        stage, first = block // DEPTH, block % DEPTH == 0
        width = _WIDTHS[stage]
        after = -(-side // _STRIDES[stage]) if first else side
        for k, kernel in enumerate(KERNELS):
            for r, ratio in enumerate(RATIOS):
                count = _block(before, width, kernel, ratio, side, after, _SQUEEZED[stage])
                table[block, k, r] = count.params, count.macs, count.buffers
        before, side = width, after
    fixed += _convolution(before, _EXPANDED, 1, side)
    fixed += _Count(_EXPANDED * FEATURES, _EXPANDED * FEATURES)
    return table, np.array([fixed.params, fixed.macs, fixed.buffers], np.int64)


def _block(before: int, width: int, kernel: int, ratio: int, side: int, after: int, squeezed: bool) -> _Count:
    """Count an inverted bottleneck: 1x1, depthwise, squeeze and excitation where the stage has it, 1x1."""
    middle = _divisible(before * ratio)
    count = _convolution(before, middle, 1, side) + _convolution(middle, middle, kernel, after, groups=middle)
    if squeezed:
        narrow = _divisible(middle // 4)
        count += _Count(2 * middle * narrow + narrow + middle, 2 * middle * narrow)
    return count + _convolution(middle, width, 1, after)


def _convolution(inputs: int, outputs: int, kernel: int, side: int, groups: int = 1) -> _Count:
    """Count a convolution without bias that gives (outputs, side, side), and its batch norm."""
    weights = inputs // groups * outputs * kernel**2
    return _Count(weights + 2 * outputs, weights * side**2, 8 * outputs + 8)


def _divisible(channels: int) -> int:
    """Round to a multiple of 8, never down by more than a tenth, as MobileNets do."""
    rounded = max(8, (channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
