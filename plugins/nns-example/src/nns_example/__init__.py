"""The ``example`` backend: plain convolutional networks of a few widths and depths.

Copy this package to begin a plugin of your own; docs/plugins.md of nns explains it line by line.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from nns.plugins import (
    ArchitectureSpec,
    Backend,
    Preprocessing,
    Register,
    Training,
    UnknownNameError,
    UsageError,
    WorkItem,
    hookimpl,
    seeded,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from nns_example.network import PlainNetwork

WIDTHS = (8, 16, 24)
"""Channels after the first convolution; they double with each step down."""

DEPTHS = (3, 4, 5)
"""Convolutions; each but the first halves the side of the image."""

MAX_SIZE = 32
"""Side of the images that :meth:`ExampleBackend.plan` proposes at most, in pixels."""


class ExampleBackend(Backend):
    """Plain networks: convolution, batch norm, ReLU, several times; mean over the pixels; a linear head."""

    name = "example"

    def offers(self, pattern: str = "*") -> Sequence[ArchitectureSpec]:
        """List the networks of all widths and depths."""
        specs = [self._spec(width, depth) for width in WIDTHS for depth in DEPTHS]
        found = [spec for spec in specs if fnmatch.fnmatch(spec.name, pattern)]
        if not found:
            raise UnknownNameError.among("example architecture", pattern, [spec.name for spec in specs])
        return found

    def _spec(self, width: int, depth: int) -> ArchitectureSpec:
        return ArchitectureSpec(self.name, f"plain-w{width}-d{depth}", {"width": width, "depth": depth})

    def plan(self, networks: int, image_size: int, seed: int) -> Sequence[WorkItem]:
        """Draw different networks, each to be trained from random weights."""
        specs = self.offers()
        chosen = np.random.default_rng(seed).permutation(len(specs))[:networks]
        training = Training(epochs=15, lr=3e-3)
        return [WorkItem(self.name, (specs[i],), min(image_size, MAX_SIZE), training, 5.0) for i in chosen]

    def build(self, spec: ArchitectureSpec, classes: int, seed: int = 0) -> nn.Module:
        """Build a network with random weights."""
        from nns_example.network import PlainNetwork

        width, depth = spec.config.get("width"), spec.config.get("depth")
        if not isinstance(width, int) or width < 1 or depth not in DEPTHS:
            raise UsageError(f"a plain network has a width of 1 or more and a depth of {DEPTHS}, not {spec.config}")
        if spec.source != "random":
            raise UsageError(f"plain networks have no pretrained weights, so no source {spec.source!r}")
        with seeded(seed):
            return PlainNetwork(width, depth, classes)

    def replace_head(self, module: nn.Module, classes: int, seed: int = 0) -> nn.Module:
        """Put on a fresh linear layer."""
        from torch import nn

        with seeded(seed):
            plain = cast("PlainNetwork", module)
            plain.head = nn.Linear(plain.head.in_features, classes)
        return plain

    def features(self, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Run all but the head, (n, width of the last convolution)."""
        features: torch.Tensor = cast("PlainNetwork", module).body(images)
        return features.flatten(1)

    def preprocessing(self, spec: ArchitectureSpec, image_size: int | None = None) -> Preprocessing:
        """Take images of any size, 32 pixels by default."""
        return Preprocessing(image_size or MAX_SIZE)

    def topology(self, spec: ArchitectureSpec) -> tuple[float, ...]:
        """Describe a network by its width and depth."""
        return (float(spec.config["width"]), float(spec.config["depth"]))

    def license(self, spec: ArchitectureSpec) -> str:
        """Return the licence of weights that nns trains."""
        return "Apache-2.0"


@hookimpl
def nns_register_backends(register: Register) -> None:
    """Register the backend."""
    register("example", ExampleBackend)
