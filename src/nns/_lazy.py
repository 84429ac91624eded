"""Names of a package that are imported at first use (PEP 562), so that importing the package loads nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def homes(names: Mapping[str, str]) -> dict[str, str]:
    """Return the submodule of each name, given the names of each submodule with spaces between.

    A submodule ``.types`` is beside the package, not in it.
    """
    return {name: home for home, held in names.items() for name in held.split()}


def lazy_names(package: str, home_of: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and the ``__dir__`` of a package.

    Args:
        package: Its ``__name__``.
        home_of: What :func:`homes` returns.
    """

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f".{home_of[name]}", package), name)

    return get, lambda: sorted(home_of)
