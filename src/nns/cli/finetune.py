"""``nns finetune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from nns.cli import completion, options
from nns.cli.pages import check_report

if TYPE_CHECKING:
    from nns.finetuning import LadderEvent
    from nns.finetuning.report import FinetuneReport


def finetune(
    data: options.Data,
    more: Annotated[
        list[str] | None,
        Argument(metavar="MORE", help="More of --network.", show_default=False, autocompletion=completion.networks),
    ] = None,
    zoo: options.ZooOption = None,
    network: Annotated[
        list[str] | None,
        Option(
            metavar="ID",
            help="Networks to start from: --network A B; the best is kept.",
            autocompletion=completion.networks,
        ),
    ] = None,
    from_search: Annotated[
        Path | None, Option("--from", metavar="SEARCH.json", help="What `nns search --json` printed.")
    ] = None,
    tries: Annotated[
        int, Option("--try", min=1, metavar="K", help="Networks of the search to try, chosen together.")
    ] = 1,
    max_params: options.MaxParams = None,
    max_macs: options.MaxMacs = None,
    max_size: options.MaxSize = None,
    max_latency: options.MaxLatency = None,
    backend: options.BackendLimit = None,
    license: options.LicenseLimit = None,
    budget: Annotated[str | None, Option(metavar="TIME", help="Time for everything, e.g. 10m.")] = None,
    epochs: Annotated[int | None, Option(min=1, metavar="N", help="Epochs at most.")] = None,
    recipe: Annotated[
        str,
        Option(
            metavar="NAME",
            help="How to train: default, tans, or what a plugin brings.",
            autocompletion=completion.named("recipe"),
        ),
    ] = "default",
    lr: Annotated[float | None, Option(min=0, help="Peak learning rate.")] = None,
    head_only: Annotated[bool, Option("--head-only", help="Train the classifier alone.")] = False,
    flip: Annotated[bool, Option("--flip", help="Also train on mirrored images.")] = False,
    image_size: Annotated[
        int | None, Option(min=16, max=1024, help="Side of the input; default: by images, network and budget.")
    ] = None,
    patience: Annotated[int | None, Option(min=1, help="Stop after so many epochs that are no better.")] = None,
    distill: Annotated[
        bool, Option("--distill", help="Fine-tune the best network first, whatever its size: it teaches the others.")
    ] = False,
    teacher: Annotated[
        str | None,
        Option(metavar="ID", help="Distill from this network.", autocompletion=completion.networks),
    ] = None,
    unlabelled: Annotated[Path | None, Option(metavar="DIR", help="Images without labels to distill on, too.")] = None,
    offline: options.Offline = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    no_history: options.NoHistory = False,
    output: Annotated[Path | None, Option("--output", "-o", metavar="DIR", help="Folder to write.")] = None,
    compile: Annotated[
        bool, Option("--compile", help="Train what torch.compile makes of the network: pays in long runs on a GPU.")
    ] = False,
    log_to: Annotated[
        str | None,
        Option(
            "--log-to",
            metavar="tensorboard|csv[=DIR]",
            help="Log each epoch as it ends; default DIR: OUTPUT-log.",
            autocompletion=completion.one_of("tensorboard|csv"),
        ),
    ] = None,
    report: Annotated[Path | None, Option(metavar="FILE.html", help="Write a page on how good it is.")] = None,
    json: options.JsonFlag = False,
) -> None:
    """Train the best networks of a zoo on your images, and hand over the one that does best.

    Without --network and --from, a search within the limits finds them. The validation split chooses, the
    test split is looked at once. Ctrl-C keeps the best so far. Without --budget and --epochs, as many epochs as the
    recipe has: 20.

    Example: nns finetune ./mydata --max-params 5M --budget 10m -o ./model
    """
    from dataclasses import replace

    from nns import cli
    from nns.cli.output import note, print_json, progress_bar, say_data
    from nns.errors import EXIT_INTERRUPTED, UsageError
    from nns.finetuning import named_recipe
    from nns.finetuning.distributed import quiet_unless_first
    from nns.finetuning.saved_search import SavedSearch, read_search
    from nns.verbs import finetune as run_finetune

    if report is not None:
        check_report(report, ["jinja2"])
    if network and from_search is not None:
        raise UsageError("give either --network or --from, not both")
    if more and not network:
        raise UsageError(f"unexpected argument {more[0]!r}: one DATA at a time (networks go after --network)")
    how = named_recipe(recipe)
    how = replace(
        how,
        head_only=head_only or how.head_only,
        flip=flip or how.flip,
        patience=how.patience if patience is None else patience,
        lr=how.lr if lr is None else lr,
        compile=compile or how.compile,
    )
    chosen: SavedSearch | list[str] = [*(network or []), *(more or [])]
    if from_search is not None:
        chosen = read_search(from_search, tries)
    with quiet_unless_first(), progress_bar() as update:
        done = run_finetune(
            data, zoo, chosen or None, output,
            max_params=max_params, max_macs=max_macs, max_size=max_size, max_latency=max_latency, backend=backend,
            license=license, budget=budget, epochs=epochs, tries=tries, recipe=how,
            image_size=image_size, device=device, seed=seed, offline=offline, history=not no_history,
            progress=update, tell=note, on_event=_show(update), since=cli.started,
            on_data=say_data(json), log_to=log_to,
            distill=teacher or distill, unlabelled=unlabelled,
            on_chosen=lambda ids: None if json else note(f"trying {', '.join(ids)}"),
        )  # fmt: skip
    if not done.first:
        raise typer.Exit(EXIT_INTERRUPTED if done.result.interrupted else 0)
    if done.kept.startswith("not kept"):
        note(f"in your history this was {done.kept}")
    if json:
        print_json(done.to_dict())
    else:
        render(done, data)
    if report is not None:
        _write_report(done, data, report)
    if done.result.interrupted:
        note("interrupted; the best so far was kept, and the same command goes on")
        raise typer.Exit(EXIT_INTERRUPTED)


def _write_report(done: FinetuneReport, data: str, page: Path) -> None:
    """Evaluate what was handed over on the images that were held back, and write the page of that."""
    from nns.cli.evaluation_report import write_report
    from nns.cli.output import note
    from nns.finetuning import load_handover
    from nns.finetuning.evaluating import evaluate_network

    found = evaluate_network(load_handover(done.output), data, pictures=True)
    write_report(found, done.card, page, f"nns evaluate {done.output} {data} --report {page}")
    note(f"wrote {page}")


def _show(update: Any) -> Any:
    from nns.cli.output import note

    done: dict[str, int] = {}

    def show(event: LadderEvent, images: int) -> None:
        if event.kind == "resumed":
            note(f"going on where an interrupted run stopped: {event.message}")
        elif event.kind == "trouble":
            note(event.message)
        elif event.kind == "train":
            update(f"{event.rung}/{event.rungs} {event.network}", 0, event.epochs)
        elif event.kind == "test":
            update("testing", 0, None, event.message)
        if event.kind == "epoch" and event.epoch is not None:
            key = f"{event.rung}/{event.rungs} {event.network}"
            done[key] = done.get(key, 0) + 1
            said = f"validation accuracy {event.epoch.val_accuracy:.1%}"
            said += "" if event.epoch.val_macro_f1 is None else f", macro F1 {event.epoch.val_macro_f1:.1%}"
            speed = event.epoch.images_per_second
            said += "" if speed is None else f" · {speed:.0f} images/s"
            update(key, done[key], event.epochs, said)

    return show


def render(report: FinetuneReport, data: str) -> None:
    """Print what was tried and what came out."""
    from dataclasses import replace
    from shlex import quote

    from nns.cli.output import note, render_table
    from nns.cli.search import note_left_out

    note_left_out(report.left_out)
    for item in report.skipped[:5]:
        note(f"skipped {item.path}: {item.reason}")
    table = report.table()
    after = f"Next: nns evaluate {quote(str(report.output))} {quote(data)}\n" if not report.result.interrupted else ""
    after += f"Next: nns predict {quote(str(report.output))} IMAGE..."
    render_table(replace(table, caption=f"{table.caption}\n{after}"))
