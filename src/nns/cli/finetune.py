"""``nns finetune``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nns.cli import options

if TYPE_CHECKING:
    from nns.finetuning import LadderEvent
    from nns.finetuning.finetune_zoo import FinetuneReport


def finetune(
    data: options.Data,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="MORE", help="More of --network.", show_default=False)
    ] = None,
    zoo: options.ZooOption = None,
    network: Annotated[
        list[str] | None,
        typer.Option("--network", metavar="ID", help="Networks to start from: --network A B; the best is kept."),
    ] = None,
    from_search: Annotated[
        Path | None, typer.Option("--from", metavar="SEARCH.json", help="What `nns search --json` printed.")
    ] = None,
    tries: Annotated[
        int, typer.Option("--try", min=1, metavar="K", help="Networks of the search to try, chosen together.")
    ] = 3,
    max_params: options.MaxParams = None,
    max_macs: options.MaxMacs = None,
    max_size: options.MaxSize = None,
    max_latency: options.MaxLatency = None,
    backend: options.BackendLimit = None,
    license: options.LicenseLimit = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="TIME", help="Time for everything, e.g. 10m.")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, metavar="N", help="Epochs at most.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", min=0, help="Peak learning rate.")] = None,
    head_only: Annotated[bool, typer.Option("--head-only", help="Train the classifier alone.")] = False,
    flip: Annotated[bool, typer.Option("--flip", help="Also train on mirrored images.")] = False,
    image_size: Annotated[
        int | None,
        typer.Option("--image-size", min=16, max=1024, help="Side of the input; default: the network's own."),
    ] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", min=1, help="Stop after so many epochs that are no better.")
    ] = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")] = None,
    json: options.JsonFlag = False,
) -> None:
    """Train the best networks of a zoo on your images, and hand over the one that does best.

    Without --network and --from, a search within the limits finds them. The validation split chooses, the
    test split is looked at once. Ctrl-C keeps the best so far. Without --budget and --epochs, 20 epochs.

    Example: nns finetune ./mydata --max-params 5M --budget 10m -o ./model
    """
    from nns.cli.output import note, print_json, progress_bar
    from nns.data import Dataset
    from nns.errors import EXIT_INTERRUPTED, UsageError
    from nns.finetuning.finetune_zoo import finetune as run_finetune
    from nns.finetuning.finetune_zoo import networks_of_search
    from nns.searching import search

    if network and from_search is not None:
        raise UsageError("give either --network or --from, not both")
    if more and not network:
        raise UsageError(f"unexpected argument {more[0]!r}: one DATA at a time (networks go after --network)")
    network = [*(network or []), *(more or [])]
    limits = options.limits_of(max_params, max_macs, max_size, max_latency, backend, license)
    recipe = _recipe(budget, epochs, lr, head_only, flip, patience, device)
    opened = options.open_zoo(zoo)
    dataset = Dataset.of(data, registry=opened.registry)
    with progress_bar() as update:
        if network:
            chosen = network
        elif from_search is not None:
            chosen = networks_of_search(from_search, tries)
        else:
            found = search(dataset, opened, limits, tries=tries, device="cpu", seed=seed, progress=update)
            chosen = [candidate.entry.id for candidate in found.together]
        chosen = [opened.resolve(network_id) for network_id in chosen]
        if not json:
            note(f"trying {', '.join(chosen)}")
        report = run_finetune(
            dataset, opened, chosen, output or default_output(data), recipe,
            image_size=image_size, seed=seed, on_event=_show(update),
            on_decode=lambda done, total: update("reading images", done, total),
        )  # fmt: skip
    if json:
        print_json(finetune_document(report))
    else:
        render(report)
    if report.result.interrupted:
        note("interrupted; the best so far was kept")
        raise typer.Exit(EXIT_INTERRUPTED)


def default_output(data: str) -> Path:
    """Name the folder after the dataset: ``mydata-nns`` beside the current folder's other files."""
    name = data.partition(":")[2] if data.startswith("torchvision:") else Path(data).resolve().stem
    return Path(f"{name}-nns")


def _recipe(
    budget: str | None,
    epochs: int | None,
    lr: float | None,
    head_only: bool,
    flip: bool,
    patience: int | None,
    device: str,
) -> Any:
    from dataclasses import replace

    from nns.finetuning import Recipe, resolve_device
    from nns.quantities import parse_duration

    resolve_device(device)
    recipe = Recipe(device=device, head_only=head_only, flip=flip, patience=patience)
    if lr is not None:
        recipe = replace(recipe, lr=lr)
    if budget is not None:
        recipe = replace(recipe, seconds=parse_duration(budget), epochs=epochs or 50)
    elif epochs is not None:
        recipe = replace(recipe, epochs=epochs)
    return recipe


def _show(update: Any) -> Any:
    done: dict[str, int] = {}
    last = 0.0

    def show(event: LadderEvent, images: int) -> None:
        nonlocal last
        if event.kind == "epoch" and event.epoch is not None:
            key = f"{event.rung}/{event.rungs} {event.network}"
            done[key] = done.get(key, 0) + 1
            rate = images / max(event.seconds - last, 1e-9)
            note = f"validation accuracy {event.epoch.val_accuracy:.1%} · {rate:.0f} images/s"
            update(key, done[key], event.epochs, note)
        last = event.seconds

    return show


def finetune_document(report: FinetuneReport) -> dict[str, Any]:
    """Return the JSON document of the contract."""
    card = report.card
    return {
        "network": card.network,
        "backend": card.spec.backend,
        "architecture": card.spec.name,
        "params": card.params,
        "macs": card.macs,
        "bytes": card.bytes,
        "image_size": card.preprocessing.size,
        "val_accuracy": card.val_accuracy,
        "test_accuracy": card.test_accuracy,
        "epochs": card.epochs,
        "seconds": round(report.result.seconds, 3),
        "device": card.device,
        "output": str(report.output),
        "interrupted": report.result.interrupted,
        "skipped": [{"path": item.path, "reason": item.reason} for item in report.skipped],
        "history": [
            {"epoch": e.epoch, "train_loss": e.train_loss, "val_loss": e.val_loss, "val_accuracy": e.val_accuracy}
            for e in card.history
        ],
        "tried": [
            {"network": t.network, "val_accuracy": t.val_accuracy, "epochs": t.epochs, "stopped": t.stopped}
            for t in card.tried
        ],
    }


def render(report: FinetuneReport) -> None:
    """Print what was tried and what came out."""
    from nns.cli.output import note, print_table
    from nns.quantities import format_count, format_seconds

    for item in report.skipped[:5]:
        note(f"skipped {item.path}: {item.reason}")
    card = report.card
    rows = [[tried.network, _percent(tried.val_accuracy), str(tried.epochs), tried.stopped] for tried in card.tried]
    test = "no test split" if card.test_accuracy is None else f"test accuracy {card.test_accuracy:.1%}"
    print_table(
        f"{card.spec.name}, {format_count(card.params)} parameters: "
        f"validation accuracy {card.val_accuracy:.1%}, {test}",
        [("tried", "left"), ("validation accuracy", "right"), ("epochs", "right"), ("ended", "left")],
        rows,
        caption=f"{format_seconds(report.result.seconds)} on {card.device}. Next: nns predict {report.output} IMAGE...",
    )


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"
