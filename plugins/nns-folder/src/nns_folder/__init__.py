"""The ``folder`` backend: a team's checkpoints in a folder with a table; other backends build their architectures."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

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
    hookimpl,
    installed_plugins,
)

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from nns.building.shares import SharedFile
    from nns.types import PartProgress

NNS_INTERFACE = 1

FOLDER = "NNS_FOLDER"
"""Environment variable: the folders, with the separator of paths between."""

NEEDED = ("backend", "architecture", "classes", "data")
SOURCE = "folder"
MAKER = "nns_maker"
"""Attribute of a network with the backend that built it, for who is handed a network and no architecture."""


def checkpoints() -> dict[str, SharedFile]:
    """List the checkpoints of all folders by name."""
    from nns.building.shares import shared_files

    return shared_files(FOLDER, NEEDED)


class FolderBackend(Backend):
    """Checkpoints of the folders that ``NNS_FOLDER`` names, each of an architecture of another backend."""

    name = "folder"

    def offers(self, pattern: str = "*") -> Sequence[ArchitectureSpec]:
        """List the checkpoints' architectures, under the checkpoints' names."""
        known = checkpoints()
        found = [each for each in known.values() if fnmatch.fnmatchcase(each.name, pattern)]
        if not known:
            raise UnknownNameError(f"no network {pattern!r:.80}: {FOLDER} names no folder with a table of checkpoints")
        if not found:
            raise UnknownNameError.among("checkpoint", pattern, known)
        return [self._spec(each, "random") for each in found]

    def _spec(self, checkpoint: SharedFile, source: str) -> ArchitectureSpec:
        about = checkpoint.about
        config: dict[str, Any] = {"backend": about.backend, "architecture": about.architecture}
        config |= {key: list(value) for key in ("mean", "std") if (value := getattr(about, key)) is not None}
        config |= {} if about.image_size is None else {"image_size": about.image_size}
        return ArchitectureSpec(self.name, checkpoint.name, config, source)

    def pretrained(self) -> Sequence[PretrainedOffer]:
        """List the checkpoints, each to be fetched from its folder."""
        offers = []
        for each in checkpoints().values():
            spec = self._spec(each, f"{SOURCE}:{each.content[1][:12]}")
            spec = replace(spec, config={**spec.config, "license": each.about.license or "NOASSERTION"})
            accuracy = math.nan if each.about.accuracy is None else each.about.accuracy
            offers.append(PretrainedOffer(spec, each.classes, each.about.data or each.name, accuracy, each.weights))
        return offers

    def weights_host(self, name: str) -> str:
        """Name the folder."""
        from nns.building.shares import find_shared

        return f"the folder {find_shared(checkpoints().values(), name).folder}"

    def fetch_weights(self, name: str, target: Path, progress: PartProgress | None = None) -> None:
        """Copy a checkpoint; nns compares what came."""
        from nns.building.shares import find_shared

        find_shared(checkpoints().values(), name).copy(target, progress)

    def plan(self, networks: int, image_size: int, seed: int) -> Sequence[WorkItem]:
        """Draw architectures of the folder, each to be trained from random weights."""
        specs = self.offers()
        order = np.random.default_rng(seed).permutation(len(specs))[:networks]
        training = Training(epochs=15, lr=3e-3)
        sized = [(specs[i], self.preprocessing(specs[i], image_size).size) for i in order]
        return [WorkItem(self.name, (spec,), min(size, image_size), training, 20.0) for spec, size in sized]

    def build(self, spec: ArchitectureSpec, classes: int, seed: int = 0) -> nn.Module:
        """Let the backend of the architecture build it."""
        if spec.source != "random":
            raise WeightsError(f"weights of {spec.name!r:.80} are not at hand: nns zoo add ZOO --offered {self.name}")
        maker, inner = self._inner(spec)
        module = maker.build(inner, classes, seed)
        setattr(module, MAKER, maker.name)
        return module

    def replace_head(self, module: nn.Module, classes: int, seed: int = 0) -> nn.Module:
        """Let that backend replace the head."""
        maker = self._maker(module)
        module = maker.replace_head(module, classes, seed)
        setattr(module, MAKER, maker.name)
        return module

    def features(self, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Let that backend compute the features."""
        return self._maker(module).features(module, images)

    def load(self, spec: ArchitectureSpec, state: Mapping[str, torch.Tensor], classes: int) -> nn.Module:
        """Let that backend load the weights."""
        maker, inner = self._inner(spec)
        module = maker.load(inner, state, classes)
        setattr(module, MAKER, maker.name)
        return module

    def read_weights(self, spec: ArchitectureSpec, path: Path) -> Mapping[str, torch.Tensor]:
        """Let that backend read the file."""
        maker, inner = self._inner(spec)
        return maker.read_weights(inner, path)

    def preprocessing(self, spec: ArchitectureSpec, image_size: int | None = None) -> Preprocessing:
        """Return what the table says, and the architecture's own where that says nothing."""
        maker, inner = self._inner(spec)
        size = image_size or spec.config.get("image_size")
        own = maker.preprocessing(inner, size if type(size) is int and size > 0 else None)
        mean, std = (_three(spec.config.get(key)) for key in ("mean", "std"))
        return replace(own, mean=mean or own.mean, std=std or own.std)

    def topology(self, spec: ArchitectureSpec) -> tuple[float, ...]:
        """Return nothing: topologies of several backends are of several lengths."""
        return ()

    def license(self, spec: ArchitectureSpec) -> str:
        """Return what the table says; Apache-2.0 for what nns trains."""
        stated = spec.config.get("license")
        return str(stated) if stated and spec.source != "random" else "Apache-2.0"

    def _maker(self, module: nn.Module) -> Backend:
        return installed_plugins().backend(str(getattr(module, MAKER, "")))

    def _inner(self, spec: ArchitectureSpec) -> tuple[Backend, ArchitectureSpec]:
        """Return the backend of an architecture, and what that calls it.

        Raises:
            UsageError: If the settings name none.
            UnknownNameError: If it is not installed, or has no such architecture.
        """
        backend, architecture = spec.config.get("backend"), spec.config.get("architecture")
        if not isinstance(backend, str) or not isinstance(architecture, str) or backend == self.name:
            raise UsageError(f"{spec.name!r:.80} names no architecture of another backend: {dict(spec.config)!r:.80}")
        maker = installed_plugins().backend(backend)
        for offered in maker.offers(architecture):
            if offered.name == architecture:
                return maker, replace(offered, source="random")
        raise UnknownNameError(f"{architecture!r:.80} is no architecture of backend {backend!r}")


def _three(values: object) -> tuple[float, float, float] | None:
    if not isinstance(values, list) or len(values) != 3 or not all(type(each) in (int, float) for each in values):
        return None
    return float(values[0]), float(values[1]), float(values[2])


@hookimpl
def nns_register_backends(register: Register) -> None:
    """Register the backend."""
    register("folder", FolderBackend)
