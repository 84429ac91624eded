"""``nns zoo diff``: what differs between two zoos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from nns.cli import in_options, options
from nns.quantities import counted

SHOWN = 20
"""Networks of each kind that the table lists, if nothing else is asked for."""

IN_JSON = 1000
"""Networks of each kind that the document lists."""


def diff(
    a: Annotated[Path, Argument(metavar="A", help="Zoo file, as it was.")],
    b: Annotated[Path, Argument(metavar="B", help="Zoo file, as it is.")],
    limit: Annotated[
        int | None,
        Option(min=0, metavar="N", help=f"Networks of each kind to list: {SHOWN}, with --json {IN_JSON}."),
    ] = None,
    json: options.JsonFlag = False,
) -> None:
    """Say what differs between two zoos: networks added, removed and trained anew, numbers that moved, and why.

    Content counts, as in the digest of `nns zoo info`, and fitted spaces. Exit code 0, also where they differ.

    Example: nns zoo diff last-week.h5 team.h5
    """
    from nns.cli.output import note, print_json, render_table
    from nns.zoo import diff_zoos

    found = diff_zoos(a, b, limit if limit is not None else IN_JSON if json else SHOWN)
    if json:
        print_json(found.to_dict())
    elif found.same:
        note(f"{a} and {b} hold the same: {counted(found.equal, 'network')}, digest {found.a.digest}")
    else:
        table = found.table
        render_table(replace(table, caption=in_options(table.caption)))
