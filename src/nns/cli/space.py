"""``nns space``: fit and show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from nns.cli import completion, options
from nns.quantities import counted

if TYPE_CHECKING:
    from nns.types import SpaceRecord

app = typer.Typer(help="The learned map of datasets and networks in a zoo.", no_args_is_help=True)


@app.command("fit")
def fit(
    zoo: options.ZooArgument,
    method: Annotated[
        str, Option(metavar="NAME", help="Space method; see nns plugins.", autocompletion=completion.named("method"))
    ] = "mixed",
    epochs: Annotated[int | None, Option(min=1, help="Steps; default: the method's choice.")] = None,
    history: Annotated[
        Path | None, Option(metavar="FILE", help="Fine-tunings that join the zoo's results: nns history export.")
    ] = None,
    held_out: Annotated[bool, Option("--held-out/--no-held-out", help="Also measure on held-out datasets.")] = True,
    seed: options.Seed = 0,
    json: options.JsonFlag = False,
) -> None:
    """Fit a space to the zoo's datasets and networks, and keep it in the zoo.

    Example: nns space fit zoo.h5
    """
    from nns.cli.output import note, print_json, progress_bar
    from nns.history.file import read_foreign
    from nns.space import Space

    records = () if history is None else read_foreign(history)
    with options.open_zoo(zoo) as opened, progress_bar() as update:
        update(f"fitting {method}", 0, None)
        fitted = Space.fit(opened, method=method, epochs=epochs, seed=seed, held_out=held_out, history=records)
    document = _document(fitted.record) | {"datasets": fitted.report["datasets"]}
    del document["settings"]
    if json:
        print_json(document)
    else:
        _render([document])
    if history is not None:
        note(f"{counted(fitted.report['own_results'], 'result')} of {history} joined those of the zoo")


@app.command("show")
def show(zoo: options.ReadZoo = None, json: options.JsonFlag = False) -> None:
    """Show the fitted spaces of a zoo, with their recall on held-out datasets.

    Example: nns space show zoo.h5
    """
    from nns.cli.output import note, print_json

    with options.open_zoo(zoo) as opened:
        documents = [_document(opened.store.space(name)) for name in opened.spaces()]
    if json:
        print_json({"spaces": documents})
    elif documents:
        _render(documents)
    else:
        note(f"no fitted space; run `nns space fit {opened.path}`")


def _document(record: SpaceRecord) -> dict[str, Any]:
    """Return what the zoo knows of a space; its report may be anybody's."""
    return {
        "space": record.name,
        "method": record.method,
        "settings": dict(record.settings),
        "networks": len(record.network_ids),
        "seconds": record.report.get("seconds"),
        "own_results": record.report.get("own_results", 0),
        "held_out": record.report.get("held_out"),
    }


def _render(documents: list[dict[str, Any]]) -> None:
    from nns.cli.output import print_table

    columns = [("space", "left"), ("networks", "right"), ("fit", "right")]
    columns += [(f"recall@{k}", "right") for k in (1, 5, 10, 50)]
    columns += [("median rank", "right"), ("mean rank", "right"), ("error of accuracy", "right")]
    rows = []
    for document in documents:
        row = [document["space"], str(document["networks"]), _number(document["seconds"], "{:.1f} s")]
        row += _held_out(document["held_out"])
        rows.append(row)
    print_table(
        "Fitted spaces",
        columns,
        rows,
        caption="Recall: of datasets held out with all their networks' family, the share for which a network "
        "trained on them, or that did best on them where none was, is among the k nearest of the whole zoo.",
        least=("mean rank", "recall@50", "recall@1", "fit", "networks", "median rank", "recall@5"),
    )


def _held_out(found: Any) -> list[str]:
    """Return the cells of a report, which may be anybody's: what is not there or no number is a dash."""
    report = found if isinstance(found, dict) else {}
    retrieval, accuracy = (
        report[key] if isinstance(report.get(key), dict) else {} for key in ("retrieval", "accuracy")
    )
    recall = retrieval.get("recall")
    by_k = {str(key): value for key, value in recall.items()} if isinstance(recall, dict) else {}
    cells = [_number(by_k.get(k), "{:.0%}") for k in ("1", "5", "10", "50")]
    cells += [_number(retrieval.get(key), "{:.0f}") for key in ("median_rank", "mean_rank")]
    error = accuracy.get("mae")
    return [*cells, _number(error * 100 if isinstance(error, float) else None, "{:.1f} points")]


def _number(value: Any, form: str) -> str:
    return form.format(value) if isinstance(value, int | float) else "-"
