"""``nns history``: what fine-tunings on this machine have taught."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from nns.cli import options
from nns.quantities import counted

if TYPE_CHECKING:
    from nns.history import History

LEAST = ("from", "tried", "epochs", "classes", "date", "test macro F1", "best")
"""Headings of `ls` by how soon a narrow terminal goes without them."""

app = typer.Typer(help="What fine-tunings on this machine have taught; the next search uses it.", no_args_is_help=True)


def _history() -> History:
    from nns.errors import UsageError
    from nns.history import own_history

    found = own_history()
    if found is None:
        raise UsageError("there is no history: NNS_HISTORY turns it off; unset it, or name a file")
    return found


@app.command("ls")
def ls(json: options.JsonFlag = False) -> None:
    """List the fine-tunings in your history, oldest first.

    Example: nns history ls
    """
    from nns.cli.output import note, print_json, print_table

    history = _history()
    records, damaged = history.read(), history.damaged()
    if json:
        print_json({"path": history.path, "damaged": damaged, "fine_tunings": [each.to_dict() for each in records]})
        return
    if damaged:
        note(f"{counted(damaged, 'line')} of {history.path} cannot be read and counts nothing")
    if not records:
        note(f"{history.path}: nothing yet; each `nns finetune` adds to it")
        return
    rows = []
    for record in records:
        best, dataset = record.results[0], record.dataset
        row = [record.id[:10], record.date[:10], dataset.name, str(dataset.classes), best.architecture]
        row += [
            f"{best.accuracy:.1%}",
            "-" if best.macro_f1 is None else f"{best.macro_f1:.1%}",
            str(best.epochs),
            str(len(record.results)),
            "" if record.own else "merged",
        ]
        rows.append(row)
    columns = [("id", "left"), ("date", "left"), ("dataset", "left"), ("classes", "right"), ("best", "left")]
    columns += [
        ("validation accuracy", "right"),
        ("test macro F1", "right"),
        ("epochs", "right"),
        ("tried", "right"),
        ("from", "left"),
    ]
    print_table(f"{history.path}: {counted(len(records), 'fine-tuning')}", columns, rows, least=LEAST)


@app.command("export")
def export(
    file: Annotated[Path, Argument(metavar="FILE", help="File to write, for `merge` and `nns space fit --history`.")],
    json: options.JsonFlag = False,
) -> None:
    """Write your history to a file, say for your team.

    In it are features of datasets and results of networks; no images, no paths, no names of classes.

    Example: nns history export mine.jsonl
    """
    from nns.cli.output import note, print_json

    written = _history().export(file)
    if json:
        print_json({"file": file, "fine_tunings": written})
    else:
        note(f"wrote {counted(written, 'fine-tuning')} to {file}")


@app.command("merge")
def merge(
    files: Annotated[list[Path], Argument(metavar="FILE...", help="What `nns history export` wrote.")],
    json: options.JsonFlag = False,
) -> None:
    """Add the fine-tunings of other files to your history; what it has counts once.

    Every field of every line is checked; of a file with a line that does not pass nothing is taken.

    Example: nns history merge theirs.jsonl
    """
    from dataclasses import asdict

    from nns.cli.output import note, print_json

    merged = _history().merge(files)
    if json:
        print_json(asdict(merged))
        return
    note(f"{counted(merged.added, 'fine-tuning')} added, {merged.known} known already")
    if merged.dropped:
        note(f"{merged.dropped} of the oldest merged ones were let go: a history is bounded")


@app.command("forget")
def forget(
    ids: Annotated[list[str] | None, Argument(metavar="ID", help="Fine-tunings, see `nns history ls`.")] = None,
    every: Annotated[bool, Option("--all", help="All of them.")] = False,
    json: options.JsonFlag = False,
) -> None:
    """Remove fine-tunings from your history.

    Example: nns history forget --all
    """
    from nns.cli.output import note, print_json
    from nns.errors import UsageError

    if bool(ids) == every:
        raise UsageError("name fine-tunings by their ids (`nns history ls` shows them), or say --all")
    removed = _history().forget(None if every else ids)
    if json:
        print_json({"forgotten": removed})
    else:
        note(f"forgot {counted(removed, 'fine-tuning')}")
