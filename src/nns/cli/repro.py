"""``nns repro``: record, check and update."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from nns.cli import completion, options

if TYPE_CHECKING:
    from nns.repro import ReproSettings

app = typer.Typer(help="For CI: does the same input still give the same answer?", no_args_is_help=True)

STAGES = "data,zoo,build,fit,search,finetune,export"
BUILDS = "What is built"

Lock = Annotated[Path, Argument(metavar="LOCK", help="Lock file (.json).")]
Work = Annotated[
    Path | None, Option("--work", metavar="DIR", help="Empty folder to keep the zoo in; default: temporary.")
]
Workers = Annotated[
    int | None,
    Option("--workers", min=0, help="Processes that train (0: this one); changes no result. Default: up to 2."),
]
Stages = Annotated[
    str | None,
    Option("--stages", metavar=STAGES, help="Only these stages.", autocompletion=completion.listed(STAGES)),
]
Outside = Annotated[
    bool, Option("--outside", help="Let the lock name data outside of its own folder and the current one.")
]


@app.command("record")
def record(
    lock: Lock,
    query: Annotated[list[str] | None, Option(metavar="DATA", help="Dataset to search with; repeat it.")] = None,
    zoo: Annotated[
        str | None,
        Option(
            metavar="ZOO|plugin:NAME",
            help="A zoo that is there; nothing is built.",
            autocompletion=completion.zoos,
        ),
    ] = None,
    recipe: Annotated[
        Path | None, Option(metavar="FILE.toml", help="What is built, as for nns zoo build.", rich_help_panel=BUILDS)
    ] = None,
    finetune: Annotated[bool, Option("--finetune", help="Fine-tune the first candidate of each query, too.")] = False,
    finetune_epochs: Annotated[int | None, Option(min=1, help="Epochs of that (default 3).")] = None,
    finetune_recipe: Annotated[
        str | None,
        Option(metavar="NAME", help="Recipe of that.", autocompletion=completion.named("recipe")),
    ] = None,
    export: Annotated[
        list[str] | None,
        Option(
            metavar="FORMAT",
            help="Export it: onnx, pt2, safetensors (default); repeat it.",
            autocompletion=completion.one_of("onnx|pt2|safetensors"),
        ),
    ] = None,
    top: Annotated[int | None, Option(min=2, help="Candidates of a search to write down (default 50).")] = None,
    stages: Stages = None,
    data: Annotated[
        list[str] | None,
        Option(metavar="DATA", help="Dataset of the zoo, twice or more.", rich_help_panel=BUILDS),
    ] = None,
    backend: Annotated[
        list[str] | None,
        Option(
            metavar="NAME",
            help="Backend, as in nns zoo build.",
            rich_help_panel=BUILDS,
            autocompletion=completion.installed_backends,
        ),
    ] = None,
    networks: Annotated[int | None, Option(min=2, help="Networks of the zoo in all.", rich_help_panel=BUILDS)] = None,
    image_size: Annotated[int | None, Option(help="Side of the training images.", rich_help_panel=BUILDS)] = None,
    max_images: Annotated[int | None, Option(help="Training images a dataset at most.", rich_help_panel=BUILDS)] = None,
    epochs: Annotated[int | None, Option(min=1, help="Epochs of every training.", rich_help_panel=BUILDS)] = None,
    method: Annotated[
        str | None, Option(metavar="NAME", help="Space method.", autocompletion=completion.named("method"))
    ] = None,
    space_epochs: Annotated[int | None, Option(min=1, help="Epochs of the fit.")] = None,
    max_params: options.MaxParams = None,
    max_macs: options.MaxMacs = None,
    max_size: options.MaxSize = None,
    backend_limit: Annotated[
        str | None,
        Option(
            "--only-backend",
            metavar="NAME",
            help="Search only networks of this backend.",
            rich_help_panel=options.LIMITS,
            autocompletion=completion.installed_backends,
        ),
    ] = None,
    license: options.LicenseLimit = None,
    seed: options.Seed = 0,
    tolerance: Annotated[float | None, Option(help="How far an accuracy may be off on other machines.")] = None,
    work: Work = None,
    workers: Workers = None,
    json: options.JsonFlag = False,
) -> None:
    """Run what a lock file will describe, and write what came out into it: to commit, for nns repro check.

    Of a zoo that is there (--zoo): its content and searches in it, in seconds. Of a recipe, or by default of
    scikit-learn's digits: a build, a fit and searches, in half a minute and more.

    Example: nns repro record repro.lock.json --zoo team.h5 --query data/dogs --finetune
    """
    from nns.cli.output import note, print_json, progress_bar
    from nns.quantities import limits_of
    from nns.repro import DEFAULT_TOLERANCE
    from nns.repro import record as run_record

    build = {
        "data": tuple(data) if data else None, "backends": tuple(backend) if backend else None, "networks": networks,
        "image_size": image_size, "max_images": max_images, "epochs": epochs,
    }  # fmt: skip
    tuning = {"epochs": finetune_epochs, "recipe": finetune_recipe, "exports": tuple(export) if export else None}
    given: dict[str, Any] = {
        "queries": tuple(query) if query else None,
        "method": method,
        "space_epochs": space_epochs,
        "limits": limits_of(max_params, max_macs, max_size, None, backend_limit, license),
        "top": top,
        "seed": seed,
        "stages": _stages(stages),
    }
    settings = _settings(_given(given), _given(build), zoo, recipe, _given(tuning) if finetune else None, tuning)
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
        covered = ", ".join(report.lock.settings.covered)
        if outside := report.outside:
            note(f"{outside[0]} is below neither the lock's folder nor this one: checks need --outside")
        note(f"wrote {report.path} ({covered}) in {report.seconds:.0f} s; `nns repro check {report.path}` compares")


@app.command("check")
def check(
    lock: Lock,
    seed: Annotated[int | None, Option(help="Another seed than the lock's, to see that the check notices.")] = None,
    stage: Annotated[
        str | None,
        Option(
            metavar="build|fit|search|finetune",
            help="Give --seed to this stage only.",
            autocompletion=completion.one_of("build|fit|search|finetune"),
        ),
    ] = None,
    stages: Stages = None,
    keep_going: Annotated[bool, Option("--keep-going", help="Go on after a stage that differs.")] = False,
    strict: Annotated[
        bool, Option("--strict", help="Another version of a library or a plugin is a difference, too.")
    ] = False,
    exact: Annotated[bool, Option("--exact", help="Demand equality, also in another environment.")] = False,
    tolerance: Annotated[float | None, Option(help="Let an accuracy be this much off, in any environment.")] = None,
    outside: Outside = False,
    junit: Annotated[
        Path | None, Option("--junit", metavar="FILE.xml", help="Also write a report in JUnit's format.")
    ] = None,
    github: Annotated[
        bool, Option("--github", help="Also annotate, and write a summary to $GITHUB_STEP_SUMMARY.")
    ] = False,
    work: Work = None,
    workers: Workers = None,
    json: options.JsonFlag = False,
) -> None:
    """Run again what a lock file describes, cheap stages first, up to the first that differs. Exits with 6 then.

    In the environment of the lock everything must be equal; elsewhere numbers within a tolerance.

    Example: nns repro check repro.lock.json
    """
    from nns.cli.output import print_json, progress_bar
    from nns.cli.repro_report import show_check, tell_github
    from nns.files import write_whole
    from nns.repro import check as run_check
    from nns.repro.checking import check_writable
    from nns.repro.reports import junit as junit_of
    from nns.repro.reports import report_json

    if junit:
        check_writable(junit, "report")
    with progress_bar() as update:
        report = run_check(
            lock, seed,
            stage=stage, stages=_stages(stages), keep_going=keep_going, strict=strict, exact=exact or None,
            tolerance=tolerance, outside=outside, work=work, workers=workers, progress=update,
        )  # fmt: skip
    if junit:
        write_whole(junit, junit_of(str(lock), report))
    if github:
        tell_github(lock, report)
    if json:
        print_json(report_json(report))
    else:
        show_check(lock, report)
    report.raise_if_differs()


@app.command("update")
def update(
    lock: Lock,
    outside: Outside = False,
    work: Work = None,
    workers: Workers = None,
    json: options.JsonFlag = False,
) -> None:
    """Run again what a lock file describes, write it anew, and print what differs from what it said before.

    Example: nns repro update repro.lock.json
    """
    from nns.cli.output import print_json, progress_bar
    from nns.cli.repro_report import show_update
    from nns.repro import update as run_update
    from nns.repro.reports import stage_json

    with progress_bar() as tell:
        report = run_update(lock, outside=outside, work=work, workers=workers, progress=tell)
    if json:
        changes = {key: {"recorded": was, "here": here} for key, (was, here) in (report.environment or {}).items()}
        stages = [stage_json(stage) for stage in report.stages]
        seconds = round(report.seconds, 2)
        print_json({"lock": str(report.path), "stages": stages, "environment": changes, "seconds": seconds})
    else:
        show_update(report)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _stages(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def _settings(
    given: dict[str, Any],
    build: dict[str, Any],
    zoo: str | None,
    recipe: Path | None,
    tuning: dict[str, Any] | None,
    asked: dict[str, Any],
) -> ReproSettings:
    """Put settings together; what would have no effect is refused."""
    from dataclasses import replace

    from nns.errors import UsageError
    from nns.repro import DIGITS, FineTuneSettings, ReproSettings

    if build and (zoo or recipe):
        where = "`zoo` is there already" if zoo else "`recipe` says what is built"
        raise UsageError(f"{where}: leave out `{min(build)}`, or change it there")
    if zoo and recipe:
        raise UsageError("a zoo is built for a lock, or is there already: give `recipe` or `zoo`, not both")
    if tuning is None and (unused := _given(asked)):
        option = {"exports": "export"}.get(min(unused), f"finetune_{min(unused)}")
        raise UsageError(f"`{option}` has no effect: ask for `finetune`, too")
    if (zoo or recipe) and "queries" not in given:
        given["queries"] = ()
    if zoo:
        given["zoo"] = _zoo(zoo)
    elif recipe:
        given["recipe"] = str(recipe)
    else:
        given["build"] = replace(DIGITS, **build, seed=given["seed"])
    if tuning is not None:
        given["finetune"] = FineTuneSettings(**tuning)
    return ReproSettings(**given)


def _zoo(path: str) -> str:
    """Name a plugin's zoo by the plugin: on another machine it lies elsewhere."""
    from nns.files import real_path
    from nns.repro.settings import PLUGIN_PREFIX

    if path.startswith(PLUGIN_PREFIX):
        return path
    registry = options.load_registry()
    for name in registry.names("zoo"):
        if real_path(Path(registry.make("zoo", name))) == real_path(Path(path).expanduser()):
            return PLUGIN_PREFIX + name
    return path
