"""Plugins: what is installed registers backends, methods, extractors and data formats by the hooks of nns.hookspecs.

The author of a plugin imports all that a backend needs from here, in one import, and loads nothing heavy by
it. See docs/plugins.md.
"""

from nns.backends import Backend, PretrainedOffer, ProducedNetwork, Trainer, WorkItem
from nns.backends.seeding import seeded
from nns.errors import PluginError, UnknownNameError, UsageError, WeightsError
from nns.hookspecs import Register, hookimpl
from nns.plugins._loading import LoadedPlugin, PluginFailure, installed_plugins, load_plugins
from nns.plugins._registry import Registry
from nns.types import ArchitectureSpec, Preprocessing, SplitArrays, Training

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
