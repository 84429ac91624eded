"""``nns repro``: record and check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from nns.cli import options

if TYPE_CHECKING:
    from nns.repro import CheckReport

app = typer.Typer(help="For CI: does the same input still give the same answer?", no_args_is_help=True)

Lock = Annotated[Path, Argument(metavar="LOCK", help="Lock file (.json).")]
Work = Annotated[
    Path | None, Option("--work", metavar="DIR", help="Empty folder to keep the zoo in; default: temporary.")
]
Workers = Annotated[
    int | None,
    Option("--workers", min=0, help="Processes that train (0: this one); changes no result. Default: up to 2."),
]


@app.command("record")
def record(
    lock: Lock,
    data: Annotated[list[str] | None, Option(metavar="DATA", help="Dataset of the zoo, twice or more.")] = None,
    query: Annotated[str | None, Option(metavar="DATA", help="Dataset to search with.")] = None,
    backend: Annotated[list[str] | None, Option(metavar="NAME", help="Backend, as in nns zoo build.")] = None,
    networks: Annotated[int | None, Option(min=2, help="Networks of the zoo in all.")] = None,
    image_size: Annotated[int | None, Option(help="Side of the training images.")] = None,
    max_images: Annotated[int | None, Option(help="Training images a dataset at most.")] = None,
    epochs: Annotated[int | None, Option(min=1, help="Epochs of every training.")] = None,
    method: Annotated[str | None, Option(metavar="NAME", help="Space method.")] = None,
    space_epochs: Annotated[int | None, Option(min=1, help="Epochs of the fit.")] = None,
    max_params: options.MaxParams = None,
    max_macs: options.MaxMacs = None,
    max_size: options.MaxSize = None,
    seed: options.Seed = 0,
    tolerance: Annotated[float | None, Option(help="How far an accuracy may be off on other machines.")] = None,
    work: Work = None,
    workers: Workers = None,
    json: options.JsonFlag = False,
) -> None:
    """Build a small zoo, fit a space, search, and write what came out into a lock file to commit.

    By default on scikit-learn's digits, in half a minute.

    Example: nns repro record repro.lock.json
    """
    from nns.cli.output import note, print_json, progress_bar
    from nns.quantities import limits_of
    from nns.repro import DEFAULT_TOLERANCE, ReproSettings
    from nns.repro import record as run_record

    given = {
        "data": tuple(data) if data else None,
        "query": query,
        "backends": tuple(backend) if backend else None,
        "networks": networks,
        "image_size": image_size,
        "max_images": max_images,
        "epochs": epochs,
        "method": method,
        "space_epochs": space_epochs,
        "limits": limits_of(max_params, max_macs, max_size),
        "seed": seed,
    }
    settings = ReproSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    with progress_bar() as update:
        report = run_record(
            lock, settings,
            tolerance=DEFAULT_TOLERANCE if tolerance is None else tolerance,
            work=work, workers=workers, progress=update,
        )  # fmt: skip
    if json:
        settings_document = report.lock.settings.to_json()
        print_json({"lock": str(report.path), "settings": settings_document, "seconds": round(report.seconds, 2)})
    else:
        note(f"wrote {report.path} in {report.seconds:.0f} s; `nns repro check {report.path}` compares with it")


@app.command("check")
def check(
    lock: Lock,
    seed: Annotated[int | None, Option(help="Another seed than the lock's, to see that the check notices.")] = None,
    stage: Annotated[str | None, Option(metavar="build|fit|search", help="Give --seed to this stage only.")] = None,
    exact: Annotated[bool, Option("--exact", help="Demand equality, also in another environment.")] = False,
    tolerance: Annotated[float | None, Option(help="Let an accuracy be this much off, in any environment.")] = None,
    work: Work = None,
    workers: Workers = None,
    json: options.JsonFlag = False,
) -> None:
    """Run again what a lock file describes, and compare stage by stage. Exits with 6 if something differs.

    In the environment of the lock everything must be equal; elsewhere numbers within a tolerance.

    Example: nns repro check repro.lock.json
    """
    from nns.cli.output import print_json, progress_bar
    from nns.repro import check as run_check

    with progress_bar() as update:
        report = run_check(
            lock, seed,
            stage=stage, exact=exact or None, tolerance=tolerance, work=work, workers=workers, progress=update,
        )  # fmt: skip
    if json:
        print_json(
            {
                "ok": report.ok,
                "exact": report.exact,
                "tolerance": report.tolerance,
                "stages": [{"stage": s.stage, "ok": s.ok, "differences": s.differences} for s in report.stages],
                "environment": {k: {"recorded": was, "here": here} for k, (was, here) in report.environment.items()},
                "seconds": round(report.seconds, 2),
            }
        )
    else:
        _render(str(lock), report)
    report.raise_if_differs()


def _render(lock: str, report: CheckReport) -> None:
    from nns.cli.output import note, print_table

    for key, (was, here) in report.environment.items():
        note(f"the environment differs: {key} {was or '-'} → {here or '-'}")
    compared = "everything must be equal" if report.exact else f"accuracies may be {report.tolerance:g} off"
    columns = [("stage", "left"), ("result", "left"), ("differences", "right"), ("first difference", "left")]
    rows = [
        [s.stage, "same" if s.ok else "differs", str(len(s.differences)), s.differences[0] if s.differences else ""]
        for s in report.stages
    ]
    print_table(f"{lock}: {compared}", columns, rows, caption=f"{report.seconds:.0f} s")
