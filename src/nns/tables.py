"""Tables of results as plain cells: the command line draws them in a terminal, a notebook as HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Columns = Sequence[tuple[str, str]]
"""Heading and ``"left"`` or ``"right"`` of each column."""


@dataclass(frozen=True)
class Table:
    """A table of text from wherever, shown as it is.

    Attributes:
        title: Above it, one line.
        columns: Heading and ``"left"`` or ``"right"`` of each.
        rows: The cells.
        caption: Below it; may have lines.
        least: Headings of the columns that a narrow terminal goes without first; after those the rightmost.
    """

    title: str
    columns: Columns
    rows: Sequence[Sequence[str]]
    caption: str = ""
    least: Sequence[str] = ()

    def html(self) -> str:
        """Return the table as HTML; names in a zoo come from strangers, so everything is escaped."""
        sides = [f' style="text-align:{side}"' for _, side in self.columns]
        head = "".join(f"<th{side}>{escape(name)}</th>" for side, (name, _) in zip(sides, self.columns, strict=True))
        body = "".join(
            "<tr>" + "".join(f"<td{side}>{escape(cell)}</td>" for side, cell in zip(sides, row, strict=True)) + "</tr>"
            for row in self.rows
        )
        caption = f"<p>{escape(self.caption).replace(chr(10), '<br>')}</p>" if self.caption else ""
        return (
            f"<div><p><strong>{escape(self.title)}</strong></p><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>{caption}</div>"
        )


def finite(value: float) -> float | None:
    """Return a number as JSON has it: None for what is not one."""
    return value if math.isfinite(value) else None
