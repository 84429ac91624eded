"""``nns bench``: run, show and make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from nns.cli import completion, options

if TYPE_CHECKING:
    from nns.bench.running_cells import MatrixReport
    from nns.types import Json

app = typer.Typer(help="How well networks are chosen, beside baselines.", no_args_is_help=True)

MATRIX = Path("benchmarks/matrix/bank.npz")
DOCUMENT = Path("benchmarks/matrix/bank.json")


@app.command("run")
def run(
    matrix: Annotated[Path, Argument(metavar="MATRIX", help="Matrix of nns bench make (.npz).")] = MATRIX,
    method: Annotated[
        str, Option(metavar="NAME", help="Space method; see nns plugins.", autocompletion=completion.named("method"))
    ] = "mixed",
    seeds: Annotated[int, Option(min=1, help="Seeds of the methods that are fitted.")] = 3,
    limit: Annotated[
        list[str] | None, Option(metavar="N", help="Parameters, e.g. 2M, or none; repeat it. Default: six limits.")
    ] = None,
    ablations: Annotated[
        bool, Option("--ablations/--no-ablations", help="Also run the method without its parts.")
    ] = True,
    out: Annotated[
        Path | None, Option("-o", "--out", metavar="FILE.json", help="Keep all numbers, for nns bench show.")
    ] = None,
    json: options.JsonFlag = False,
) -> None:
    """Score a method and its baselines on a matrix of finished fine-tunings. Trains no network.

    Example: nns bench run benchmarks/matrix/bank.npz -o bank.json
    """
    from nns.bench.matrix import Matrix
    from nns.bench.metrics import LIMITS
    from nns.bench.running import run_bench, save_run
    from nns.cli.output import print_json, progress_bar
    from nns.errors import UsageError

    if not matrix.is_file():
        raise UsageError(f"there is no matrix {matrix}: give its path, or make one with `nns bench make`")
    limits = [_limit(text) for text in limit] if limit else LIMITS
    loaded = Matrix.load(matrix)
    with progress_bar() as update:
        update("timing a search", 0, None)
        document = run_bench(
            loaded,
            method=method,
            seeds=seeds,
            limits=limits,
            ablations=ablations,
            on_progress=lambda name, done, total: update("choosing", done, total, name),
            registry=options.load_registry(),
        )
    if out:
        save_run(document, out)
    if json:
        print_json(document)
    else:
        _render(document)


@app.command("show")
def show(
    file: Annotated[Path, Argument(metavar="FILE.json", help="What nns bench run -o wrote.")] = DOCUMENT,
    json: options.JsonFlag = False,
) -> None:
    """Show the tables of a finished run again.

    Example: nns bench show bank.json
    """
    from nns.bench.running import load_run
    from nns.cli.output import print_json

    document = load_run(file)
    if json:
        print_json(document)
    else:
        _render(document)


@app.command("make")
def make(
    zoo: options.ZooArgument,
    data: Annotated[list[str], Argument(metavar="DATA...", help="Query datasets, none of them in the zoo.")],
    tasks: Annotated[
        list[Path], Option(metavar="FILE.csv", help="Columns task,family,set of all datasets; repeat it.")
    ],
    out: Annotated[Path, Option("-o", "--out", metavar="MATRIX.npz", help="The matrix.")],
    candidates: Annotated[
        str | None,
        Option(
            "--candidates",
            metavar="N|FILE.csv",
            help="Networks to draw from the zoo, or a table of architecture,source. Default: all.",
        ),
    ] = None,
    seeds: Annotated[int, Option(min=1, help="Fine-tunings of each pair.")] = 1,
    repeat_best: Annotated[
        int | None,
        Option(min=1, metavar="K", help="Repeat only what is among the best K of a dataset at some limit."),
    ] = None,
    epochs: Annotated[int | None, Option(min=1, help="Of each fine-tuning (default 8).")] = None,
    max_images: Annotated[int | None, Option(min=2, help="Training images a dataset (default 256).")] = None,
    executor: options.Executor = "local",
    address: options.Address = None,
    workers: Annotated[
        int | None, Option(min=0, help="Fine-tunings at a time; 0: this process; default: by cores.")
    ] = None,
    device: Annotated[
        str,
        Option(metavar="auto|cpu|cuda", help="What to train on.", autocompletion=completion.one_of("auto|cpu|cuda")),
    ] = "cpu",
    json: options.JsonFlag = False,
) -> None:
    """Fine-tune every candidate of a zoo on every dataset, for nns bench run. Run it again to go on.

    Example: nns bench make zoo.h5 ./birds ./tiles --tasks tasks.csv -o mine.npz
    """
    import sys
    from contextlib import redirect_stdout

    from nns.bench.running_cells import make_matrix, recipe_of
    from nns.cli.output import note, print_json, progress_bar
    from nns.errors import EXIT_INTERRUPTED, NnsError

    # what libraries print while they train is no result
    with options.open_zoo(zoo) as opened, progress_bar() as update, redirect_stdout(sys.stderr):
        report = make_matrix(
            opened,
            data,
            tasks,
            out,
            candidates=_candidates(candidates),
            seeds=seeds,
            repeat_best=repeat_best,
            recipe=recipe_of(epochs, max_images),
            executor=executor,
            workers=workers,
            address=address,
            device=device,
            on_event=lambda event: update(
                "fine-tuning", event.done, event.total, f"{event.failed} failed" if event.failed else ""
            ),
        )
    if json:
        print_json(report.document())
    else:
        _render_report(report)
    if report.interrupted:
        note("interrupted; run the same command again to go on")
        raise typer.Exit(EXIT_INTERRUPTED)
    if report.failed:
        raise NnsError(f"{len(report.failed)} cells failed; run the same command again to retry them")


def _render_report(report: MatrixReport) -> None:
    from nns.cli.output import print_table
    from nns.quantities import format_seconds

    rows = [["cells", f"{report.done} of {report.total}"], ["time", format_seconds(report.seconds)]]
    rows += [["failed", f"{name} {network} on {dataset}: {why}"] for name, network, dataset, why in report.failed]
    after = None if report.interrupted else f"Next: nns bench run {report.matrix}"
    print_table(report.cells if report.interrupted else report.matrix, [("", "left"), ("", "left")], rows, after)


def _candidates(text: str | None) -> int | Path | None:
    from nns.errors import UsageError

    if text is None or not text.isdecimal():
        return Path(text) if text else None
    if int(text) < 2:
        raise UsageError(f"--candidates must be at least 2, not {text}")
    return int(text)


def _limit(text: str) -> float | None:
    from nns.quantities import parse_count

    return None if text == "none" else float(parse_count(text))


def _render(document: Json) -> None:
    from nns.bench.tables import bench_tables
    from nns.cli.output import render_table

    for table in bench_tables(document):
        render_table(table)
