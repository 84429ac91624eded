"""The ``torchvision`` backend: torchvision's networks for classification, and where their trained weights are."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nns.plugins import (
    ArchitectureSpec,
    Backend,
    Preprocessing,
    PretrainedOffer,
    Register,
    Training,
    UnknownNameError,
    UsageError,
    WeightsError,
    WorkItem,
    head_of,
    hookimpl,
    seeded,
)

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

NNS_INTERFACE = 1

SMALL = (
    "shufflenet_v2_x0_5",
    "mobilenet_v3_small",
    "mnasnet0_5",
    "squeezenet1_1",
    "regnet_y_400mf",
    "mobilenet_v2",
    "resnet18",
    "efficientnet_b0",
)
"""What :meth:`TorchvisionBackend.plan` trains from scratch: 0.3 to 11 M parameters."""

SMALL_SIZE = 48
"""Side of the images that they are trained on at most, in pixels."""


class TorchvisionBackend(Backend):
    """The networks of ``torchvision.models`` for classification, under their names there."""

    name = "torchvision"

    def offers(self, pattern: str = "*") -> Sequence[ArchitectureSpec]:
        """List the architectures; what comes trained is in :meth:`pretrained`."""
        from nns_torchvision import networks

        found = [name for name in networks.names() if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            raise UnknownNameError.among("torchvision architecture", pattern, networks.names())
        return [ArchitectureSpec(self.name, name) for name in found]

    def pretrained(self) -> Sequence[PretrainedOffer]:
        """List all weights that torchvision publishes for classification; each is at an address."""
        from nns_torchvision import weights

        return weights.offers(self.name)

    def plan(self, networks: int, image_size: int, seed: int) -> Sequence[WorkItem]:
        """Draw small networks, each to be trained from random weights."""
        chosen = np.random.default_rng(seed).permutation(SMALL)[:networks].tolist()
        training, size = Training(epochs=15, lr=3e-3), min(image_size, SMALL_SIZE)
        return [WorkItem(self.name, (ArchitectureSpec(self.name, name),), size, training, 20.0) for name in chosen]

    def build(self, spec: ArchitectureSpec, classes: int, seed: int = 0) -> nn.Module:
        """Build a network with random weights; trained ones come through a zoo, see :meth:`pretrained`."""
        from nns_torchvision import networks

        if spec.source != "random":
            raise WeightsError(
                f"weights {spec.source!r:.60} of {spec.name!r:.60} are not at hand: "
                f"nns zoo add ZOO --offered {self.name}:{spec.name:.60} refers to them"
            )
        with seeded(seed):
            return networks.build(spec, classes)

    def replace_head(self, module: nn.Module, classes: int, seed: int = 0) -> nn.Module:
        """Put a fresh layer of the same kind into the head's place."""
        from nns_torchvision import networks

        with seeded(seed):
            return networks.replace_head(module, classes)

    def features(self, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Compute what the head is given; the mean over the pixels, where that is a convolution."""
        seen: list[torch.Tensor] = []
        head = head_of(module)
        if head is None:
            raise UsageError(f"{type(module).__name__} has no head")
        hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            module(images)
        finally:
            hook.remove()
        return seen[0].flatten(2).mean(2) if seen[0].dim() == 4 else seen[0]

    def preprocessing(self, spec: ArchitectureSpec, image_size: int | None = None) -> Preprocessing:
        """Return what the weights were trained with; some architectures take images of one size, or of a least one."""
        from nns_torchvision import weights

        return weights.preprocessing(spec, image_size)

    def topology(self, spec: ArchitectureSpec) -> tuple[float, ...]:
        """Return nothing: the statistics of the graph describe these networks."""
        return ()

    def license(self, spec: ArchitectureSpec) -> str:
        """Return the licence of the weights: see README.md; Apache-2.0 for what nns trains."""
        from nns_torchvision import weights

        return weights.license(spec)

    def read_weights(self, spec: ArchitectureSpec, path: Path) -> Mapping[str, torch.Tensor]:
        """Read a file of torchvision's, old ones under today's names, without auxiliary classifiers."""
        from nns_torchvision import networks

        return networks.renamed(spec.name, super().read_weights(spec, path))


@hookimpl
def nns_register_backends(register: Register) -> None:
    """Register the backend."""
    register("torchvision", TorchvisionBackend)
