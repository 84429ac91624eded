"""Build files: the settings of a build in TOML, ``--recipe FILE.toml``. What is wrong is said with its line."""

from __future__ import annotations

import errno
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from nns.building.settings import BuildSettings, SearchSpace
from nns.building.toml_lines import KeyFinder, KeyPath
from nns.data.formats import is_path
from nns.errors import UnknownNameError, UsageError
from nns.rehearsal import TooMuchError, rehearse
from nns.untrusted import RECIPE, RefusedFileError, read_file

ALL = "all"
"""How a recipe writes None where that is not the default: TOML has no null."""

INTEGERS = range(-(2**63), 2**63)
"""Whole numbers that TOML has."""

SHORT, SECONDS = 4096, 5.0
"""Characters up to which any recipe is read at once; of a longer one it is seen first that it takes no more."""

LONG = 60
"""Characters of a found text that a message shows."""

MESSAGE = 500
"""Characters of a message about a value."""

WIDE = 100
"""Characters of a line of a written recipe; longer lists take a line for each item."""

BARE = re.compile(r"[A-Za-z0-9_-]+")
"""A key that needs no quotes."""

Settings = TypeVar("Settings", BuildSettings, SearchSpace)

_KINDS: Mapping[object, tuple[type, str]] = {
    bool: (bool, "be true or false"),
    int: (int, "be a whole number"),
    str: (str, "be a text in quotes"),
    tuple: (list, 'be listed in brackets, like ["...", "..."]'),
    Mapping: (dict, "be a table"),
}
"""Type of an attribute to that of the value in TOML, and what the value must."""


def read_build_file(path: str | os.PathLike[str]) -> BuildSettings:
    """Read settings from a TOML file: the attributes of :class:`BuildSettings` as keys, see ``docs/recipes.md``.

    Relative paths in ``data`` are relative to the file.

    Raises:
        UsageError: If the file cannot be read or is no TOML, or a value is none that the key can have.
        UnknownNameError: If a key does not exist, or what a name stands for.
    """
    path = Path(path)
    settings = _BuildFile(f"recipe {str(path)!r}", _read_text(path)).settings()
    return replace(settings, data=tuple(_beside(path.parent, data) for data in settings.data))


def write_build_file(settings: BuildSettings) -> str:
    """Write settings as a recipe, each key with its value.

    Read back from a file in the working directory, which relative paths refer to, it gives the same settings. Search
    spaces of backends that are not named are left out: they have no effect.

    Raises:
        UsageError: If TOML cannot hold a value: a path that is not Unicode, a seed of more than 64 bits.
    """
    named = {backend.partition(":")[0] for backend in settings.backends}
    parts = ["".join(_lines_of(settings))]
    for name in sorted(named & set(settings.spaces)):
        key = name if BARE.fullmatch(name) else _toml(name)
        parts.append(f"[spaces.{key}]\n" + "".join(_lines_of(settings.spaces[name])))
    return "\n".join(parts)


def _lines_of(settings: BuildSettings | SearchSpace) -> Iterator[str]:
    for key in fields(settings):
        value = getattr(settings, key.name)
        if isinstance(value, Mapping) or (value is None and key.default is None):
            continue
        line = f"{key.name} = {_toml(ALL if value is None else value)}\n"
        if isinstance(value, tuple) and len(line) > WIDE:
            line = f"{key.name} = [\n" + "".join(f"    {_toml(item)},\n" for item in value) + "]\n"
        yield line


def _toml(value: str | int | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"{value!r} cannot be written in a recipe: it is not Unicode") from error
    elif value not in INTEGERS:
        raise UsageError(f"{value} cannot be written in a recipe: TOML has whole numbers of 64 bits")
    # what JSON escapes is what TOML escapes, but for DEL
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _beside(folder: Path, data: str) -> str:
    if os.path.isabs(data) or folder == Path() or not is_path(data):
        return data
    return str(folder / data)


def _read_text(path: Path) -> str:
    name = f"recipe {str(path)!r}"
    try:
        content = read_file(path, RECIPE)
    except RefusedFileError as error:
        if error.errno == errno.EFBIG:
            raise UsageError(f"{name} is larger than 1 MB; a recipe is some lines of TOML") from error
        raise UsageError(f"cannot read {name}: {error.strerror}") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise UsageError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{name}, line {line}: this is no TOML: it is not UTF-8; save the file as UTF-8") from error


class _BuildFile:
    """A recipe while it is read.

    Args:
        name: What messages call it.
        text: What is in the file.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text

    @cached_property
    def keys(self) -> KeyFinder:
        """Where everything is; looked for when something is wrong."""
        return KeyFinder(self.text)

    def settings(self) -> BuildSettings:
        """Read the whole."""
        settings = self.read(BuildSettings, self.document(), ())
        named = {backend.partition(":")[0] for backend in settings.backends}
        for name in settings.spaces:
            if name not in named:
                error = UnknownNameError.among("backend of a search space", _short(name), named)
                raise self.wrong(("spaces", name), UnknownNameError(f"{error}: name it in backends, too"))
        return settings

    def document(self) -> dict[str, Any]:
        """Parse the text."""
        try:
            if len(self.text) > SHORT:  # ten thousand dots in one key take minutes
                rehearse(self._try, len(self.text), SECONDS, 1 << 30)
            return tomllib.loads(self.text)
        except TooMuchError as error:
            raise UsageError(f"{self.name}: this is no TOML that can be read: {error}") from error
        except tomllib.TOMLDecodeError as error:
            raise self.no_toml(str(error)) from error
        except RecursionError as error:
            raise UsageError(f"{self.name}: this is no TOML that can be read: brackets are nested too deep") from error
        except ValueError as error:  # a whole number that Python refuses for its length
            raise UsageError(f"{self.name}: this is no TOML that can be read: a number has too many digits") from error

    def _try(self) -> None:
        with suppress(RecursionError):  # it ends, and is told when it is read again
            tomllib.loads(self.text)

    def no_toml(self, message: str) -> UsageError:
        """Say what tomllib says; of a key that is given twice, which and where."""
        found = re.search(r"at line (\d+), ", message)
        line = int(found[1]) if found else self.text.rstrip().count("\n") + 1
        if re.search("overwrite|twice|duplicate", message, re.IGNORECASE) and self.keys.twice:
            path, first, second = self.keys.twice
            if second <= line:
                return UsageError(f"{self.name}, line {second}: {_dotted(path)} is given twice, first in line {first}")
        return UsageError(f"{self.name}, line {line}: this is no TOML: {re.sub('at line [0-9]+, ', 'at ', message)}")

    def wrong(self, path: KeyPath, error: UsageError) -> UsageError:
        """Put recipe, line and table in front of a message."""
        line = self.keys.lines.get(path)
        table = f"[{_dotted(path[:2])}] " if len(path) > 2 else ""  # only search spaces go so deep
        return type(error)(f"{self.name}{f', line {line}' if line else ''}: {table}{_short(str(error), MESSAGE)}")

    def read(self, cls: type[Settings], table: Mapping[str, Any], path: KeyPath) -> Settings:
        """Make settings of a table.

        Each key is tried alone first: the defaults of the others are right, so what is wrong then is this key.
        """
        hints, values = get_type_hints(cls), {}
        for key, found in table.items():
            here = (*path, key)
            if key not in hints:
                raise self.wrong(here, _unknown_key(cls, key))
            values[key] = value = self.value(here, found, _kind(hints[key]))
            try:
                cls(**{key: value})
            except UsageError as error:
                raise self.wrong(*_blame(cls, here, value, error)) from error
        return cls(**values)

    def value(self, path: KeyPath, found: Any, kind: object) -> Any:
        """Check the type of a value, and bring it to that of the settings."""
        may_be_all = path == ("max_images",)
        if may_be_all and found == ALL:
            return None
        wanted, must = _KINDS[kind]
        right = isinstance(found, wanted) and isinstance(found, bool) is (kind is bool)
        if not right or (kind is int and found not in INTEGERS):
            must += f' or "{ALL}"' if may_be_all else ""
            raise self.wrong(path, UsageError(f"{path[-1]} must {must}, not {_shown(found)}"))
        if kind is Mapping:
            return {name: self.space((*path, name), table) for name, table in found.items()}
        return self.texts(path, found) if kind is tuple else found

    def texts(self, path: KeyPath, found: list[Any]) -> tuple[str, ...]:
        """Check the items of a list."""
        for index, item in enumerate(found):
            if not isinstance(item, str) or not item:
                what = f"{path[-1]} must list texts in quotes, none of them empty, not {_shown(item)}"
                raise self.wrong((*path, index), UsageError(what))
        return tuple(found)

    def space(self, path: KeyPath, found: Any) -> SearchSpace:
        """Read a table of ``spaces``."""
        if not isinstance(found, dict):
            keys = ", ".join(get_type_hints(SearchSpace))
            what = f"[{_dotted(path)}] must be the table of a backend, with {keys}; not {_shown(found)}"
            raise self.wrong(path, UsageError(what))
        return self.read(SearchSpace, found, path)


def _kind(hint: Any) -> object:
    """Return the type of a field that is not None; of ``tuple[str, ...]`` just ``tuple``."""
    (kind,) = (part for part in (get_args(hint) if isinstance(hint, UnionType) else (hint,)) if part is not NoneType)
    return get_origin(kind) or kind


def _blame(cls: type[Settings], path: KeyPath, value: Any, error: UsageError) -> tuple[KeyPath, UsageError]:
    """Find the first item with which a list is wrong; of what is no list, blame the whole."""
    for count in range(1, len(value) + 1 if isinstance(value, tuple) else 0):
        try:
            cls(**{str(path[-1]): value[:count]})
        except UsageError as first:
            return (*path, count - 1), first
    return path, error


def _unknown_key(cls: type, key: str) -> UsageError:
    if cls is SearchSpace and key in get_type_hints(BuildSettings):
        return UnknownNameError(f"unknown key {key!r}: it belongs above the first [table] of the file")
    if cls is BuildSettings and key in get_type_hints(SearchSpace):
        return UnknownNameError(f"unknown key {key!r}: it belongs in the table of a backend, like [spaces.NAME]")
    return UnknownNameError.among("key", _short(key), get_type_hints(cls))


def _dotted(path: KeyPath) -> str:
    return ".".join(name if BARE.fullmatch(name) else repr(_short(name)) for name in map(str, path))


def _short(text: str, limit: int = LONG) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


def _shown(found: object) -> str:
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, str):
        return f"the text {_short(found)!r}" if found else "an empty text"
    if isinstance(found, int):
        return f"the number {found}" if found in INTEGERS else "a number of more than 64 bits"
    if isinstance(found, float):
        return f"the number {found}"
    if isinstance(found, list):
        return "a list"
    return "a table" if isinstance(found, dict) else "a date or time"
