"""Hooks that a plugin may implement. Each gets a ``register`` callback and calls it with a name and a factory.

The factory is called at first use, so that ``nns --help`` never imports what it makes. See docs/plugins.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pluggy

INTERFACE = 1
"""Version of these hooks; it rises where a plugin that was written for the one before would not work any more.

A plugin may say what it was written for, ``NNS_INTERFACE = 1`` in its module; one for another version is refused.
"""

hookspec = pluggy.HookspecMarker("nns")
hookimpl = pluggy.HookimplMarker("nns")


class Register(Protocol):
    """The callback that a hook is given."""

    def __call__(self, name: str, factory: Callable[..., Any]) -> None:
        """Register ``factory`` under ``name``. What it returns is checked at its first use."""


@hookspec
def nns_register_backends(register: Register) -> None:
    """Register backends: ``register(name, factory)``, the factory returns a ``nns.backends.Backend``."""


@hookspec
def nns_register_methods(register: Register) -> None:
    """Register space methods: ``register(name, factory)``, the factory returns a ``nns.space.SpaceMethod``."""


@hookspec
def nns_register_zoos(register: Register) -> None:
    """Register zoo files that ship with a plugin: ``register(name, factory)``, the factory returns a path."""


@hookspec
def nns_register_extractors(register: Register) -> None:
    """Register extractors: ``register(name, factory)``, the factory returns a ``nns.data.extractors.Extractor``.

    The name is what zoos store beside the features, so a network or size of its own has a name of its own.
    """


@hookspec
def nns_register_formats(register: Register) -> None:
    """Register data formats: ``register(name, factory)``, the factory returns a ``nns.data.formats.Format``."""


@hookspec
def nns_register_probes(register: Register) -> None:
    """Register probes: ``register(name, factory)``, the factory returns a ``nns.searching.probes.Probe``."""


@hookspec
def nns_register_recipes(register: Register) -> None:
    """Register recipes of fine-tuning: ``register(name, factory)``, the factory returns a ``nns.finetuning.Recipe``."""


@hookspec
def nns_register_commands(register: Register) -> None:
    """Register commands: ``register(name, factory)``, the factory returns a function for typer, or a ``typer.Typer``.

    They are needed for ``nns --help``, so they have an entry point of their own whose name ends with ``commands``, and
    a module that imports nothing heavy.
    """
