"""``nns doctor``."""

from __future__ import annotations

from dataclasses import asdict

import typer

from nns.cli import options


def doctor(data: options.Data, json: options.JsonFlag = False) -> None:
    """Say what is wrong with a dataset, before anything is trained on it. Exits with 3 if it cannot be used.

    Example: nns doctor ./mydata
    """
    from nns.cli.output import note, print_json, print_table, progress_bar
    from nns.data import diagnose
    from nns.errors import DatasetError

    with progress_bar() as update:
        report = diagnose(data, progress=lambda done, total: update("reading images", done, total))
    if json:
        print_json(asdict(report))
    else:
        rows = [[finding.severity, finding.what, finding.next_step] for finding in report.findings]
        title = f"{data}: {'can be used' if report.ok else 'cannot be used as it is'}"
        print_table(
            title, [("", "left"), ("found", "left"), ("what to do", "left")], rows or [["", "nothing wrong", ""]]
        )
    if not report.ok:
        if json:
            note(f"{data!r} cannot be used as it is")
        raise typer.Exit(DatasetError.exit_code)
