"""The lines of keys in a TOML document.

tomllib and msgspec name no lines and tomlkit keeps no positions, but what is wrong with a build file should be said
with its line.
"""

from __future__ import annotations

import re
import tomllib
from collections import deque

DEEP = 100
"""Names in a key, beyond which no lines are looked for."""

KeyPath = tuple[str | int, ...]
"""Names of tables and key, and places in lists, that lead to a value."""


class KeyFinder:
    """Finds the lines of keys and of items of lists in a TOML document, which tomllib does not tell.

    The document is taken to be right: it is read token by token, and nothing is checked. Where that fails, no line
    is found, rather than a wrong one.

    Args:
        text: The document.

    Attributes:
        lines: Path of a key, table or item to the line on which it begins first, from 1 on.
        twice: Path of the first key or table that is given twice, and the lines of both; None if there is none.
    """

    TOKENS = re.compile(
        r"""(?P<text> "{3}(?:\\.|[^\\])*?"{3,5} | '{3}.*?'{3,5} | "(?:\\.|[^"\\\n])*" | '[^'\n]*')
        | \#[^\n]* | [ \t\r]+ | (?P<other> \n | [][{},=.] | [^][{},=.\s\#"']+ | . )""",
        re.VERBOSE | re.DOTALL,
    )

    def __init__(self, text: str) -> None:
        """Look through the document."""
        self.lines: dict[KeyPath, int] = {}
        self.twice: tuple[KeyPath, int, int] | None = None
        self._given: dict[KeyPath, int] = {}
        self._tokens: deque[tuple[str, int]] = deque()
        line = 1
        for found in self.TOKENS.finditer(text):
            if found.lastgroup:  # neither blank nor comment
                self._tokens.append((found[0], line))
            line += found[0].count("\n")
        try:
            self._document()
        except (IndexError, RecursionError, tomllib.TOMLDecodeError):
            self.lines = {}

    def _document(self) -> None:
        table: KeyPath = ()
        while self._tokens:
            token, _ = self._tokens[0]
            if token in ("\n", "]"):  # the second bracket of [[name]]
                self._tokens.popleft()
            elif token == "[":
                self._tokens.popleft()
                if self._tokens[0][0] == "[":
                    self._tokens.popleft()
                    self._given = {}  # each table of [[name]] has its own keys
                table = self._key((), "]")
            else:
                self._value(self._key(table, "="))

    def _key(self, path: KeyPath, end: str) -> KeyPath:
        line = 0
        while (token := self._tokens.popleft())[0] != end:
            if token[0] not in (".", "\n"):
                line = token[1]
                path = (*path, _name(token[0]))
                if len(path) > DEEP:
                    raise RecursionError
                self.lines.setdefault(path, line)
        if path in self._given and not self.twice:
            self.twice = path, self._given[path], line
        self._given[path] = line
        return path

    def _next(self) -> tuple[str, int]:
        while self._tokens[0][0] in ("\n", ","):
            self._tokens.popleft()
        return self._tokens[0]

    def _value(self, path: KeyPath) -> None:
        opening, _ = self._next()
        if opening not in ("[", "{"):
            while self._tokens and self._tokens[0][0] not in ("\n", ",", "]", "}"):
                self._tokens.popleft()
            return
        self._tokens.popleft()
        index = 0
        while self._next()[0] not in ("]", "}"):
            if opening == "{":
                self._value(self._key(path, "="))
            else:
                self.lines[(*path, index)] = self._next()[1]
                self._value((*path, index))
            index += 1
        self._tokens.popleft()


def _name(token: str) -> str:
    return str(tomllib.loads(f"name = {token}")["name"]) if token[0] in "\"'" else token
