"""``nns doctor``."""

from __future__ import annotations

from dataclasses import asdict

import typer

from nns.cli import options


def doctor(data: options.Data, json: options.JsonFlag = False) -> None:
    """Say what nns sees in a dataset, and what is wrong with it. Exits with 3 if it cannot be used.

    Example: nns doctor ./mydata
    """
    from nns.cli.output import note, print_json, progress_bar, render_table
    from nns.data import diagnose
    from nns.errors import DatasetError

    with progress_bar() as update:
        report = diagnose(data, progress=lambda done, total: update("reading images", done, total))
    if json:
        print_json(asdict(report))
    else:
        for table in report.tables():
            render_table(table)
    if not report.ok:
        if json:
            note(f"{data!r} cannot be used as it is")
        raise typer.Exit(DatasetError.exit_code)
