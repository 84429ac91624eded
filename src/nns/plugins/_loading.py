"""Finding and loading plugins: entry points of the group ``nns``, the built-ins among them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from time import perf_counter
from typing import Any

import pluggy

from nns import hookspecs
from nns.errors import PluginError
from nns.plugins._output import prints_to_stderr
from nns.plugins._registry import Registry

ENTRY_POINT_GROUP = "nns"
BUILTIN_DISTRIBUTION = "nns"
LOAD_VARIABLE = "NNS_LOAD_PLUGINS"
HOOK = "nns_register_"
KINDS = tuple(hook.removeprefix(HOOK).removesuffix("s") for hook in vars(hookspecs) if hook.startswith(HOOK))
"""What can be registered, as ``"backend"``: one kind for every hook of nns.hookspecs."""

INTERFACE_ATTRIBUTE = "NNS_INTERFACE"
"""What a plugin's module may have: the version of nns.hookspecs that it was written for."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")
"""What may be registered: it may stand before the colon of ``NAME:ARCHITECTURE`` or, as ``NAME@SIZE``, in a zoo."""


@dataclass(frozen=True)
class LoadedPlugin:
    """A plugin that loaded.

    Attributes:
        name: Name of its entry point.
        distribution: Distribution that ships it.
        version: Version of that distribution.
        builtin: Whether it ships with nns.
        registered: ``(kind, name)`` of each thing it registered.
        seconds: What importing it took.
    """

    name: str
    distribution: str
    version: str
    builtin: bool
    registered: tuple[tuple[str, str], ...]
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class PluginFailure:
    """A plugin that did not load, and why."""

    name: str
    distribution: str
    reason: str


class _Table:
    """Collects registrations of one kind, refusing a name that is taken."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.factories: dict[str, Callable[..., Any]] = {}
        self.owners: dict[str, str] = {}

    def collect(self, owner: str, hook: Callable[..., Any]) -> list[tuple[str, str]]:
        names: list[tuple[str, str]] = []

        def register(name: str, factory: Callable[..., Any]) -> None:
            kind = self.kind
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise PluginError(f"{kind} {name!r} of {owner!r}: a name is letters, digits, '_', '.', '@' and '-'")
            if name in self.owners:
                raise PluginError(f"{kind} {name!r} of {owner!r} is registered already, by {self.owners[name]!r}")
            if not callable(factory):
                raise PluginError(f"{kind} {name!r} of {owner!r}: the factory must be callable")
            self.factories[name] = factory
            self.owners[name] = owner
            names.append((kind, name))

        hook(register=register)
        return names

    def drop(self, owner: str) -> None:
        for name in [name for name, by in self.owners.items() if by == owner]:
            del self.owners[name], self.factories[name]


def load_plugins(points: Iterable[EntryPoint] | None = None) -> Registry:
    """Load the installed plugins and collect what they register.

    A plugin that fails to import, misuses a hook or registers a taken name is reported, not raised: one
    broken plugin must not stop the others. ``NNS_LOAD_PLUGINS`` (comma-separated entry point names, may be
    empty) limits which plugins from outside are loaded; the built-ins always are.

    Args:
        points: Entry points to load, by default those of the group ``nns`` of all installed distributions.

    Returns:
        What was registered, and what failed.
    """
    tables = {kind: _Table(kind) for kind in KINDS}
    loaded: list[LoadedPlugin] = []
    failures: list[PluginFailure] = []
    for point in _wanted(entry_points(group=ENTRY_POINT_GROUP) if points is None else points):
        owner = f"{_distribution(point)}:{point.name}"
        began = perf_counter()
        try:
            with prints_to_stderr():
                registered = _register(point, owner, tables)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it may raise anything; `nns plugins` reports it
            for table in tables.values():
                table.drop(owner)
            failures.append(PluginFailure(point.name, _distribution(point), f"{type(error).__name__}: {error}"))
            continue
        version = point.dist.version if point.dist else ""
        seconds, names = perf_counter() - began, tuple(registered)
        loaded.append(LoadedPlugin(point.name, _distribution(point), version, _builtin(point), names, seconds))
    return Registry(tuple(loaded), tuple(failures), {kind: table.factories for kind, table in tables.items()})


def installed_plugins() -> Registry:
    """Return what the installed plugins registered; they are loaded once in a process.

    Who is given no registry takes this one. It is loaded anew where ``NNS_LOAD_PLUGINS`` has changed meanwhile.
    """
    return _installed(os.environ.get(LOAD_VARIABLE))


@cache
def _installed(limit: str | None) -> Registry:
    return load_plugins()


def _register(point: EntryPoint, owner: str, tables: dict[str, _Table]) -> list[tuple[str, str]]:
    manager = pluggy.PluginManager("nns")
    manager.add_hookspecs(hookspecs)
    plugin = point.load()
    _check_interface(plugin)
    manager.register(plugin, name=owner)
    _check_hooks(plugin, {implementation.function for implementation in _implementations(manager, plugin)})
    manager.check_pending()
    registered: list[tuple[str, str]] = []
    for kind, table in tables.items():
        registered += table.collect(owner, getattr(manager.hook, f"{HOOK}{kind}s"))
    return registered


def _implementations(manager: pluggy.PluginManager, plugin: object) -> list[pluggy.HookImpl]:
    callers = manager.get_hookcallers(plugin) or []
    return [found for caller in callers for found in caller.get_hookimpls() if found.plugin is plugin]


def _check_interface(plugin: object) -> None:
    """Refuse a plugin that says that it is for another version of the hooks."""
    wanted = getattr(plugin, INTERFACE_ATTRIBUTE, hookspecs.INTERFACE)
    if wanted == hookspecs.INTERFACE:
        return
    newer = isinstance(wanted, int) and wanted > hookspecs.INTERFACE
    what = "update nns: pip install -U nns" if newer else "update the plugin"
    raise PluginError(
        f"it is for version {wanted!r} of the hook interface, this nns has version {hookspecs.INTERFACE}; {what}"
    )


def _check_hooks(plugin: object, marked: set[object]) -> None:
    """Name functions that look like hooks and would never be called."""
    hooks = [f"{HOOK}{kind}s" for kind in KINDS]
    for name in dir(plugin):
        function = getattr(plugin, name, None)
        if not name.startswith(HOOK) or not callable(function):
            continue
        if name not in hooks:
            raise PluginError(f"unknown hook {name!r}; the hooks are {', '.join(hooks)}")
        if function not in marked:
            raise PluginError(f"{name} is never called: it lacks the decorator @hookimpl (from nns.plugins)")


def _wanted(points: Iterable[EntryPoint]) -> list[EntryPoint]:
    ordered = sorted(points, key=lambda p: (not _builtin(p), p.name, p.value))
    limit = os.environ.get(LOAD_VARIABLE)
    if limit is None:
        return ordered
    names = {name.strip() for name in limit.split(",")}
    return [p for p in ordered if _builtin(p) or p.name in names]


def _builtin(point: EntryPoint) -> bool:
    return _distribution(point) == BUILTIN_DISTRIBUTION


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "?"
