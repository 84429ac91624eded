"""``nns search``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nns.cli import options

ID_SHOWN = 10
"""Digits of an id in a table; commands take any unique beginning."""

if TYPE_CHECKING:
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
    top: Annotated[int, typer.Option("--top", metavar="K", help="Candidates to list.")] = 10,
    classes: Annotated[
        int | None, typer.Option("--classes", min=1, help="Classes of the head, if DATA has no labels.")
    ] = None,
    space: Annotated[str | None, typer.Option("--space", metavar="NAME", help="Fitted space to rank by.")] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Re-rank the best twenty by a linear probe on your images.")
    ] = False,
    probe_seconds: Annotated[
        float, typer.Option("--probe-seconds", min=0.1, metavar="S", help="Time for --probe at most.")
    ] = 10.0,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why: like which datasets, and what counts how much.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Write the answer as a page, with figures.")
    ] = None,
    images: Annotated[int, typer.Option("--images", metavar="N", help="Images to look at, at most.")] = 200,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    json: options.JsonFlag = False,
) -> None:
    """Rank the networks of a zoo that meet the limits, for your images.

    A limit counts each network with the head that DATA needs. A flat folder of images will do.

    Example: nns search ./mydata --max-params 5M --max-latency 10ms --explain
    """
    from nns.cli.explanation import render_explanation
    from nns.cli.output import note, print_json, progress_bar
    from nns.cli.search_report import check_report, write_report
    from nns.searching import search as run_search

    if report is not None:
        check_report(report)
    limits = options.limits_of(max_params, max_macs, max_size, max_latency, backend, license)
    opened = options.open_zoo(zoo)
    resolved = options.latency_device(device, limits.max_latency)
    with progress_bar() as update:
        result = run_search(
            data, opened, limits,
            top=top, classes=classes, space=space, device=resolved, seed=seed, images=images,
            probe="ridge" if probe else None, probe_seconds=probe_seconds, progress=update,
        )  # fmt: skip
    if report is not None:
        write_report(result, report)
    if json:
        print_json(search_document(result))
        return
    render(result)
    if explain:
        render_explanation(result)
    if report is not None:
        note(f"wrote {report}")


def search_document(result: SearchResult) -> dict[str, Any]:
    """Return the JSON document of the contract."""
    limits = result.limits
    return {
        "dataset": {
            "path": result.dataset.path,
            "classes": result.dataset.classes,
            "images": result.dataset.images,
            "skipped": [{"path": path, "reason": reason} for path, reason in result.dataset.skipped],
            "digest": result.dataset.digest,
        },
        "zoo": {"path": result.zoo_path, "digest": result.zoo_digest, "networks": result.zoo_networks},
        "space": result.space,
        "limits": {
            "max_params": limits.max_params,
            "max_macs": limits.max_macs,
            "max_size": limits.max_size,
            "max_latency_ms": None if limits.max_latency is None else limits.max_latency * 1e3,
            "backend": limits.backend,
            "license": limits.license,
        },
        "feasible": result.feasible,
        "candidates": [_candidate(candidate) for candidate in result.candidates],
        "static_choice": _candidate(result.static_choice),
        "together": [candidate.entry.id for candidate in result.together],
        "expected_gain": {
            "points": round(result.gain.points, 4),
            "interval": None if result.gain.interval is None else [round(v, 4) for v in result.gain.interval],
        },
        "neighbours": [
            {
                "dataset": neighbour.name,
                "distance": round(neighbour.distance, 6),
                "winner": neighbour.winner or None,
                "accuracy": None if math.isnan(neighbour.accuracy) else round(neighbour.accuracy, 6),
            }
            for neighbour in result.neighbourhood.nearest
        ],
        "far": result.neighbourhood.far,
        "seconds": {
            "features": round(result.seconds.features, 4),
            "score": round(result.seconds.score, 6),
            "probe": round(result.seconds.probe, 4),
            "total": round(result.seconds.total, 4),
        },
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    entry = candidate.entry
    return {
        "rank": candidate.rank,
        "id": entry.id,
        "backend": entry.spec.backend,
        "architecture": entry.spec.name,
        "source_dataset": entry.source_dataset,
        "params": candidate.params,
        "macs": candidate.macs,
        "bytes": candidate.bytes,
        "latency_ms": None if candidate.latency is None else round(candidate.latency * 1e3, 4),
        "score": round(candidate.score, 6),
        "similarity": round(candidate.similarity, 6),
        "prior": round(candidate.prior, 6),
        "predicted_accuracy": round(candidate.predicted_accuracy, 6),
        "interval": None if candidate.interval is None else [round(v, 6) for v in candidate.interval],
        "terms": {name: round(part, 6) for name, part in candidate.terms.items()},
        "probe": None if candidate.probe is None else round(candidate.probe, 6),
        "license": entry.license,
    }


def render(result: SearchResult) -> None:
    """Print the ranking as a table."""
    from nns.cli.output import note, print_table
    from nns.quantities import format_count, format_seconds

    for path, reason in result.dataset.skipped[:5]:
        note(f"skipped {path}: {reason}")
    if len(result.dataset.skipped) > 5:
        note(f"skipped {len(result.dataset.skipped) - 5} more; `nns doctor {result.dataset.path}` lists them")
    timed = any(candidate.latency is not None for candidate in result.candidates)
    columns = [("#", "right"), ("network", "left"), ("architecture", "left"), ("trained on", "left")]
    columns += [("params", "right"), ("MACs", "right")] + ([("latency", "right")] if timed else [])
    probed = any(candidate.probe is not None for candidate in result.candidates)
    columns += [("expected", "right"), ("match", "right")] + ([("probe", "right")] if probed else [])
    columns += [("score", "right")]
    rows = []
    for candidate in result.candidates:
        entry = candidate.entry
        row = [str(candidate.rank), entry.id[:ID_SHOWN], entry.spec.name, entry.source_dataset]
        row += [format_count(candidate.params), format_count(candidate.macs)]
        row += [format_seconds(candidate.latency) if candidate.latency is not None else "-"] if timed else []
        row += [_accuracy(candidate), f"{candidate.similarity:+.2f}"]
        row += [f"{candidate.probe:.0%}" if candidate.probe is not None else "-"] if probed else []
        row += [f"{candidate.score:.2f}"]
        rows.append(row)
    classes = f"{result.dataset.classes} classes" if result.dataset.classes is not None else "unlabelled"
    static = result.static_choice
    print_table(
        f"{result.dataset.path}: {result.dataset.images} images, {classes}; "
        f"{result.feasible} of {result.zoo_networks} networks meet the limits",
        columns,
        rows,
        caption=f"Blind to your images, {static.entry.id[:ID_SHOWN]} ({static.entry.spec.name}) would be picked; "
        f"here it is number {static.rank}. {format_seconds(result.seconds.total)} in all, "
        f"{format_seconds(result.seconds.score)} of it to score.\n" + _together(result),
    )
    if result.neighbourhood.far:
        note("your images are far from every dataset of the zoo: expect less of the ranking than of its static choice")


def _together(result: SearchResult) -> str:
    """Return which few are best fine-tuned together."""
    names = [f"number {each.rank} ({each.entry.id[:ID_SHOWN]})" for each in result.together]
    if len(names) == 1:
        return f"To fine-tune: {names[0]}."
    return f"To fine-tune {len(names)} and keep the best: {', '.join(names[:-1])} and {names[-1]}."


def _accuracy(candidate: Candidate) -> str:
    text = f"{candidate.predicted_accuracy:.0%}"
    if candidate.interval is None:
        return text
    low, high = candidate.interval
    return f"{text} ({low * 100:.0f}-{high:.0%})"
