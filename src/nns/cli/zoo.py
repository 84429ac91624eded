"""``nns zoo``: ls, info, show, verify; the commands that write are in :mod:`nns.cli.zoo_writing`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from nns.cli import build, completion, import_tans, options, zoo_adding, zoo_diff, zoo_fetching, zoo_writing
from nns.quantities import counted

if TYPE_CHECKING:
    from nns.types import NetworkEntry, TransferRecord
    from nns.zoo import WeightsBytes, ZooInfo

ID_SHOWN = 10
"""Digits of an id in a table, or as many more as it takes to tell all networks apart."""

LEAST = ("MACs", "on disk", "license", "size", "latency", "trained on", "params")
"""Headings of `ls` by how soon a narrow terminal goes without them; that by which it is sorted stays."""

SORTS = "params|macs|size|accuracy|dataset|architecture|id"

SHOWN = 20
"""Names, or transfers, that a table shows at most."""

app = typer.Typer(help="Zoos: networks in one file.", no_args_is_help=True)
app.command("build")(build.build)


@app.command("ls")
def ls(
    zoo: options.ReadZoo = None,
    max_params: options.MaxParams = None,
    max_macs: options.MaxMacs = None,
    max_size: options.MaxSize = None,
    max_latency: options.MaxLatency = None,
    backend: options.BackendLimit = None,
    license: options.LicenseLimit = None,
    dataset: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Only networks trained on it.",
            rich_help_panel=options.LIMITS,
            autocompletion=completion.datasets,
        ),
    ] = None,
    on_disk: Annotated[bool, Option("--on-disk", help="Only networks whose weights are on this disk.")] = False,
    sort: Annotated[str, Option(metavar=SORTS, help="Order.", autocompletion=completion.one_of(SORTS))] = "dataset",
    reverse: Annotated[bool, Option("--reverse", help="The other way round.")] = False,
    limit: Annotated[int | None, Option(min=1, metavar="N", help="Rows at most.")] = None,
    device: options.Device = "auto",
    json: options.JsonFlag = False,
) -> None:
    """List the networks of a zoo, each counted with its own head.

    With --max-latency, networks that were never measured on this machine are measured, and the zoo keeps the numbers.

    Example: nns zoo ls zoo.h5 --max-params 1M --sort accuracy --limit 20
    """
    from nns.cli.output import print_json, progress_bar
    from nns.networks import Network
    from nns.quantities import limits_of
    from nns.searching.listing import list_networks
    from nns.verbs import latency_device

    limits = limits_of(max_params, max_macs, max_size, max_latency, backend, license)
    seconds: dict[str, float] = {}
    with options.open_zoo(zoo) as opened, progress_bar() as update:
        zoo = opened.path

        def measured(ids: Sequence[str]) -> Mapping[str, float]:
            from nns.networks import latencies

            where = latency_device(device, limits.max_latency)
            show = lambda done, total: update("measuring latency", done, total)  # noqa: E731
            seconds.update(latencies(opened, ids, where, show))
            return seconds

        entries = list_networks(opened, limits, sort, reverse=reverse, dataset=dataset, latencies=measured)
        ids = opened.store.ids()
        if on_disk:
            entries = [entry for entry in entries if Network(entry, opened).on_disk]
        shown = entries[:limit]
        places = {entry.id: Network(entry, opened).place for entry in shown}
    if json:
        rows = [
            entry.to_dict()
            | {"latency_ms": _milliseconds(seconds.get(entry.id)), "weights": places[entry.id].to_dict()}
            for entry in shown
        ]
        print_json({"networks": rows, "total": len(entries)})
        return
    title = f"{len(entries)} of " * (len(entries) < len(ids)) + counted(len(ids), "network")
    title += f", the first {len(shown)}" if len(shown) < len(entries) else ""
    here = {name for name, place in places.items() if place.on_disk}
    _render_list(f"{zoo}: {title}", shown, ids, seconds, here, sort, with_size=sort == "size" or max_size is not None)


def _render_list(
    title: str,
    entries: Sequence[NetworkEntry],
    ids: Sequence[str],
    seconds: Mapping[str, float],
    here: Collection[str],
    sort: str,
    with_size: bool,
) -> None:
    """Print networks; a column that is not asked for or says the same in every row is left out."""
    from nns.cli.output import note, print_table
    from nns.quantities import format_bytes, format_count, format_seconds

    if not entries:
        note(title)
        return
    digits = _digits(ids)
    licenses = {entry.license for entry in entries}
    columns = [("network", "left"), ("architecture", "left"), ("trained on", "left"), ("accuracy", "right")]
    columns += [("params", "right"), ("MACs", "right")]
    columns += [("size", "right")] * with_size + [("latency", "right")] * bool(seconds)
    columns += [("license", "left")] * (len(licenses) > 1)
    elsewhere = len(here) < len(entries)
    columns += [("on disk", "left")] * elsewhere
    rows = []
    for entry in entries:
        cost, classes = entry.cost, len(entry.classes)
        row = [entry.id[:digits], f"{entry.spec.backend}:{entry.spec.name}", entry.source_dataset]
        row += [_percent(entry.accuracy), format_count(cost.params(classes)), format_count(cost.macs(classes))]
        row += [format_bytes(cost.bytes(classes))] * with_size
        row += [format_seconds(seconds[entry.id])] if seconds else []
        row += [entry.license] * (len(licenses) > 1)
        row += ["yes" if entry.id in here else "no"] * elsewhere
        rows.append(row)
    caption = f"license: {licenses.pop()}" if len(licenses) == 1 else None
    print_table(title, columns, rows, caption, [name for name in LEAST if name.lower() != sort])


def _digits(ids: Sequence[str]) -> int:
    """Count the digits that tell all of some ids apart."""
    digits = ID_SHOWN
    while len({name[:digits] for name in ids}) < len(ids):
        digits += 1
    return digits


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"


@app.command("info")
def info(zoo: options.ReadZoo = None, json: options.JsonFlag = False) -> None:
    """Count what is in a zoo and what it takes, and give its content digest.

    The digest is one of content: order, compression and history of the file do not count.

    Example: nns zoo info zoo.h5
    """
    from nns.cli.output import print_json

    with options.open_zoo(zoo) as opened:
        found = opened.info()
    if json:
        print_json(found.to_dict())
    else:
        _render_info(opened.path, found)


def _render_info(zoo: Path, found: ZooInfo) -> None:
    from nns.cli.output import print_table
    from nns.quantities import format_bytes

    packing = found.packing
    networks = ", ".join(f"{count} {name}" for name, count in found.by_backend.items())
    trained_on = [f"{name} ({count})" for name, count in found.by_dataset.items()]
    kinds = ", ".join(f"{kind} {format_bytes(size)}" for kind, size in found.bytes.items() if size)
    rows = [
        ["digest", found.digest],
        ["format version", str(found.format_version)],
        ["networks", f"{found.networks}{f' ({networks})' if networks else ''}"],
        ["trained on", _some(trained_on) or "-"],
        ["supernets", str(found.supernets)],
        ["datasets", f"{len(found.datasets)} with query features"],
        [
            "transfers",
            f"{found.transfers} to {counted(len(found.transfer_datasets), 'dataset')}" if found.transfers else "none",
        ],
        ["spaces", ", ".join(found.spaces) or f"none; run `nns space fit {zoo}`"],
        ["latency measured on", _some(found.devices) or "no device"],
        ["file", format_bytes(found.file_bytes)],
        ["bytes", kinds or "-"],
        ["weights", f"{format_bytes(packing.decoded)} in {format_bytes(packing.stored)}, ratio {packing.ratio:.2f}"],
    ]
    for name, (frames, decoded, stored) in packing.codecs.items():
        rows.append([f"  {name}", f"{format_bytes(decoded)} in {format_bytes(stored)}, {frames} frames"])
    if found.waiting:
        waiting = f"{counted(found.waiting, 'file')}, {format_bytes(found.waiting_bytes)}, in {zoo.name}.journal"
        rows.append(["waiting", f"{waiting}; `nns zoo gc {zoo}` brings them in"])
    print_table(str(zoo), [("", "left"), ("", "left")], rows)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f", … ({len(names)} in all)" if len(names) > SHOWN else "")


@app.command("show")
def show(
    zoo: options.ZooArgument,
    network: Annotated[
        str,
        Argument(
            metavar="ID",
            help="Id of a network or supernet, or a unique beginning of it.",
            autocompletion=completion.networks_and_supernets,
        ),
    ],
    json: options.JsonFlag = False,
) -> None:
    """Show one network or supernet: numbers, provenance, classes, what it takes, transfers, latencies.

    Example: nns zoo show zoo.h5 3f2a
    """
    from nns.cli.output import print_json
    from nns.networks import Supernet

    with options.open_zoo(zoo) as opened:
        found = opened.find(network)
        entry, supernet = found.entry, isinstance(found, Supernet)
        kept = opened.weights_bytes([entry.id])
        transfers = () if isinstance(found, Supernet) else found.transfers
        measured = {device: opened.store.latencies(device).get(entry.id) for device in opened.store.devices()}
    latencies = {device: seconds for device, seconds in measured.items() if seconds is not None and not supernet}
    if json:
        print_json(_show_document(entry, supernet, kept, transfers, latencies))
    else:
        _render_network(entry, supernet, kept, transfers, latencies)


def _show_document(
    entry: NetworkEntry,
    supernet: bool,
    kept: WeightsBytes,
    transfers: Sequence[TransferRecord],
    latencies: Mapping[str, float],
) -> dict[str, Any]:
    """Return everything about one network or supernet; ``latencies`` are seconds by device."""
    return entry.to_dict() | {
        "class_names": list(entry.classes),
        "kind": "supernet" if supernet else "network",
        "kept": {name: getattr(kept, name) for name in ("decoded", "stored", "own", "frames", "codecs")},
        "bases": list(kept.bases),
        "transfers": [
            {name: value for name, value in asdict(record).items() if name != "network_id"} for record in transfers
        ],
        "latency_ms": {device: _milliseconds(seconds) for device, seconds in sorted(latencies.items())},
    }


def _milliseconds(seconds: float | None) -> float | None:
    """Return a latency as JSON has it, None if it is not known."""
    return None if seconds is None else round(seconds * 1e3, 4)


def _render_network(
    entry: NetworkEntry,
    supernet: bool,
    kept: WeightsBytes,
    transfers: Sequence[TransferRecord],
    latencies: Mapping[str, float],
) -> None:
    from json import dumps

    from nns.cli.output import print_table
    from nns.quantities import format_bytes, format_count, format_seconds

    cost, classes = entry.cost, len(entry.classes)
    whole, own = format_bytes(kept.stored), format_bytes(kept.own)
    stored = f"{format_bytes(kept.decoded)} in {whole}" + (f", {own} of it for this alone" if own != whole else "")
    rows = [
        ["kind", "supernet" if supernet else "network"],
        ["architecture", f"{entry.spec.backend}:{entry.spec.name}"],
        ["config", dumps(dict(entry.spec.config), ensure_ascii=False)],
        ["weights from", entry.spec.source],
        ["trained on", entry.source_dataset],
        ["classes", f"{classes}: {_some(entry.classes)}" if classes else "none"],
        ["accuracy", _percent(entry.accuracy)],
        ["params", f"{format_count(cost.params(classes))} ({cost.params(classes)})"],
        ["MACs", f"{format_count(cost.macs(classes))} ({cost.macs(classes)})"],
        ["size", f"{format_bytes(cost.bytes(classes))} ({cost.bytes(classes)})"],
        ["input", f"{entry.preprocessing.size} px"],
        ["features", str(cost.feature_dim)],
        ["license", entry.license],
        ["weights", stored],
        ["frames", ", ".join(f"{count} {name}" for name, count in kept.codecs.items()) or "none"],
        *[["weights at", dumps(place, ensure_ascii=False)] for place in [entry.to_dict().get("weights_at")] if place],
        *[["published", f"{_percent(share)} on {name}"] for name, share in sorted(entry.published.items())],
        *[["base", base] for base in kept.bases],
        *[["latency", f"{format_seconds(seconds)} on {device}"] for device, seconds in sorted(latencies.items())],
        ["provenance", dumps(entry.provenance.to_json(), ensure_ascii=False)],
    ]
    print_table(entry.id, [("", "left"), ("", "left")], rows)
    if transfers:
        best = sorted(transfers, key=lambda record: -record.accuracy)[:SHOWN]
        print_table(
            f"fine-tuned {counted(len(transfers), 'time')} on "
            f"{counted(len({record.dataset for record in transfers}), 'other dataset')}"
            + (f"; the best {SHOWN}" if len(transfers) > SHOWN else ""),
            [("dataset", "left"), ("accuracy", "right"), ("epochs", "right")],
            [[record.dataset, _percent(record.accuracy), str(record.epochs)] for record in best],
        )


@app.command("verify")
def verify(
    zoo: options.ZooArgument,
    quick: Annotated[bool, Option("--quick", help="Do not read the weights.")] = False,
    json: options.JsonFlag = False,
) -> None:
    """Check a zoo against its own digests, every byte of it. Exits with 4 if anything is damaged.

    Example: nns zoo verify zoo.h5
    """
    import time
    from functools import partial

    from nns.cli.output import note, print_json, print_table, progress_bar
    from nns.errors import ZooError
    from nns.quantities import format_bytes, format_seconds
    from nns.zoo import Problem, Zoo
    from nns.zoo import verify as find_problems

    started, networks, supernets, size = time.perf_counter(), 0, 0, 0
    problems: tuple[Problem, ...] = ()
    try:
        with Zoo(zoo) as opened, progress_bar() as update:
            size = opened.disk_bytes()
            networks = len(opened)
            update("checking networks", 0, networks)
            problems = find_problems(opened.store, quick, partial(update, "checking networks"), opened.registry)
            supernets = len(opened.store.supernets())
    except ZooError as error:
        problems = problems or (Problem("", str(error)),)
    seconds = time.perf_counter() - started
    if json:
        print_json(
            {"ok": not problems, "networks": networks, "problems": [asdict(problem) for problem in problems]}
            | {"quick": quick, "supernets": supernets, "bytes": size, "seconds": round(seconds, 3)}
        )
    elif problems:
        rows = [[problem.id or "(zoo)", problem.what] for problem in problems]
        print_table(f"{zoo}: {counted(len(problems), 'problem')}", [("where", "left"), ("what", "left")], rows)
    else:
        found = f"{counted(networks, 'network')}, {counted(supernets, 'supernet')}, nothing wrong"
        checked = "descriptions and fingerprints" if quick else f"all {format_bytes(size)}"
        note(f"{zoo}: {found}; checked {checked} in {format_seconds(seconds)}")
    if problems:
        raise typer.Exit(ZooError.exit_code)


app.command("merge")(zoo_writing.merge)
app.command("diff")(zoo_diff.diff)
app.command("rm")(zoo_writing.rm)
app.command("gc")(zoo_writing.gc)
app.command("add")(zoo_adding.add)
app.command("fetch")(zoo_fetching.fetch)
app.command("import-tans")(import_tans.import_tans)
app.command("export")(zoo_writing.export)
