"""``nns demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from nns.cli import options
from nns.quantities import counted

if TYPE_CHECKING:
    from nns.demo import DemoReport, DemoRun, DemoTask


def demo(
    output: Annotated[Path, Option("--output", "-o", metavar="DIR", help="Folder for images and networks.")] = Path(
        "nns-demo"
    ),
    zoo: options.ZooOption = None,
    max_params: Annotated[str, Option(metavar="N", help="Limit of the searches, e.g. 1M.")] = "5M",
    epochs: Annotated[int, Option(min=1, help="Epochs of each of six fine-tunings.")] = 6,
    seed: options.Seed = 0,
    json: options.JsonFlag = False,
) -> None:
    """Search for two folders of real images, fine-tune what is found, compare it with simpler choices.

    Photographs of solar cells, and handwritten digits: no network of the starter zoo was trained on these images.
    Nothing is downloaded.

    Example: nns demo
    """
    from nns.cli.output import note, print_json, progress_bar
    from nns.demo import DemoSettings, run_demo
    from nns.quantities import parse_count
    from nns.verbs import open_zoo

    settings = DemoSettings(max_params=parse_count(max_params), epochs=epochs, seed=seed)
    if not json:
        note(f"A minute or two on two cores. Everything goes to {output}/.")
    with open_zoo(zoo) as opened, progress_bar() as update:
        report = run_demo(output, opened, settings, update)
    if json:
        print_json(demo_document(report))
    else:
        render(report)


def demo_document(report: DemoReport) -> dict[str, Any]:
    """Return the report as JSON."""
    return {
        "zoo": {"path": str(report.zoo), "networks": report.networks},
        "tasks": [
            {
                "data": str(task.data),
                "search": task.search.to_dict(),
                "runs": [_run_document(run) for run in task.runs],
                "chance": task.chance,
                "output": str(task.output),
            }
            for task in report.tasks
        ],
        "seconds": round(report.seconds, 1),
    }


def _run_document(run: DemoRun) -> dict[str, Any]:
    return {
        "choice": run.choice,
        "network": run.candidate.entry.id,
        "architecture": run.candidate.entry.spec.name,
        "source_dataset": run.candidate.entry.source_dataset,
        **{name: getattr(run.candidate, name) for name in ("params", "rank")},
        **{name: getattr(run.result, name) for name in ("val_accuracy", "test_accuracy", "epochs")},
        "seconds": round(run.result.seconds, 2),
    }


def render(report: DemoReport) -> None:
    """Print what was found, how other choices did, and how to go on."""
    from nns.cli import search
    from nns.cli.output import print_lines, print_table
    from nns.quantities import format_seconds

    for task in report.tasks:
        print_lines("")
        search.render(task.search)
        columns = [("chosen by", "left"), ("architecture", "left"), ("params", "right"), ("time", "right")]
        columns += [("validation", "right"), ("test", "right")]
        rows = [_row(run) for run in task.runs]
        rows.append(["always the commonest class", "", "", "", "", f"{task.chance:.1%}"])
        title = f"Fine-tuned on {task.data.name} for {counted(task.runs[0].result.epochs, 'epoch')} each"
        print_table(title, columns, rows, _next(task), ("time", "params", "architecture"))
    print_lines(f"\n{format_seconds(report.seconds)} in all. With images of your own, in one folder a class:\n")
    for command in ("nns doctor ./mydata", "nns search ./mydata --max-params 5M", "nns finetune ./mydata --budget 2m"):
        print_lines(f"    {command}")


def _next(task: DemoTask) -> str:
    image = sorted(task.data.rglob("*.png"))[0]
    return f"The first of them says what it sees: nns predict {task.output} {image}"


def _row(run: DemoRun) -> list[str]:
    from nns.quantities import format_count

    result = run.result
    test = "-" if result.test_accuracy is None else f"{result.test_accuracy:.1%}"
    name, params = run.candidate.entry.spec.name, format_count(run.candidate.params)
    return [run.choice, name, params, f"{result.seconds:.0f} s", f"{result.val_accuracy:.1%}", test]
