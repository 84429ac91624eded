"""``nns plugins``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from typer import Exit, Option

from nns.cli import options

if TYPE_CHECKING:
    from nns.plugins import PluginFailure, Registry


def plugins(
    strict: Annotated[
        bool, Option("--strict", help="Also make what plugins from outside register; exit with 1 if anything fails.")
    ] = False,
    json: options.JsonFlag = False,
) -> None:
    """List what is installed, what it registers, how long its import takes, and what failed to load.

    Example: nns plugins --strict
    """
    from nns.cli.output import print_json
    from nns.hookspecs import INTERFACE
    from nns.plugins import PluginFailure

    registry = options.load_registry()
    failures = list(registry.failures)
    for plugin in registry.plugins if strict else ():
        for kind, name, reason in () if plugin.builtin else registry.try_factories(plugin):
            failures.append(PluginFailure(plugin.name, plugin.distribution, f"{kind} {name!r}: {reason}"))
    if json:
        print_json(
            {
                "plugins": [
                    {**asdict(p), "registered": [{"kind": kind, "name": name} for kind, name in p.registered]}
                    for p in registry.plugins
                ],
                "failures": [asdict(failure) for failure in failures],
                "interface": INTERFACE,
            }
        )
    else:
        _show(registry, failures)
    if strict and failures:
        raise Exit(1)


def _show(registry: Registry, failures: Sequence[PluginFailure]) -> None:
    from nns.cli.output import note, print_table
    from nns.quantities import format_seconds

    rows = [
        [
            f"{plugin.distribution}:{plugin.name}",
            plugin.version,
            "built in" if plugin.builtin else "installed",
            format_seconds(plugin.seconds),
            ", ".join(f"{kind} {name}" for kind, name in plugin.registered) or "nothing",
        ]
        for plugin in registry.plugins
    ]
    columns = [("plugin", "left"), ("version", "left"), ("from", "left"), ("import", "right")]
    columns += [("registers", "left")]
    print_table("Plugins", columns, rows, least=("from", "import", "version"))
    for failure in failures:
        note(f"failed: {failure.distribution}:{failure.name}: {failure.reason}")
