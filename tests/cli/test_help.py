"""Every command says what it does and shows an example that it understands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
import typer

from nns.cli.app import app


def leaves(command, path=()):
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from leaves(child, (*path, name))
    if not hasattr(command, "commands") or (getattr(command, "invoke_without_command", False) and path):
        yield path, command


COMMANDS = dict(leaves(typer.main.get_command(app)))
CONTRACT = "demo, doctor, search, finetune, predict, export, plugins, space fit, space show, repro record, "
CONTRACT += "repro check, zoo build, zoo ls, zoo info, zoo show, zoo verify, zoo merge, zoo add, zoo export, "
CONTRACT += "zoo rm, zoo gc"


def test_the_commands_of_the_contract_are_there():
    assert {tuple(name.split()) for name in CONTRACT.split(", ")} <= set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_shows_an_example(path, nns):
    done = nns(*path, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"Example: nns {' '.join(path)}" in done.out


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_the_example_names_real_options(path):
    command = COMMANDS[path]
    example = command.help.partition("Example: ")[2].splitlines()[0]
    words = shlex.split(example)
    assert words[: 1 + len(path)] == ["nns", *path]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("arguments", [(), ("zoo",), ("space",), ("repro",)], ids=" ".join)
def test_a_group_without_a_command_shows_its_help(arguments, nns):
    done = nns(*arguments)
    assert done.code == 2
    assert "COMMAND [ARGS]" in done.out + done.err


def test_version(nns):
    assert re.fullmatch(r"nns \d+\.\d+\S*\n", nns("--version").out)


def test_wrong_command_and_option_are_usage_errors(nns):
    assert nns("serch").code == 2
    assert nns("search", ".", "--max-parms", "5M").code == 2


def test_python_m_is_the_same_command():
    found = subprocess.run([sys.executable, "-m", "nns", "--help"], capture_output=True, text=True, check=True)
    assert "Usage: python -m nns" in found.stdout
    assert "finetune" in found.stdout
    wrong = subprocess.run([sys.executable, "-m", "nns", "zoo", "info", "nowhere.h5"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stdout == ""
