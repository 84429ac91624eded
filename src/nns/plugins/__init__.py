"""Plugins: what is installed registers backends, methods, extractors and data formats by the hooks of nns.hookspecs.

The author of a plugin imports all that a backend needs from here, in one import, and loads nothing heavy by
it. See docs/plugins.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nns._lazy import homes, lazy_names

if TYPE_CHECKING:
    from nns.backends import Backend, PretrainedOffer, ProducedNetwork, Trainer, WorkItem
    from nns.backends.heads import head_of, name_head
    from nns.backends.seeding import seeded
    from nns.errors import PluginError, UnknownNameError, UsageError, WeightsError
    from nns.hookspecs import Register, hookimpl
    from nns.places import AddressWeights, BackendWeights, HubWeights
    from nns.plugins._loading import LoadedPlugin, PluginFailure, installed_plugins, load_plugins
    from nns.plugins._origins import install_hint, is_origin
    from nns.plugins._registry import Registry
    from nns.types import ArchitectureSpec, Preprocessing, SplitArrays, Training

_HOMES = homes(
    {
        ".backends": "Backend PretrainedOffer ProducedNetwork Trainer WorkItem",
        ".backends.heads": "head_of name_head",
        ".backends.seeding": "seeded",
        ".errors": "PluginError UnknownNameError UsageError WeightsError",
        ".hookspecs": "Register hookimpl",
        ".places": "AddressWeights BackendWeights HubWeights",
        ".types": "ArchitectureSpec Preprocessing SplitArrays Training",
        "_loading": "LoadedPlugin PluginFailure installed_plugins load_plugins",
        "_origins": "install_hint is_origin",
        "_registry": "Registry",
    }
)

__all__ = [
    "AddressWeights",
    "ArchitectureSpec",
    "Backend",
    "BackendWeights",
    "HubWeights",
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
    "head_of",
    "hookimpl",
    "install_hint",
    "installed_plugins",
    "is_origin",
    "load_plugins",
    "name_head",
    "seeded",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
