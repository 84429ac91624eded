"""The built-in extractors and data formats, registered through the same hooks as a plugin's.

A new one is a file beside the others and a line here.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from nns.hookspecs import Register, hookimpl

EXTRACTORS = {
    "efficientnet-lite0@96": "efficientnet_lite0.EfficientNetLite0Extractor",
    "resnet18@224": "resnet18.ResNet18Extractor",
}

FORMATS = {
    "folder": "folder.FolderFormat",
    "table": "table.TableFormat",
    "torchvision": "torchvision.TorchvisionFormat",
}


def _make(package: str, home: str) -> Any:
    module, _, name = home.partition(".")
    return getattr(import_module(f"nns.data.{package}.{module}"), name)()


@hookimpl
def nns_register_extractors(register: Register) -> None:
    """Register the built-in extractors."""
    for name, home in EXTRACTORS.items():
        register(name, partial(_make, "extractors", home))


@hookimpl
def nns_register_formats(register: Register) -> None:
    """Register the built-in formats."""
    for name, home in FORMATS.items():
        register(name, partial(_make, "formats", home))
