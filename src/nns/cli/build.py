"""``nns zoo build``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from nns.cli import completion, options

if TYPE_CHECKING:
    from nns.building import BuildEvent, BuildReport, BuildSettings
    from nns.plugins import Registry


def build(
    zoo: options.ZooArgument,
    more: Annotated[
        list[str] | None, Argument(metavar="MORE", help="More of --data, or of --backend.", show_default=False)
    ] = None,
    data: Annotated[list[str] | None, Option(metavar="DATA", help="Datasets to train on: --data A B C.")] = None,
    backend: Annotated[
        list[str] | None,
        Option(
            metavar="NAME",
            help="Backends, or BACKEND:PATTERN of architectures.",
            autocompletion=completion.installed_backends,
        ),
    ] = None,
    recipe: Annotated[Path | None, Option(metavar="FILE.toml", help="Settings from a file, instead of --data.")] = None,
    networks: Annotated[int | None, Option(min=1, help="Networks to train in all (default 400).")] = None,
    image_size: Annotated[int | None, Option(help="Side of the images in pixels at most (default 64).")] = None,
    max_images: Annotated[int | None, Option(min=2, help="Training images a dataset (default 300).")] = None,
    epochs: Annotated[int | None, Option(min=1, help="Epochs of every training.")] = None,
    pretrained: Annotated[
        bool | None, Option("--pretrained/--no-pretrained", help="Whether ImageNet networks enter as they are.")
    ] = None,
    weights: Annotated[
        str | None,
        Option(
            metavar="fp32|fp16",
            help="Precision of the stored weights (fp32).",
            autocompletion=completion.one_of("fp32|fp16"),
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        Option(
            metavar="pareto|random|all",
            help="How pairs of dataset and network are chosen (pareto).",
            autocompletion=completion.one_of("pareto|random|all"),
        ),
    ] = None,
    transfers: Annotated[
        int | None,
        Option(
            "--transfers",
            min=0,
            help="Also fine-tune so many networks on other datasets; searches learn most from that. Default: one for "
            "every network, at least 60.",
        ),
    ] = None,
    executor: options.Executor = "local",
    address: options.Address = None,
    workers: Annotated[
        int | None, Option(min=0, help="Items at a time; 0: this process alone; default: by cores.")
    ] = None,
    threads: Annotated[
        int | None, Option(min=1, help="Threads of each worker; default: as OMP_NUM_THREADS says, else one.")
    ] = None,
    device: Annotated[
        str,
        Option(
            metavar="auto|cpu|cuda",
            help="What to train on.",
            autocompletion=completion.one_of("auto|cpu|cuda"),
        ),
    ] = "cpu",
    seed: Annotated[int | None, Option(help="Seed of everything random (default 0).")] = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Say what would be trained, how long and how large; train nothing.")
    ] = False,
    log: Annotated[
        Path | None, Option(metavar="FILE", help="Append what happens to a file, one JSON object a line.")
    ] = None,
    json: options.JsonFlag = False,
) -> None:
    """Train networks on datasets and keep them, with fingerprints, in a zoo. Run it again to go on.

    Example: nns zoo build zoo.h5 --data ./birds ./tiles --backend ofa timm --networks 40
    """
    from nns.building import default_workers
    from nns.cli.build_display import build_display
    from nns.cli.output import note, print_json
    from nns.data.formats import can_open
    from nns.errors import EXIT_INTERRUPTED, NnsError, UnknownNameError
    from nns.threads import threads_wanted
    from nns.verbs import build as run_build
    from nns.verbs import build_settings, check_place

    registry = options.load_registry()
    for name in more or []:
        there = Path(name).exists() or can_open(name, registry)
        is_backend = not there and name.partition(":")[0] in registry.names("backend")
        if not there and not is_backend and "/" not in name:
            raise UnknownNameError.among("backend or dataset", name, registry.names("backend"))
        target = (backend := backend or []) if is_backend else (data := data or [])
        target.append(name)
    changes = {
        "networks": networks,
        "image_size": image_size,
        "max_images": max_images,
        "epochs": epochs,
        "pretrained": pretrained,
        "weights": weights,
        "strategy": strategy,
        "transfers": transfers,
        "seed": seed,
    }
    settings = build_settings(recipe, data or (), backend or (), **changes)
    check_place(executor, workers, address, device)
    threads = threads_wanted() if threads is None else threads
    if dry_run:
        at_a_time = default_workers(threads) if executor == "local" else 1
        _dry_run(settings, registry, at_a_time if workers is None else workers, threads, device, json)
        return
    alone = len(settings.data) == 1 and _datasets(zoo) < 2
    with build_display(log) as show:

        def on_event(event: BuildEvent) -> None:
            # the plan comes when everything has been checked, before anything is trained
            if alone and event.kind == "plan":
                note(ONE_DATASET)
            show(event)

        report = run_build(
            zoo,
            recipe=settings,
            workers=workers,
            threads=threads,
            executor=executor,
            address=address,
            device=device,
            on_event=on_event,
        )
        show(report)
    if json:
        print_json(report.to_dict())
    else:
        _render(report)
    for name in report.untrained:
        ways = "--networks N asks for more, --strategy all for all"
        note(f"nothing of {name} was trained: others got all networks; {ways}")
    if report.interrupted:
        note("interrupted; run the same command again to go on")
        raise typer.Exit(EXIT_INTERRUPTED)
    if report.failed:
        raise NnsError(f"{len(report.failed)} items failed; run the same command again to retry them")


DOUBTFUL = "may train nothing of"

ONE_DATASET = (
    "one dataset: networks of such a zoo can be fine-tuned from, but no space can be fitted to it, which takes two; a "
    "search in it goes by what is known of networks at large (give a second dataset with --data)"
)


def _datasets(path: Path) -> int:
    """Count the datasets of a zoo that may not be there yet."""
    from nns.zoo import Zoo

    if not path.exists():
        return 0
    with Zoo(path) as zoo:
        return len(zoo.datasets())


def _dry_run(settings: BuildSettings, registry: Registry, workers: int, threads: int, device: str, json: bool) -> None:
    from dataclasses import asdict

    from nns.building import estimate_build
    from nns.cli.output import note, print_json, print_table, progress_bar
    from nns.cli.text import one_line
    from nns.quantities import counted, format_bytes, format_count, format_seconds

    with progress_bar() as update:
        found = estimate_build(
            settings,
            workers=workers,
            threads=threads,
            device=device,
            on_progress=update,
            registry=registry,
        )
    if json:
        broken = [{"architecture": name, "reason": reason} for name, reason in found.broken]
        document = asdict(found) | {"broken": broken}
        for name in document.pop("doubtful"):
            note(f"{DOUBTFUL} {name}: --networks N asks for more")
        print_json({"dry_run": True, "strategy": settings.strategy, **document})
        return
    columns = [("architecture", "left"), ("weights", "left"), ("params", "right"), ("MACs", "right")]
    columns += [("pixels", "right"), ("epochs", "right"), ("time", "right")]
    rows = [
        [
            f"{each.backend}:{each.name}",
            each.source,
            format_count(each.params),
            format_count(each.macs),
            str(each.image_size),
            str(each.epochs),
            format_seconds(each.seconds),
        ]
        for each in found.architectures
    ]
    least = ("weights", "pixels", "MACs", "epochs")
    images = sum(dataset.images for dataset in found.datasets)
    supernets = f"{counted(found.supernets, 'supernet')} ({format_seconds(found.supernet_seconds)} each)"
    what = [
        f"{counted(found.networks, 'network')} of {counted(len(found.datasets) * len(rows), 'pair')}"
        f" ({settings.strategy}) on {counted(len(found.datasets), 'dataset')} with {images} training images",
        *([f"about {supernets}"] if found.supernets else []),
        *([counted(found.transfers, "transfer")] if found.transfers else []),
    ]
    about = f"about {format_seconds(found.seconds)} with {counted(max(1, found.workers), 'worker')}"
    caption = [f"left out: {name}: {reason}" for name, reason in found.broken]
    caption += [f"{DOUBTFUL} {name}: --networks N asks for more" for name in found.doubtful]
    caption += [", ".join(what), f"{about}, and {format_bytes(found.bytes)}"]
    print_table("Nothing was trained.", columns, rows, "\n".join(map(one_line, caption)), least)


def _render(report: BuildReport) -> None:
    from dataclasses import replace

    from nns.cli.output import render_table

    render_table(replace(report.table(), caption=_after(report)))


def _after(report: BuildReport) -> str:
    """Say what to do next."""
    from nns.building.settings import TRANSFERS
    from nns.space import transfers_needed

    if report.interrupted:
        return ""
    after = f"Next: nns space fit {report.zoo}"
    needed = transfers_needed(report.networks)
    if report.transfers < needed <= report.networks * (report.datasets - 1):
        after += (
            "\nSearches are much better in a zoo with transfers: "
            f"--transfers {max(TRANSFERS, report.networks)} adds some (with fewer than {needed} less than half of what "
            "they say is believed)."
        )
    return after
