"""What torchvision says of its published weights: addresses, classes, accuracies, preprocessing, licences."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from torchvision import models

from nns.plugins import (
    AddressWeights,
    ArchitectureSpec,
    Preprocessing,
    PretrainedOffer,
    UnknownNameError,
    UsageError,
)
from nns_torchvision import networks

MIRROR = "NNS_TORCHVISION_MIRROR"
"""Environment variable: an address with the same files, in place of :data:`HOME`."""

HOME = "https://download.pytorch.org/models/"

SHA256 = re.compile(r"-([0-9a-f]{8,64})\.pth$")
"""The beginning of the digest, which torch puts into names of files and compares when it loads them."""

IMAGENET = "ImageNet-1K"
NON_COMMERCIAL = "CC-BY-NC-4.0"


def offers(backend: str) -> Sequence[PretrainedOffer]:
    """List the weights of all architectures.

    Raises:
        UsageError: If the mirror is no address that weights can be fetched from.
    """
    try:
        return _offers(backend, os.environ.get(MIRROR) or HOME)
    except ValueError as error:
        raise UsageError(f"{MIRROR}: {error}") from error


@lru_cache(maxsize=4)
def _offers(backend: str, home: str) -> tuple[PretrainedOffer, ...]:
    return tuple(
        PretrainedOffer(
            ArchitectureSpec(backend, name, _config(name, weights), weights.name),
            _unique(weights.meta["categories"]),
            "imagenet-1k",
            weights.meta["_metrics"][IMAGENET]["acc@1"] / 100,
            AddressWeights(_address(weights.url, home), sha256=_digest(weights.url)),
        )
        for name in networks.names()
        for weights in models.get_model_weights(name)
        if weights.meta.get("categories")  # without classes VGG-16 has been published, too, its head full of NaN
    )


def preprocessing(spec: ArchitectureSpec, image_size: int | None) -> Preprocessing:
    """Return mean, deviation and size of the weights that are named, else of the first of the architecture.

    Raises:
        UnknownNameError: If there is no such architecture.
    """
    weights = _weights(spec)
    preset = weights.transforms()
    own, least = spec.config.get("image_size", preset.crop_size[0]), weights.meta["min_size"][0]
    size = own if not image_size or spec.name.startswith(networks.OWN_SIZE) else max(image_size, least)
    (r, g, b), (dr, dg, db) = preset.mean, preset.std
    return Preprocessing(size, (r, g, b), (dr, dg, db))


def license(spec: ArchitectureSpec) -> str:
    """Return the licence of weights: what is stated, else that of where they came from; of nns's own Apache-2.0."""
    if spec.source == "random":
        return "Apache-2.0"
    weights = _weights(spec)
    if "SWAG" in str(weights.meta.get("license", "")):
        return NON_COMMERCIAL
    ported = re.search("rwightman|lukemelas", weights.url)  # their authors' licence
    return "Apache-2.0" if ported else "BSD-3-Clause"


def _weights(spec: ArchitectureSpec) -> Any:
    if spec.name not in networks.names():
        raise UnknownNameError.among("torchvision architecture", spec.name, networks.names())
    known = {each.name: each for each in models.get_model_weights(spec.name)}
    return known.get(spec.source) or next(iter(known.values()))


def _config(name: str, weights: Any) -> dict[str, int]:
    """Name the size of images where the shapes of the weights follow it."""
    size = weights.meta["min_size"][0]
    return {"image_size": size} if name.startswith("vit_") and size != 224 else {}


def _address(url: str, home: str) -> str:
    return f"{home.rstrip('/')}/{url.removeprefix(HOME)}"


def _digest(url: str) -> str | None:
    found = SHA256.search(url)
    return found[1] if found else None


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Number names that two classes have: ImageNet has two kinds of crane."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(unique)
