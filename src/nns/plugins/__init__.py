"""Plugins: what is installed registers backends, space methods and zoos by the hooks of nns.hookspecs."""

from nns.plugins._loading import LoadedPlugin, PluginFailure, load_plugins
from nns.plugins._registry import Registry

__all__ = ["LoadedPlugin", "PluginFailure", "Registry", "load_plugins"]
