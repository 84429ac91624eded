"""The library speaks of arguments, the command line of options; one place translates."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import nns
from nns.cli import in_options

PACKAGE = Path(str(nns.__file__)).parent
OPTION = re.compile(r"(?<![\w-])--[a-z]")
WRITTEN_FOR_THE_COMMAND_LINE = {"finetuning/_readme.py", "bench/choosers/__init__.py"}
"""A README that lies beside a network, and the name that a committed document gives to a row."""


def literals(path: Path) -> Iterator[str]:
    """Strings of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


@pytest.mark.parametrize("package", sorted(p.name for p in PACKAGE.iterdir() if p.suffix == ".py" or p.is_dir()))
def test_no_text_of_the_library_holds_an_option(package: str) -> None:
    paths = [PACKAGE / package] if package.endswith(".py") else (PACKAGE / package).rglob("*.py")
    for path in paths:
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith("cli/") and name not in WRITTEN_FOR_THE_COMMAND_LINE:
            assert not [text for text in literals(path) if OPTION.search(text)], name


def test_arguments_become_options() -> None:
    assert in_options("max_params=5M or `tries` 3") == "--max-params 5M or --try 3"
    assert in_options("make one with `nns zoo build`; `A`") == "make one with `nns zoo build`; `A`"


def test_the_same_error_in_both_tongues(search, small_zoo) -> None:  # type: ignore[no-untyped-def]
    with nns.Zoo(small_zoo.path) as zoo, pytest.raises(nns.NoNetworkError, match="one: max_params=[0-9]"):
        nns.search(str(small_zoo.query), zoo, max_params=1)
    assert "one: --max-params " in search("--max-params", 1).err
