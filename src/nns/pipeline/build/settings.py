"""What a zoo is built from: datasets, backends, how many networks, at which size."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from nns.errors import UnknownNameError, UsageError

WEIGHTS = ("fp32", "fp16")
"""Precisions in which weights are kept."""


@dataclass(frozen=True)
class BuildSettings:
    """Settings of ``nns zoo build``.

    Attributes:
        data: Datasets, as on the command line (folders, tables, ``torchvision:NAME``).
        backends: Backends, as ``NAME`` or ``NAME:ARCHITECTURE`` (a glob of architectures).
        networks: Networks in all, spread evenly over datasets and backends; pretrained ones not counted.
        image_size: Side of the square images at most; a backend may train on smaller ones.
        max_images: Training images of one dataset at most, drawn by class; None: all.
        pretrained: Whether networks that come trained (ImageNet) enter the zoo as they are.
        epochs: Epochs of every training, in place of each backend's own choice; None keeps that.
        weights: ``fp32`` keeps trained weights as they are, ``fp16`` rounded to half the bytes.
        seed: Of splits, architectures, weights and batches.
    """

    data: tuple[str, ...] = ()
    backends: tuple[str, ...] = ("ofa", "timm")
    networks: int = 400
    image_size: int = 64
    max_images: int | None = 300
    pretrained: bool = True
    epochs: int | None = None
    weights: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UsageError: If one is out of range.
        """
        if self.networks < 1:
            raise UsageError(f"networks must be at least 1, not {self.networks}")
        if not 16 <= self.image_size <= 512:
            raise UsageError(f"image size must be 16 to 512 pixels, not {self.image_size}")
        if self.max_images is not None and self.max_images < 2:
            raise UsageError(f"max images must be at least 2, not {self.max_images}")
        if self.weights not in WEIGHTS:
            raise UnknownNameError.among("precision of weights", self.weights, WEIGHTS)
        if self.epochs is not None and self.epochs < 1:
            raise UsageError(f"epochs must be at least 1, not {self.epochs}")


def read_recipe(path: Path) -> BuildSettings:
    """Read settings from a TOML file: the attributes of :class:`BuildSettings` as top-level keys.

    Relative paths in ``data`` are relative to the file.

    Raises:
        UsageError: If the file cannot be read, is no TOML, or has an unknown key or a wrong type.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read recipe {str(path)!r}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {str(path)!r} is no TOML: {error}") from error
    settings = _checked(document, str(path))
    data = tuple(d if d.startswith("torchvision:") else str(path.parent / d) for d in settings.data)
    return replace(settings, data=data)


_TYPES: Mapping[str, tuple[type, ...]] = {
    "data": (list,),
    "backends": (list,),
    "networks": (int,),
    "image_size": (int,),
    "max_images": (int,),
    "pretrained": (bool,),
    "epochs": (int,),
    "weights": (str,),
    "seed": (int,),
}


def _checked(document: Mapping[str, Any], where: str) -> BuildSettings:
    known = [field.name for field in fields(BuildSettings)]
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key not in known:
            raise UnknownNameError.among(f"key of recipe {where!r}", key, known)
        if not isinstance(value, _TYPES[key]) or (isinstance(value, bool) and bool not in _TYPES[key]):
            raise UsageError(f"recipe {where!r}: {key} must be {_TYPES[key][0].__name__}, not {value!r}")
        if isinstance(value, list):
            if not all(isinstance(v, str) for v in value):
                raise UsageError(f"recipe {where!r}: {key} must be a list of strings")
            value = tuple(value)
        values[key] = value
    return BuildSettings(**values)
