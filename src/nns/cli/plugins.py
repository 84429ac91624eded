"""``nns plugins``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Exit, Option

from nns.cli import completion, options

if TYPE_CHECKING:
    from nns.plugins import PluginFailure, Registry


app = typer.Typer()


@app.callback(invoke_without_command=True)
def plugins(
    context: typer.Context,
    strict: Annotated[
        bool, Option("--strict", help="Also make what plugins from outside register; exit with 1 if anything fails.")
    ] = False,
    json: options.JsonFlag = False,
) -> None:
    """List what is installed, what it registers, how long its import takes, and what failed to load.

    Example: nns plugins --strict
    """
    if context.invoked_subcommand:
        return
    from nns.cli.streams import clean_stdout

    with clean_stdout():  # as during a built-in command, which a group is not
        _list(strict, json)


def _list(strict: bool, json: bool) -> None:
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


@app.command("new")
def new(
    name: Annotated[str, Argument(metavar="NAME", help="Of the distribution, e.g. acme-nets.")],
    kind: Annotated[
        str,
        Option(
            "--kind",
            metavar="KIND",
            help="backend, extractor, probe, format, method, command or zoo.",
            autocompletion=completion.one_of("backend|extractor|probe|format|method|command|zoo"),
        ),
    ],
    output: Annotated[Path, Option("--output", "-o", metavar="DIR", help="Where its folder is made.")] = Path(),
    json: options.JsonFlag = False,
) -> None:
    """Write a plugin of a kind to begin with: pyproject, module, contract test, README; its tests pass.

    Example: nns plugins new acme-nets --kind backend
    """
    from nns.cli.output import note, print_json, print_lines
    from nns.plugins.starting import start_plugin

    files = [str(path) for path in start_plugin(name, kind, output)]
    if json:
        print_json({"name": name, "kind": kind, "folder": str(output / name), "files": files})
        return
    print_lines("\n".join(files))
    note(f"next: pip install -e {output / name} && pytest {output / name}")


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
