"""Plugins: what is installed registers backends, methods, extractors and data formats by the hooks of nns.hookspecs.

The author of a plugin imports all that a backend needs from here, in one import, and loads nothing heavy by
it. See docs/plugins.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nns.backends import Backend, PretrainedOffer, ProducedNetwork, Trainer, WorkItem
    from nns.backends.seeding import seeded
    from nns.errors import PluginError, UnknownNameError, UsageError, WeightsError
    from nns.hookspecs import Register, hookimpl
    from nns.plugins._loading import LoadedPlugin, PluginFailure, installed_plugins, load_plugins
    from nns.plugins._registry import Registry
    from nns.types import ArchitectureSpec, Preprocessing, SplitArrays, Training

_HOMES = {
    "ArchitectureSpec": "nns.types",
    "Backend": "nns.backends",
    "LoadedPlugin": "nns.plugins._loading",
    "PluginError": "nns.errors",
    "PluginFailure": "nns.plugins._loading",
    "Preprocessing": "nns.types",
    "PretrainedOffer": "nns.backends",
    "ProducedNetwork": "nns.backends",
    "Register": "nns.hookspecs",
    "Registry": "nns.plugins._registry",
    "SplitArrays": "nns.types",
    "Trainer": "nns.backends",
    "Training": "nns.types",
    "UnknownNameError": "nns.errors",
    "UsageError": "nns.errors",
    "WeightsError": "nns.errors",
    "WorkItem": "nns.backends",
    "hookimpl": "nns.hookspecs",
    "installed_plugins": "nns.plugins._loading",
    "load_plugins": "nns.plugins._loading",
    "seeded": "nns.backends.seeding",
}

__all__ = [
    "ArchitectureSpec",
    "Backend",
    "LoadedPlugin",
    "PluginError",
    "PluginFailure",
    "Preprocessing",
    "PretrainedOffer",
    "ProducedNetwork",
    "Register",
    "Registry",
    "SplitArrays",
    "Trainer",
    "Training",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "WorkItem",
    "hookimpl",
    "installed_plugins",
    "load_plugins",
    "seeded",
]


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name`` at first use: commands need plugins, but no backend and no numpy."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
