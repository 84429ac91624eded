"""Beginning a plugin: a distribution of a kind whose tests pass as it is written."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from nns.errors import UnknownNameError, UsageError

PLUGIN_KINDS = ("backend", "extractor", "probe", "format", "method", "command", "zoo")
"""What can be begun; of each there is a folder of templates."""

MODULES = {"backend": "network", "zoo": ""}
"""The module beside the hook's, where it is not named as the kind."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*", re.ASCII)


def start_plugin(name: str, kind: str, folder: Path) -> tuple[Path, ...]:
    """Write a distribution: pyproject, module, contract test and README.

    Args:
        name: Of the distribution, as ``acme-nets``; the module is called so with underscores.
        kind: One of :data:`PLUGIN_KINDS`.
        folder: Where the folder of that name is made.

    Returns:
        The files that were written.

    Raises:
        UnknownNameError: If there is no such kind.
        UsageError: If the name is no name of a distribution and module, or the folder is there already.
    """
    if kind not in PLUGIN_KINDS:
        raise UnknownNameError.among("kind of plugin", kind, PLUGIN_KINDS)
    module = name.replace("-", "_").lower()
    if not NAME.fullmatch(name) or not _free(module):
        raise UsageError(f"{name!r} cannot name a distribution and its module: use letters, digits and -, as acme-nets")
    root = folder / name
    if root.exists():
        raise UsageError(f"{str(root)!r} is there already; nothing was written")
    thing = re.sub(r"^nns_", "", module)
    beside = MODULES.get(kind, kind)
    words = {
        "name": name, "kind": "data format" if kind == "format" else "space method" if kind == "method" else kind,
        "module": module, "file": beside or "__init__", "function": thing,
        "Class": "".join(part.capitalize() for part in thing.split("_")),
        "thing": {"extractor": f"{thing}@8", "command": thing.replace("_", "-")}.get(kind, thing),
        # commands have an entry point of their own
        "point": f"{module}-commands" if kind == "command" else module,
    }  # fmt: skip
    targets = {
        "pyproject.toml.txt": "pyproject.toml",
        "README.md.txt": "README.md",
        f"{kind}/init.py.txt": f"src/{module}/__init__.py",
        f"{kind}/test.py.txt": f"tests/test_{module}.py",
    }
    if beside:
        source = "network" if kind == "backend" else "thing"
        targets[f"{kind}/{source}.py.txt"] = f"src/{module}/{beside}.py"
    written = []
    for source, target in targets.items():
        text = files("nns.plugins").joinpath("templates", *source.split("/")).read_text(encoding="utf-8")
        path = root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(re.sub(r"@(\w+)@", lambda word: words[word[1]], text), encoding="utf-8")
        written.append(path)
    return tuple(written)


def _free(module: str) -> bool:
    """Return whether a module may be called so: no keyword, none of Python's own modules, not nns itself."""
    import keyword
    import sys

    return not keyword.iskeyword(module) and module not in sys.stdlib_module_names and module != "nns"
