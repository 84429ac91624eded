"""``nns demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from nns.cli import options

if TYPE_CHECKING:
    from nns.demo import DemoReport, DemoRun


def demo(
    output: Annotated[Path, Option("--output", "-o", metavar="DIR", help="Folder for images, zoo and network.")] = Path(
        "nns-demo"
    ),
    networks: Annotated[int, Option(min=6, help="Networks to train for the zoo.")] = 24,
    epochs: Annotated[int, Option(min=1, help="Epochs of each of three fine-tunings.")] = 3,
    workers: Annotated[int | None, Option(min=1, help="Processes; default: one a core.")] = None,
    seed: options.Seed = 0,
    json: options.JsonFlag = False,
) -> None:
    """Go the whole way on real images: build a zoo, fit a space, search, fine-tune, compare.

    The zoo is built on photographs of solar cells and on the handwritten digits 0 to 4; the search is for the
    digits 5 to 9, of which the zoo has neither a class nor an image.

    Example: nns demo
    """
    from nns.building import default_workers
    from nns.cli.output import note, print_json, progress_bar
    from nns.demo import DemoSettings, run_demo

    settings = DemoSettings(networks=networks, finetune_epochs=epochs, workers=workers or default_workers(), seed=seed)
    if not json:
        note(f"A few minutes on two cores. Everything goes to {output}/; run it again and the zoo is used again.")
    said: set[str] = set()
    with progress_bar() as update:

        def progress(what: str, done: int, total: int | None, detail: str) -> None:
            if what not in said and not json:
                said.add(what)
                note(what)
            update(what, done, total, detail)

        report = run_demo(output, settings, progress)
    if json:
        print_json(demo_document(report))
    else:
        render(report)


def demo_document(report: DemoReport) -> dict[str, Any]:
    """Return the report as JSON."""
    return {
        "zoo": {"path": report.build.zoo, "networks": report.build.networks, "datasets": report.build.datasets},
        "search": report.search.to_dict(),
        "runs": [
            {"choice": run.choice, "network": run.candidate.entry.id, "architecture": run.candidate.entry.spec.name}
            | {"source_dataset": run.candidate.entry.source_dataset}
            | {name: getattr(run.candidate, name) for name in ("params", "rank")}
            | {name: getattr(run.result, name) for name in ("val_accuracy", "test_accuracy", "epochs")}
            | {"seconds": round(run.result.seconds, 2)}
            for run in report.runs
        ],
        "chance": report.chance,
        "output": str(report.output),
        "seconds": round(report.seconds, 1),
    }


def render(report: DemoReport) -> None:
    """Print what was found, why, and how other choices did."""
    from nns.cli import search
    from nns.cli.output import console, print_table
    from nns.quantities import format_seconds

    print_ = console().print
    print_(
        f"\nA zoo of {report.build.networks} networks, trained on {report.build.datasets} datasets of digits and "
        f"solar cells, and a space fitted to it. Then, for {report.query.name}, which no network has seen:\n"
    )
    search.render(report.search)
    print_(
        "[dim]expected: the accuracy that the predictor predicts for your images; match: how near your images and the "
        "network lie in the space; score: both together, what the ranking is by[/dim]\n"
    )
    columns = [("chosen by", "left"), ("architecture", "left"), ("trained on", "left"), ("params", "right")]
    columns += [("time", "right"), ("validation", "right"), ("test", "right")]
    rows = [_row(run) for run in report.runs]
    rows.append(["always the commonest class", "", "", "", "", "", f"{report.chance:.1%}"])
    print_table(
        f"Fine-tuned with the same budget of {report.runs[0].result.epochs} epochs each",
        columns,
        rows,
        caption=f"{format_seconds(report.seconds)} in all. The first is in {report.output}: try\n"
        f"nns predict {report.output} {report.query}/7/0000.png",
    )


def _row(run: DemoRun) -> list[str]:
    from nns.quantities import format_count

    entry, result = run.candidate.entry, run.result
    test = "-" if result.test_accuracy is None else f"{result.test_accuracy:.1%}"
    return [
        run.choice,
        f"{entry.spec.backend}:{entry.spec.name}",
        entry.source_dataset,
        format_count(run.candidate.params),
        f"{result.seconds:.0f} s",
        f"{result.val_accuracy:.1%}",
        test,
    ]
