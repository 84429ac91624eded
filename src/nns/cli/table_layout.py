"""Laying a table out in the width there is: ids, numbers and headings stay whole, and whole columns go."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len, chop_cells

if TYPE_CHECKING:
    from nns.tables import Columns

NAME = 24
"""Width to which names may be broken."""

WORD = 12
"""Width to which words of a sentence may be broken, such as paths."""

WHOLE = re.compile(r"[0-9a-f]{8,}|[^\w]*\d[\d.,:%+\-×/]*\S?")
"""Words that are never broken: ids and digests, and numbers."""

UNIT = re.compile(r"(?<=\d) (?=(?:[kMGTKµmu]?(?:B|s|m|h)?|px|%|points|images/s)(?:\W|$))")
"""Between a number and its unit no line ends."""

JOINT = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Layout:
    """A table as lines.

    Attributes:
        head: Headings and a rule; empty if no column has a heading.
        body: The rows.
        left_out: Headings of columns that there was no room for.
    """

    head: tuple[str, ...]
    body: tuple[str, ...]
    left_out: tuple[str, ...]


def lay_out(
    columns: Columns, rows: Sequence[Sequence[str]], width: int, *, least: Sequence[str] = (), drop: bool = True
) -> Layout:
    """Lay out a table: names and sentences are folded as far as needed, then whole columns are left out.

    Args:
        columns: Heading and side of each; those on the right are numbers.
        rows: The cells, each one line.
        width: Columns of the terminal; a word that has no room even alone is longer than that, and stays whole.
        least: Headings in the order in which they are left out; after those the rightmost goes first, and the first
            column never.
        drop: Whether columns may be left out, if some have headings.
    """
    cells = [[UNIT.sub(JOINT, text) for text in column] for column in zip(*rows, strict=True)] or [[] for _ in columns]
    wanted = [max(map(cell_len, (heading, *column))) for (heading, _), column in zip(columns, cells, strict=True)]
    least_widths = [
        width if side == "right" else max(cell_len(heading), *map(_narrowest, column), 0)
        for (heading, side), column, width in zip(columns, cells, wanted, strict=True)
    ]
    headed = any(heading for heading, _ in columns)
    if not headed:  # the first column names what is in the second
        least_widths[0] = wanted[0]
    shown, out = list(range(len(columns))), list[int]()
    order = _order([heading for heading, _ in columns], least) if drop and headed else []
    gap = 3 if sum(wanted) + 3 * len(wanted) + 1 <= width else 2
    for number in order:
        if sum(least_widths[i] for i in shown) + gap * len(shown) <= width:
            break
        shown.remove(number)
        out.append(number)
    widths = _share({i: (least_widths[i], wanted[i]) for i in shown}, width - gap * len(shown))
    last, spare = shown[-1], width - gap * len(shown) - sum(widths.values())
    if spare < 0 and columns[last][1] != "right":  # a word that is longer than the line has the rest of it to itself
        widths[last] = max(NAME, widths[last] + spare)
    sides = [columns[i][1] for i in shown]

    def lines(texts: Sequence[str]) -> Iterator[str]:
        folded = [list(_fold(texts[i], widths[i])) for i in shown]
        for turn in range(max(map(len, folded))):
            parts = [lines[turn] if turn < len(lines) else "" for lines in folded]
            blanks = [" " * (widths[i] - cell_len(part)) for i, part in zip(shown, parts, strict=True)]
            filled = zip(sides, blanks, parts, strict=True)
            padded = [blank + part if side == "right" else part + blank for side, blank, part in filled]
            yield (" " * (gap - 1) + (" " * gap).join(padded)).replace(JOINT, " ").rstrip()

    head: tuple[str, ...] = ()
    if any(columns[i][0] for i in shown):
        named = [columns[i][0] if i in shown else "" for i in range(len(columns))]
        rule = " " * (gap - 2) + "─" * (sum(widths.values()) + gap * (len(shown) - 1) + 2)
        head = (*lines(named), rule)
    body = tuple(line for row in zip(*cells, strict=True) for line in lines(row)) if rows else ()
    return Layout(head, body, tuple(columns[i][0] for i in sorted(out) if columns[i][0]))


def _order(headings: Sequence[str], least: Sequence[str]) -> list[int]:
    """List columns by how soon they are left out, all but the first."""
    named = [number for name in least for number, heading in enumerate(headings) if heading == name and number]
    return named + [number for number in range(len(headings) - 1, 0, -1) if number not in named]


def _narrowest(text: str) -> int:
    """Return the width that a text needs at least."""
    words = text.split(" ")
    most = NAME if len(words) == 1 else WORD
    return max(cell_len(word) if _is_whole(word) else min(cell_len(word), most) for word in words)


def _is_whole(word: str) -> bool:
    return JOINT in word or WHOLE.fullmatch(word.strip("(),;:'\"")) is not None


def _share(columns: dict[int, tuple[int, int]], room: int) -> dict[int, int]:
    """Share out the room: to each column what it needs at least, and what is left evenly to those that want more."""
    widths = {number: least for number, (least, _) in columns.items()}
    left = room - sum(widths.values())
    wanting = [number for number, (least, wanted) in columns.items() if wanted > least]
    while left > 0 and wanting:
        wanting.sort(key=lambda number: columns[number][1] - widths[number])
        first = wanting.pop(0)
        more = min(columns[first][1] - widths[first], left // (len(wanting) + 1))
        widths[first] += more
        left -= more
    return widths


def _fold(text: str, width: int) -> Iterator[str]:
    """Break a text into lines, between words as far as they are no longer than a line."""
    if cell_len(text) <= width:
        yield text
        return
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if cell_len(joined) <= width:
            line = joined
            continue
        if line:
            yield line
        *pieces, line = [word] if _is_whole(word) else _broken(word, width)
        yield from pieces
    yield line


def _broken(word: str, width: int) -> list[str]:
    """Break a word, after a mark where there is one in the second half of a line."""
    pieces = []
    while cell_len(word) > width:
        piece = chop_cells(word, max(1, width))[0]
        marks = [found.end() for found in re.finditer(r"[/\\_.,:;=-]", piece) if found.end() > len(piece) // 2]
        piece = piece[: marks[-1]] if marks else piece
        pieces.append(piece)
        word = word[len(piece) :]
    return [*pieces, word]


def fold_text(text: str, width: int) -> str:
    """Break lines of a text between words; no word and no line that is a command is broken, since it may be copied."""
    lines = []
    for line in text.split("\n"):
        if line.startswith("nns "):
            lines.append(line)
            continue
        here = ""
        for word in UNIT.sub(JOINT, line).split(" "):
            joined = f"{here} {word}" if here else word
            if here and cell_len(joined) > width:
                lines.append(here)
                joined = word
            here = joined
        lines.append(here)
    return "\n".join(lines).replace(JOINT, " ")
