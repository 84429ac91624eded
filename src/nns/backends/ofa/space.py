"""The search space of the OFA-MobileNetV3 supernet: configurations, names, topology vectors.

Once-for-All (Cai et al., ICLR 2020): five stages of at most four inverted bottlenecks; each bottleneck has
a kernel size and an expansion ratio, each stage a depth.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nns.errors import UsageError
from nns.jsonable import shown
from nns.types import ArchitectureSpec

STAGES = 5
MAX_DEPTH = 4
BLOCKS = STAGES * MAX_DEPTH
KERNEL_SIZES = (3, 5, 7)
EXPAND_RATIOS = (3, 4, 6)
DEPTHS = (2, 3, 4)
WIDTHS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.2)
TOPOLOGY_DIM = 2 * BLOCKS + STAGES
"""45: 20 kernel sizes, 20 expansion ratios, 5 depths."""


def check_config(config: Mapping[str, Any]) -> tuple[float, list[int], list[int], list[int]]:
    """Check a configuration and take it apart.

    Args:
        config: ``width`` (one of WIDTHS), ``ks`` and ``e`` (20 integers each), ``d`` (5 integers).

    Returns:
        Width, kernel sizes, expansion ratios, depths.

    Raises:
        UsageError: If a part is missing or out of the space.
    """
    width = config.get("width")
    if not isinstance(width, int | float) or float(width) not in WIDTHS:
        raise UsageError(f"OFA width {shown(width)} is none of {', '.join(map(str, WIDTHS))}")
    parts = []
    for key, count, allowed in (("ks", BLOCKS, KERNEL_SIZES), ("e", BLOCKS, EXPAND_RATIOS), ("d", STAGES, DEPTHS)):
        values = config.get(key)
        if not isinstance(values, list | tuple) or len(values) != count or any(v not in allowed for v in values):
            raise UsageError(f"OFA setting {key!r} must be {count} numbers out of {allowed}, not {shown(values)}")
        parts.append([int(v) for v in values])
    return float(width), parts[0], parts[1], parts[2]


def subnet_spec(
    width: float, ks: Sequence[int], e: Sequence[int], d: Sequence[int], source: str = "random"
) -> ArchitectureSpec:
    """Name a subnet. Settings of layers beyond a stage's depth do not count and are set to the smallest."""
    kernels, ratios = list(ks), list(e)
    for stage, depth in enumerate(d):
        for block in range(stage * MAX_DEPTH + depth, (stage + 1) * MAX_DEPTH):
            kernels[block], ratios[block] = KERNEL_SIZES[0], EXPAND_RATIOS[0]
    config = {"width": float(width), "ks": kernels, "e": ratios, "d": list(d)}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    return ArchitectureSpec("ofa", f"mbv3-w{width:g}-{digest}", config, source)


def sample_spec(rng: np.random.Generator, width: float, source: str = "random") -> ArchitectureSpec:
    """Draw a subnet uniformly over kernel sizes, ratios and depths."""
    return subnet_spec(
        width,
        rng.choice(KERNEL_SIZES, BLOCKS).tolist(),
        rng.choice(EXPAND_RATIOS, BLOCKS).tolist(),
        rng.choice(DEPTHS, STAGES).tolist(),
        source,
    )


def uniform_spec(width: float, kernel: int, ratio: int, depth: int, source: str = "random") -> ArchitectureSpec:
    """Return the subnet with one kernel size, ratio and depth throughout."""
    return subnet_spec(width, [kernel] * BLOCKS, [ratio] * BLOCKS, [depth] * STAGES, source)


def largest_spec(width: float, source: str = "random") -> ArchitectureSpec:
    """Return the largest subnet: the supernet as a whole."""
    return uniform_spec(width, KERNEL_SIZES[-1], EXPAND_RATIOS[-1], DEPTHS[-1], source)


def topology_vector(spec: ArchitectureSpec) -> tuple[float, ...]:
    """Encode a subnet as TANS does: 20 kernel sizes, 20 ratios, 5 depths; 0 beyond a stage's depth.

    Source: Jeong et al., "Task-Adaptive Neural Network Search with Meta-Contrastive Learning", NeurIPS 2021.
    """
    _, ks, e, d = check_config(spec.config)
    active = [block % MAX_DEPTH < d[block // MAX_DEPTH] for block in range(BLOCKS)]
    kernels = [k if on else 0 for k, on in zip(ks, active, strict=True)]
    ratios = [r if on else 0 for r, on in zip(e, active, strict=True)]
    return tuple(float(v) for v in (*kernels, *ratios, *d))
