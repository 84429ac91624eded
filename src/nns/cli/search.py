"""``nns search``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from nns.cli import completion, options
from nns.quantities import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nns.searching import Candidate, SearchResult


def search(
    data: options.Data,
    zoo: options.ZooOption = None,
    max_params: options.MaxParams = None,
    max_macs: options.MaxMacs = None,
    max_size: options.MaxSize = None,
    max_latency: options.MaxLatency = None,
    backend: options.BackendLimit = None,
    license: options.LicenseLimit = None,
    top: Annotated[int, Option(metavar="K", help="Candidates to list.")] = 10,
    classes: Annotated[int | None, Option(min=1, help="Classes of the head, if DATA has no labels.")] = None,
    space: Annotated[
        str | None,
        Option(metavar="NAME", help="Fitted space to rank by.", autocompletion=completion.spaces),
    ] = None,
    probe: Annotated[bool, Option("--probe", help="Re-rank the best twenty by a linear probe on your images.")] = False,
    probe_seconds: Annotated[float, Option(min=0.1, metavar="S", help="Time for --probe at most.")] = 10.0,
    explain: Annotated[
        bool, Option("--explain", help="Say why: like which datasets, and what counts how much.")
    ] = False,
    report: Annotated[
        Path | None, Option(metavar="FILE.html", help="Write the answer as a page, with figures.")
    ] = None,
    images: Annotated[int, Option(metavar="N", help="Images to look at, at most.")] = 200,
    device: options.Device = "auto",
    offline: options.Offline = False,
    seed: options.Seed = 0,
    no_history: options.NoHistory = False,
    server: Annotated[
        str | None, Option("--server", metavar="URL", help="Search in the zoo of a server: nns serve.")
    ] = None,
    send: Annotated[
        str,
        Option(
            "--send",
            metavar="features|images",
            help="What goes to the server; images are small copies.",
            autocompletion=completion.one_of("features|images"),
        ),
    ] = "features",
    token_file: Annotated[
        Path | None, Option("--token-file", metavar="FILE", help="What the server wants to know; default $NNS_TOKEN.")
    ] = None,
    json: options.JsonFlag = False,
) -> None:
    """Rank the networks of a zoo that meet the limits, for your images.

    A limit counts each network with the head that DATA needs. A flat folder of images will do.

    Example: nns search ./mydata --max-params 5M --max-latency 10ms --explain
    """
    from nns.cli.explanation import render_explanation
    from nns.cli.output import note, print_json, progress_bar, say_data
    from nns.cli.search_report import check_report, write_report
    from nns.verbs import search as run_search

    if report is not None:
        check_report(report)
    with progress_bar() as update:
        result = run_search(
            data, zoo, max_params=max_params, max_macs=max_macs, max_size=max_size, max_latency=max_latency,
            backend=backend, license=license, top=top, classes=classes, space=space, device=device, seed=seed,
            images=images, probe=probe, probe_seconds=probe_seconds, offline=offline, history=not no_history,
            server=server, send=send, token_file=token_file,
            progress=update, tell=note, on_data=say_data(json, line=False),
        )  # fmt: skip
    if report is not None:
        write_report(result, report)
    if json:
        print_json(result.to_dict())
        return
    render(result)
    if explain:
        render_explanation(result)
    if report is not None:
        note(f"wrote {report}")


def render(result: SearchResult) -> None:
    """Print the ranking as a table."""
    from nns.cli.output import note, print_text, render_table
    from nns.networks.origins import origin_of

    if result.dataset.seen is not None:
        print_text(result.dataset.seen.line())
    for path, reason in result.dataset.skipped[:5]:
        note(f"skipped {path}: {reason}")
    if len(result.dataset.skipped) > 5:
        note(f"skipped {len(result.dataset.skipped) - 5} more; `nns doctor {result.dataset.path}` lists them")
    render_table(result.table())
    note_left_out(result.left_out)
    if missing := [each for each in result.candidates if each.needs]:
        hints = {origin_of(each.entry) for each in missing} - {""}
        what = f": pip install {' '.join(sorted(hints))}" if hints else f": {missing[0].needs}"
        note(f"{len(missing)} of these networks cannot be built here{what}")
    if result.own is not None and result.own.results:
        results = f"{counted(result.own.results, 'result')} of your own on {counted(result.own.datasets, 'dataset')}"
        note(f"{results} counted (`nns history ls`; --no-history leaves them out)")
    if result.rests_on:
        note(f"ranked {result.rests_on}")
    elif result.neighbourhood.far:
        note("your images are far from every dataset of the zoo: expect less of the ranking than of its static choice")


def note_left_out(candidates: Sequence[Candidate]) -> None:
    """Name better networks that were left out, since they are not on this disk and nothing may be fetched."""
    from nns.cli.output import note
    from nns.quantities import format_bytes

    for each in candidates:
        place = each.weights
        size = "size not known" if place is None or place.bytes is None else format_bytes(place.bytes)
        where = "not on this disk" if place is None else f"not on this disk ({place.where}, {size})"
        expected = f"expected {each.predicted_accuracy:.0%}"
        note(f"better, but {where}: {each.entry.id[:10]}, {each.entry.spec.name}, {expected}, {each.entry.license}")
