"""The built-in commands, registered through the same hook as a plugin's.

The name of each, in the order of ``nns --help``, and where it is. A command of ``nns zoo``, ``nns space``,
``nns bench`` or ``nns repro`` is a function in the file of its noun and needs no line here. Modules of commands are
light: what is heavy they import when they run.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from nns.hookspecs import Register, hookimpl

COMMANDS = {
    "demo": "demo.demo",
    "doctor": "data.doctor",
    "search": "search.search",
    "serve": "serve.serve",
    "finetune": "finetune.finetune",
    "evaluate": "handover.evaluate",
    "predict": "handover.predict",
    "export": "handover.export",
    "zoo": "zoo.app",
    "space": "space.app",
    "history": "history.app",
    "bench": "bench.app",
    "repro": "repro.app",
    "architectures": "architectures.architectures",
    "plugins": "plugins.app",
}


def make_command(home: str) -> Any:
    """Import a built-in command, or the group of a noun."""
    module, _, name = home.partition(".")
    return getattr(import_module(f"nns.cli.{module}"), name)


@hookimpl
def nns_register_commands(register: Register) -> None:
    """Register the built-in commands."""
    for name, home in COMMANDS.items():
        register(name, partial(make_command, home))
