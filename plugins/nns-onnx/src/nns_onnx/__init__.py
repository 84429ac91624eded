"""The ``onnx`` backend: classifiers in ONNX format as frozen extractors with a trainable head."""

from __future__ import annotations

import fnmatch
import logging
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

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
    seeded,
)

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from nns.building.shares import SharedFile
    from nns.types import PartProgress
    from nns_onnx.files import Parts
    from nns_onnx.network import Body, OnnxNetwork

NNS_INTERFACE = 1

FOLDER = "NNS_ONNX"
"""Environment variable: the folders, with the separator of paths between."""

NEEDED = ("data", "mean", "std")
SOURCE = "onnx"
MOST_WIDTH = 1_000_000

_log = logging.getLogger("nns")


class OnnxBackend(Backend):
    """Files in ONNX format of the folders that ``NNS_ONNX`` names, up to their features, each with a linear head."""

    name = "onnx"

    def offers(self, pattern: str = "*") -> Sequence[ArchitectureSpec]:
        """List the networks; with random weights only their heads learn anything."""
        known = [self._spec(each, parts, "random") for each, parts in networks()]
        found = [spec for spec in known if fnmatch.fnmatchcase(spec.name, pattern)]
        if not known:
            raise UnknownNameError(f"no network {pattern!r:.80}: {FOLDER} names no folder with a table of ONNX files")
        if not found:
            raise UnknownNameError.among("network", pattern, [spec.name for spec in known])
        return found

    def _spec(self, file: SharedFile, parts: Parts, source: str) -> ArchitectureSpec:
        about = file.about
        config: dict[str, Any] = {"graph": parts.graph, "image_size": parts.side, "width": parts.width}
        config |= {"mean": list(about.mean or ()), "std": list(about.std or ())}
        if source != "random":
            config |= {"license": about.license or "NOASSERTION", "head": self._has_head(file, parts)}
        return ArchitectureSpec(self.name, file.name, config, source)

    @staticmethod
    def _has_head(file: SharedFile, parts: Parts) -> bool:
        return bool(file.classes) and parts.head is not None

    def pretrained(self) -> Sequence[PretrainedOffer]:
        """List the files, each to be fetched from its folder; without names of classes they come without a head."""
        offers = []
        for each, parts in networks():
            spec = self._spec(each, parts, f"{SOURCE}:{each.content[1][:12]}")
            classes = each.classes if self._has_head(each, parts) else ()
            accuracy = math.nan if each.about.accuracy is None else each.about.accuracy
            offers.append(PretrainedOffer(spec, classes, each.about.data or each.name, accuracy, each.weights))
        return offers

    def weights_host(self, name: str) -> str:
        """Name the folder."""
        from nns.building.shares import find_shared

        return f"the folder {find_shared(_files(), name).folder}"

    def fetch_weights(self, name: str, target: Path, progress: PartProgress | None = None) -> None:
        """Copy a file; nns compares what came."""
        from nns.building.shares import find_shared

        find_shared(_files(), name).copy(target, progress)

    def plan(self, networks: int, image_size: int, seed: int) -> Sequence[WorkItem]:
        """Draw networks that take images no larger, each to get a head on random weights."""
        specs = [spec for spec in self.offers() if spec.config["image_size"] <= image_size]
        order = np.random.default_rng(seed).permutation(len(specs))[:networks]
        training = Training(epochs=5, lr=3e-3)
        return [WorkItem(self.name, (specs[i],), specs[i].config["image_size"], training, 20.0) for i in order]

    def build(self, spec: ArchitectureSpec, classes: int, seed: int = 0) -> nn.Module:
        """Build the graph with random weights and a head."""
        from nns_onnx.network import OnnxNetwork

        if spec.source != "random":
            raise WeightsError(f"weights of {spec.name!r:.80} are not at hand: nns zoo add ZOO --offered {self.name}")
        width = spec.config.get("width")
        if type(width) is not int or not 0 < width <= MOST_WIDTH:
            raise UsageError(f"{spec.name!r:.80} is no network of ONNX: its features are {width!r:.40} wide")
        with seeded(seed):
            return OnnxNetwork(self._body(spec), width, classes)

    @staticmethod
    def _body(spec: ArchitectureSpec) -> Body:
        from nns_onnx.files import read_graph
        from nns_onnx.network import Body

        try:
            return Body(read_graph(spec.config.get("graph"), spec.config.get("image_size")))
        except ValueError as error:  # a zoo may say anything
            raise UsageError(f"{spec.name!r:.80} is no network of ONNX: {error!s:.200}") from error

    def replace_head(self, module: nn.Module, classes: int, seed: int = 0) -> nn.Module:
        """Put on a fresh linear layer."""
        from nns_onnx.network import linear

        network = cast("OnnxNetwork", module)
        with seeded(seed):
            network.head = linear(network.head.in_features, classes)
        return network

    def features(self, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Run the graph."""
        return cast("OnnxNetwork", module).body(images)  # type: ignore[no-any-return]

    def read_weights(self, spec: ArchitectureSpec, path: Path) -> Mapping[str, torch.Tensor]:
        """Read an ONNX file, or what was stored of one.

        Raises:
            WeightsError: If it is not the network of that graph.
        """
        import torch

        from nns_onnx.files import take_apart

        if path.suffix != ".onnx":
            return super().read_weights(spec, path)
        with torch.device("meta"):
            sources = self._body(spec).sources
        parts = take_apart(path, spec.config["image_size"])
        if missing := next((name for name in sources.values() if name not in parts.weights), None):
            raise WeightsError(f"{str(path)!r} is not the network {spec.name!r:.80}: it has no weights {missing!r:.80}")
        state = {f"body.{ours}": torch.from_numpy(parts.weights[name]) for ours, name in sources.items()}
        empty = np.zeros((0, spec.config["width"]), np.float32), np.zeros(0, np.float32)
        weight, bias = parts.head if parts.head and spec.config.get("head", True) else empty
        return {**state, "head.weight": torch.from_numpy(weight), "head.bias": torch.from_numpy(bias)}

    def preprocessing(self, spec: ArchitectureSpec, image_size: int | None = None) -> Preprocessing:
        """Return what the table says; the graph takes images of one size."""
        size, mean, std = (spec.config.get(key) for key in ("image_size", "mean", "std"))
        fits = all(isinstance(each, list) and len(each) == 3 for each in (mean, std))
        if not fits or type(size) is not int:
            raise UsageError(f"{spec.name!r:.80} does not say what images it takes")
        (r, g, b), (dr, dg, db) = mean, std  # type: ignore[misc]
        return Preprocessing(size, (r, g, b), (dr, dg, db))

    def topology(self, spec: ArchitectureSpec) -> tuple[float, ...]:
        """Return nothing: the statistics of the graph describe it."""
        return ()

    def license(self, spec: ArchitectureSpec) -> str:
        """Return what the table says; Apache-2.0 for what nns trains."""
        stated = spec.config.get("license")
        return str(stated) if stated and spec.source != "random" else "Apache-2.0"


def networks() -> list[tuple[SharedFile, Parts]]:
    """List the files that can be used, taken apart; of each other one it is said once why not."""
    return [(each, parts) for each in _files() if (parts := _parts(each, *each.content)) is not None]


def _files() -> list[SharedFile]:
    from nns.building.shares import shared_files

    return list(shared_files(FOLDER, NEEDED).values())


@lru_cache(maxsize=256)
def _parts(file: SharedFile, size: int, sha256: str) -> Parts | None:
    from nns_onnx.files import outline

    try:
        parts = outline(file.folder / file.file, file.about.image_size)
        head = len(parts.head[0]) if parts.head else 0
        if file.classes and head and len(file.classes) != head:
            raise WeightsError(f"{file.file} tells {head} classes apart, and its table names {len(file.classes)}")
    except WeightsError as error:
        _log.warning("%s", error)
        return None
    if file.classes and not head:
        _log.warning("%s: no linear layer gives its logits, so it comes without a head", file.file)
    return parts


@hookimpl
def nns_register_backends(register: Register) -> None:
    """Register the backend."""
    register("onnx", OnnxBackend)
