"""The ``ofa`` backend: subnets of the OFA-MobileNetV3 supernet (PyPI package ``ofa``)."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from nns.backends._base import Backend, ProducedNetwork, WorkItem
from nns.backends.loading import load_weights
from nns.backends.ofa import space
from nns.errors import UnknownNameError
from nns.hookspecs import Register, hookimpl
from nns.types import ArchitectureSpec, Preprocessing, SplitArrays, Training

if TYPE_CHECKING:
    import torch
    from torch import nn

DEFAULT_WIDTH = 0.5
MAX_SIZE = 32
"""Side of the images that :meth:`OfaBackend.plan` proposes at most: training costs twice as much at 48."""

RANDOM = "random"
OFA_NET = "ofa_net"
"""Source of the weights of the published ImageNet supernets (widths 1.0 and 1.2)."""


class OfaBackend(Backend):
    """Subnets of OFA-MobileNetV3: one supernet trained a dataset, many subnets cut from it.

    Args:
        width: Width multiplier of the supernets that :meth:`plan` proposes.
    """

    name = "ofa"

    def __init__(self, width: float = DEFAULT_WIDTH) -> None:
        """Store the settings."""
        self.width = width

    def offers(self, pattern: str = "*") -> Sequence[ArchitectureSpec]:
        """List the uniform subnets of every width (the whole space has about 10^19 a width)."""
        specs = [
            space.uniform_spec(width, kernel, ratio, depth)
            for width in space.WIDTHS
            for kernel in space.KERNEL_SIZES
            for ratio in space.EXPAND_RATIOS
            for depth in space.DEPTHS
        ]
        found = [spec for spec in specs if fnmatch.fnmatch(spec.name, pattern)]
        if not found:
            raise UnknownNameError(f"no OFA subnet is called {pattern!r}; names look like {specs[0].name!r}")
        return found

    def plan(self, networks: int, image_size: int, seed: int) -> Sequence[WorkItem]:
        """Propose one supernet and ``networks`` random subnets of it."""
        if networks < 1:
            return []
        rng = np.random.default_rng([seed, 0x0FA])
        specs: dict[str, ArchitectureSpec] = {}
        while len(specs) < networks:
            spec = space.sample_spec(rng, self.width)
            specs[spec.name] = spec
        size = min(image_size, MAX_SIZE)
        supernet = space.largest_spec(self.width, RANDOM)
        return [WorkItem(self.name, tuple(specs.values()), size, Training(epochs=10), 60.0, supernet)]

    def build(self, spec: ArchitectureSpec, classes: int, seed: int = 0) -> nn.Module:
        """Build a subnet; with source ``ofa_net`` its weights are those of the published supernet."""
        from nns.backends.ofa import supernet

        width, *_ = space.check_config(spec.config)
        if spec.source == RANDOM:
            return supernet.cut(supernet.build_supernet(width, classes, seed), spec, seed, keep_weights=False)
        if spec.source != OFA_NET:
            raise UnknownNameError.among("source of OFA weights", spec.source, [RANDOM, OFA_NET])
        module = supernet.cut(supernet.load_pretrained_supernet(width), spec)
        return self.replace_head(module, classes, seed)

    def replace_head(self, module: nn.Module, classes: int, seed: int = 0) -> nn.Module:
        """Put a fresh linear head on a subnet or supernet."""
        from ofa.utils.layers import LinearLayer

        from nns.backends.seeding import seeded

        with seeded(seed):
            module.classifier = LinearLayer(module.classifier.in_features, classes)  # type: ignore[union-attr]
        return module

    def features(self, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Run all but the classifier."""
        captured: list[torch.Tensor] = []
        hook = module.classifier.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))  # type: ignore[union-attr]
        try:
            module(images)
        finally:
            hook.remove()
        return captured[0].flatten(1)

    def preprocessing(self, spec: ArchitectureSpec, image_size: int | None = None) -> Preprocessing:
        """Return ImageNet normalisation at the size asked for (default 224)."""
        return Preprocessing(image_size or 224)

    def topology(self, spec: ArchitectureSpec) -> tuple[float, ...]:
        """Return TANS's 45 integers."""
        return space.topology_vector(spec)

    def license(self, spec: ArchitectureSpec) -> str:
        """Weights of ``ofa_net`` are MIT; weights trained by nns are under its own licence."""
        return "MIT" if spec.source == OFA_NET else "Apache-2.0"

    def load(self, spec: ArchitectureSpec, state: Mapping[str, torch.Tensor], classes: int) -> nn.Module:
        """Build a subnet and give it trained weights, under the names of today's or of the first ofa."""
        renamed = {name.replace(".mobile_inverted_conv.", ".conv."): tensor for name, tensor in state.items()}
        return super().load(spec, renamed, classes)

    def supernet_of(self, spec: ArchitectureSpec) -> ArchitectureSpec:
        """Name the supernet of the architecture's width."""
        width, *_ = space.check_config(spec.config)
        return space.largest_spec(width, spec.source)

    def train_supernet(self, item: WorkItem, data: SplitArrays, seed: int, *, device: str = "cpu") -> ProducedNetwork:
        """Train by the sandwich rule with in-place distillation; its largest subnet is measured on the CPU."""
        from nns.backends.ofa import supernet
        from nns.backends.ofa.training import SupernetRecipe, train_supernet

        assert item.supernet is not None
        started = time.perf_counter()
        width, *_ = space.check_config(item.supernet.config)
        if item.supernet.source == OFA_NET:
            net = self.replace_head(supernet.load_pretrained_supernet(width), len(data.classes), seed)
        else:
            net = supernet.build_supernet(width, len(data.classes), seed)
        recipe = item.training.over(SupernetRecipe())
        train_supernet(net, data, self.preprocessing(item.supernet, item.image_size), recipe, seed, device=device)
        seconds = round(time.perf_counter() - started, 2)
        (largest,) = self.cut(replace(item, specs=(item.supernet,)), net, data)
        provenance = {"recipe": "sandwich", **asdict(recipe), "seed": seed, "seconds": seconds}
        return ProducedNetwork(item.supernet, net, largest.accuracy, provenance)

    def load_supernet(self, spec: ArchitectureSpec, state: Mapping[str, torch.Tensor], classes: int) -> nn.Module:
        """Build a supernet and give it trained weights."""
        from nns.backends.ofa import supernet

        width, *_ = space.check_config(spec.config)
        return load_weights(lambda: supernet.build_supernet(width, classes, 0), spec, state)

    def cut(self, item: WorkItem, supernet: nn.Module, data: SplitArrays) -> Iterator[ProducedNetwork]:
        """Cut the subnets, recalibrate their batch norm on up to 1024 training images, measure each."""
        import torch

        from nns.backends.batches import as_tensors, top1_accuracy
        from nns.backends.ofa.supernet import cut, recalibrate

        preprocessing = self.preprocessing(item.specs[0], item.image_size)
        images, _ = as_tensors(data.train, preprocessing)
        val_images, val_labels = as_tensors(data.val, preprocessing)
        calibration = list(torch.split(images[:1024], 64))
        for spec in item.specs:
            module = recalibrate(cut(supernet, spec), calibration)
            yield ProducedNetwork(spec, module, top1_accuracy(module, val_images, val_labels), {})


@hookimpl
def nns_register_backends(register: Register) -> None:
    """Register the backend."""
    register("ofa", OfaBackend)
