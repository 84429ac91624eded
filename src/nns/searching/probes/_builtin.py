"""The built-in probes, registered through the same hook as a plugin's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from nns.hookspecs import Register, hookimpl

if TYPE_CHECKING:
    from nns.searching.probes._base import Probe

PROBES = {"hscore": "HScore", "knn": "Knn", "logme": "LogMe", "ridge": "Ridge"}
"""Module of this package, which is the name of the probe, and the class in it."""


def builtin_probes() -> dict[str, Callable[[], Probe]]:
    """List the built-in probes as light factories; the heavy imports happen when one is called."""
    return {name: partial(_make, name) for name in PROBES}


def _make(name: str) -> Probe:
    probe: Probe = getattr(import_module(f"nns.searching.probes.{name}"), PROBES[name])()
    return probe


@hookimpl
def nns_register_probes(register: Register) -> None:
    """Register the built-in probes."""
    for name, factory in builtin_probes().items():
        register(name, factory)
