"""``nns zoo build``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nns.cli import options

if TYPE_CHECKING:
    from nns.pipeline.build import BuildEvent, BuildReport, BuildSettings


def build(
    zoo: options.ZooArgument,
    more: Annotated[
        list[str] | None,
        typer.Argument(metavar="MORE", help="More of --data, or of --backend.", show_default=False),
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="DATA", help="Datasets to train on: --data A B C.")
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option("--backend", metavar="NAME", help="Backends, or BACKEND:PATTERN of architectures."),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE.toml", help="Settings from a file, instead of --data.")
    ] = None,
    networks: Annotated[int | None, typer.Option("--networks", min=1, help="Networks to train in all.")] = None,
    image_size: Annotated[
        int | None, typer.Option("--image-size", help="Side of the images in pixels at most.")
    ] = None,
    max_images: Annotated[int | None, typer.Option("--max-images", min=2, help="Training images a dataset.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs of every training.")] = None,
    pretrained: Annotated[
        bool | None, typer.Option("--pretrained/--no-pretrained", help="Whether ImageNet networks enter as they are.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="fp32|fp16", help="Precision of the stored weights (fp32).")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, help="Processes; 0: this one alone; default: one a core.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of each process.")] = 1,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of everything random (default 0).")] = None,
    json: options.JsonFlag = False,
) -> None:
    """Train networks on datasets and keep them, with fingerprints, in a zoo. Run it again to go on.

    Example: nns zoo build zoo.h5 --data ./birds ./tiles --backend ofa timm --networks 40
    """
    from nns.cli.output import note, print_json, progress_bar
    from nns.errors import EXIT_INTERRUPTED, NnsError, UnknownNameError
    from nns.pipeline.build import build_zoo, default_workers

    registry = options.load_registry()
    for name in more or []:
        there = Path(name).exists() or name.startswith("torchvision:")
        is_backend = not there and name.partition(":")[0] in registry.backend_names
        if not there and not is_backend and "/" not in name:
            raise UnknownNameError.among("backend or dataset", name, registry.backend_names)
        target = (backend := backend or []) if is_backend else (data := data or [])
        target.append(name)
    settings = _settings(recipe, data, backend, networks, image_size, max_images, epochs, pretrained, weights, seed)
    with progress_bar() as update:

        def show(event: BuildEvent) -> None:
            update("networks", event.done, event.total, _what(event))
            if event.kind == "failed" and event.item is not None:
                note(f"failed: {event.item.work.backend} on {event.item.dataset_name}: {event.message}")

        count = default_workers(threads) if workers is None else workers
        report = build_zoo(zoo, settings, registry, workers=count, threads=threads, on_event=show)
    if json:
        print_json(_document(report))
    else:
        _render(report)
    if report.interrupted:
        note("interrupted; run the same command again to go on")
        raise typer.Exit(EXIT_INTERRUPTED)
    if report.failed:
        raise NnsError(f"{len(report.failed)} items failed; run the same command again to retry them")


def _document(report: BuildReport) -> dict[str, Any]:
    return {
        "zoo": report.zoo,
        "digest": report.digest,
        "networks": report.networks,
        "added": report.added,
        "datasets": report.datasets,
        "failed": [{"dataset": name, "backend": by, "reason": why} for name, by, why in report.failed],
        "seconds": round(report.seconds, 2),
        "interrupted": report.interrupted,
    }


def _render(report: BuildReport) -> None:
    from nns.cli.output import print_table
    from nns.quantities import format_seconds

    rows = [
        ["networks", f"{report.networks} ({report.added} new)"],
        ["datasets", str(report.datasets)],
        ["time", format_seconds(report.seconds)],
        ["digest", report.digest],
    ]
    rows += [["failed", f"{by} on {name}: {why}"] for name, by, why in report.failed]
    print_table(report.zoo, [("", "left"), ("", "left")], rows, caption=f"Next: nns space fit {report.zoo}")


def _what(event: BuildEvent) -> str:
    if event.kind == "dataset":
        return f"query features of {event.message}"
    if event.result is not None:
        accuracy = sum(event.result.accuracies) / len(event.result.accuracies)
        rate = event.images / event.seconds if event.seconds else 0
        return f"{event.result.dataset}: {accuracy:.0%} · {rate:.0f} images/s"
    return "writing the file" if event.kind == "merge" else ""


def _settings(recipe: Path | None, data: list[str] | None, backend: list[str] | None, *more: Any) -> BuildSettings:
    from dataclasses import replace

    from nns.errors import UsageError
    from nns.pipeline.build import BuildSettings, read_recipe

    if recipe is not None and data:
        raise UsageError("give either --recipe or --data, not both")
    settings = read_recipe(recipe) if recipe is not None else BuildSettings()
    names = ("networks", "image_size", "max_images", "epochs", "pretrained", "weights", "seed")
    changes: dict[str, Any] = {name: value for name, value in zip(names, more, strict=True) if value is not None}
    if data:
        changes["data"] = tuple(data)
    if backend:
        changes["backends"] = tuple(backend)
    return replace(settings, **changes)
