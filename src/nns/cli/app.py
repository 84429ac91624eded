"""The application: commands that the built-ins and plugins registered, one file a noun."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from nns.cli._builtin import COMMANDS as BUILT_IN
from nns.cli._builtin import make_command, nns_register_commands
from nns.cli.streams import clean_stdout
from nns.errors import PluginError, UsageError


class Group(TyperGroup):
    """All of ``nns``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse empty arguments, which a shell makes of variables that are not set.

        Raises:
            UsageError: If there is one; it would be taken for no limit, or for the current folder.
        """
        for before, given in zip(["", *args], () if ctx.resilient_parsing else args, strict=False):  # else completion
            name, equals, value = given.partition("=")
            if not given.strip():
                raise UsageError(f"{before if before.startswith('-') else 'an argument'} is empty{UNSET}")
            if equals and name.startswith("--") and not value.strip():
                raise UsageError(f"{name} is empty{UNSET}")
        return super().parse_args(ctx, args)


UNSET = ": give a value, or leave it out (is a variable of the shell not set?)"


class Command(TyperCommand):
    """A built-in command, during which only its result reaches stdout."""

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        with clean_stdout():
            return super().invoke(ctx)


app = typer.Typer(
    name="nns",
    cls=Group,
    help="Neural Network Search: which already trained network should I start from, for these images?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"nns {version('nns')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Neural Network Search: which already trained network should I start from, for these images?

    Example: nns search ./mydata --max-params 5M
    """


COMMANDS = "commands"
"""How the name of an entry point ends whose module registers commands: no other is loaded for ``nns --help``."""


def _commands() -> dict[str, Callable[..., Any]]:
    """Collect what makes each command; those of plugins come after the built-in ones and replace none."""
    commands: dict[str, Callable[..., Any]] = {}

    def register(name: str, factory: Callable[..., Any]) -> None:
        commands.setdefault(name, factory)

    nns_register_commands(register)
    if not _others_register():
        return commands
    from importlib.metadata import entry_points

    points = [point for point in entry_points(group="nns") if point.name.endswith(COMMANDS)]
    if outside := [point for point in points if point.dist is None or point.dist.name != "nns"]:
        from nns.plugins import load_plugins  # pluggy takes a third of the time of nns --help

        for name, factory in load_plugins(outside).factories["command"].items():
            register(name, factory)
    return commands


def _others_register() -> bool:
    """Whether any distribution but nns names commands: importlib.metadata takes 30 ms to say the same, this takes 3."""
    for folder in map(Path, sys.path):
        if folder.suffix == ".egg" or folder.is_file():  # an archive: this does not see what is in there
            return True
        for listing in folder.glob("*-info/entry_points.txt"):
            try:
                text = "" if listing.parent.name.startswith("nns-") else listing.read_text("utf-8", "replace")
            except OSError:
                continue
            if "[nns]" in text and COMMANDS in text:
                return True
    return False


def _broken(name: str, error: BaseException) -> Callable[[], None]:
    """Return a command in place of one that cannot be made: it must not break the others."""

    def broken() -> None:
        raise PluginError(f"command {name!r} cannot be made: {type(error).__name__}: {error}") from error

    broken.__doc__ = "Broken; run it to see why."
    return broken


def _add(name: str, factory: Callable[..., Any]) -> None:
    try:
        command = factory()
        if not isinstance(command, typer.Typer) and not callable(command):
            raise TypeError(f"a {type(command).__name__} is neither a function nor a typer.Typer")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a factory of a plugin may raise anything
        command = _broken(name, error)
    if isinstance(command, typer.Typer):
        if name in BUILT_IN:
            for each in command.registered_commands:
                each.cls = Command
        app.add_typer(command, name=name)
    else:
        app.command(name, cls=Command if name in BUILT_IN else None)(command)


_completing = os.environ.get("_NNS_COMPLETE", "").startswith("complete_")


def _being_completed() -> str | None:
    """Return the command whose values a shell asks for; None if it asks for none, or is still at the command itself.

    The others are then not even made: all of them take 0.1 s, and a shell waits.
    """
    if not _completing:
        return None
    typed = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    words = re.split(r"\s+", typed)
    return words[1] if len(words) > 2 and words[1] in BUILT_IN else None


def _as_typed(self: Any, ctx: Any, value: Any) -> Any:
    """Take a value as it is: to check those before it, Typer imports pydantic, which takes 0.1 s."""
    return value


if _completing:
    TyperArgument.process_value = TyperOption.process_value = _as_typed  # type: ignore[method-assign]
if _completed := _being_completed():
    _add(_completed, partial(make_command, BUILT_IN[_completed]))
else:
    with clean_stdout():  # plugins are imported
        for _name, _factory in _commands().items():
            _add(_name, _factory)
