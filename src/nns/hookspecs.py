"""Hooks that a plugin may implement. Each gets a ``register`` callback and calls it with a name and a factory.

The factory is called at first use, so that ``nns --help`` never imports what it makes. See docs/plugins.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    from nns.backends import Backend

hookspec = pluggy.HookspecMarker("nns")
hookimpl = pluggy.HookimplMarker("nns")


class RegisterBackend(Protocol):
    """The callback of :func:`nns_register_backends`."""

    def __call__(self, name: str, factory: Callable[[], Backend]) -> None:
        """Register ``factory`` under ``name``."""


class RegisterMethod(Protocol):
    """The callback of :func:`nns_register_methods`."""

    def __call__(self, name: str, factory: Callable[..., object]) -> None:
        """Register ``factory(**settings)`` under ``name``."""


class RegisterZoo(Protocol):
    """The callback of :func:`nns_register_zoos`."""

    def __call__(self, name: str, factory: Callable[[], Path]) -> None:
        """Register ``factory`` under ``name``."""


@hookspec
def nns_register_backends(register: RegisterBackend) -> None:
    """Register backends: ``register(name, factory)``, the factory returns a ``nns.backends.Backend``."""


@hookspec
def nns_register_methods(register: RegisterMethod) -> None:
    """Register space methods: ``register(name, factory)``, the factory returns a ``nns.space.SpaceMethod``."""


@hookspec
def nns_register_zoos(register: RegisterZoo) -> None:
    """Register zoo files that ship with a plugin: ``register(name, factory)``, the factory returns a path."""
