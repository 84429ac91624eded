"""The two libraries that the bank needs beyond Pillow and numpy: taken from the environment or the cache."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from importlib import metadata
from types import ModuleType

from bank.packages import Shelf, Source

FONTTOOLS = Source("pypi", "fonttools")
RESVG = Source("pypi", "resvg-py")
FONT_PACKAGES = ("fonts-", "culmus")  # how the names of Debian's font packages start
_MODULES = {FONTTOOLS: "fontTools", RESVG: "resvg_py"}
_LIBRARIES = tuple(Source("pypi", name) for name in ("numpy", "pillow", "scikit-learn"))


def absent_tools(sources: Iterable[Source]) -> set[Source]:
    """Tools that the sources need and the environment lacks: fontTools for fonts, resvg for icon themes."""
    debs = [source.name for source in sources if source.kind == "deb"]
    fonts = [name for name in debs if name.startswith(FONT_PACKAGES)]
    needed = ({FONTTOOLS} if fonts else set()) | ({RESVG} if len(debs) > len(fonts) else set())
    return {tool for tool in needed if importlib.util.find_spec(_MODULES[tool]) is None}


def load_tool(shelf: Shelf, tool: Source) -> ModuleType:
    """Import a tool, from the shelf when the environment lacks it."""
    module = _MODULES[tool]
    if importlib.util.find_spec(module) is None:
        sys.path.append(str(shelf.path(tool)))
        importlib.invalidate_caches()
    return importlib.import_module(module)


def tool_versions(shelf: Shelf) -> dict[str, str]:
    """Versions of the libraries that decide the pixels: the environment's, else the shelf's."""
    return {tool.name: _version(shelf, tool) for tool in (*_LIBRARIES, *_MODULES)}


def _version(shelf: Shelf, tool: Source) -> str:
    try:
        return metadata.version(tool.name)
    except metadata.PackageNotFoundError:
        return shelf.version(tool)
