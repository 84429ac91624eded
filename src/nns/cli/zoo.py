"""``nns zoo``: ls, info, show, verify, merge, add, export."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nns.cli import build, options

if TYPE_CHECKING:
    from nns.types import NetworkEntry

app = typer.Typer(help="Zoos: networks in one file.", no_args_is_help=True)
app.command("build")(build.build)


@app.command("ls")
def ls(
    zoo: options.ZooArgument,
    max_params: options.MaxParams = None,
    max_macs: options.MaxMacs = None,
    max_size: options.MaxSize = None,
    backend: options.BackendLimit = None,
    license: options.LicenseLimit = None,
    sort: Annotated[str, typer.Option("--sort", metavar="params|macs|accuracy|dataset|id", help="Order.")] = "dataset",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Rows at most.")] = None,
    json: options.JsonFlag = False,
) -> None:
    """List the networks of a zoo, each counted with its own head.

    Example: nns zoo ls zoo.h5 --max-params 1M --sort accuracy
    """
    from nns.cli.output import print_json, print_table
    from nns.retrieval.listing import list_networks

    limits = options.limits_of(max_params, max_macs, max_size, None, backend, license)
    with options.open_zoo(zoo) as opened:
        entries = list_networks(opened, limits, sort)
    shown = entries[:limit]
    if json:
        print_json({"networks": [entry_document(entry) for entry in shown], "total": len(entries)})
        return
    from nns.quantities import format_count

    columns = [("network", "left"), ("architecture", "left"), ("trained on", "left"), ("classes", "right")]
    columns += [("accuracy", "right"), ("params", "right"), ("MACs", "right"), ("license", "left")]
    rows = []
    for entry in shown:
        classes = len(entry.classes)
        architecture, accuracy = f"{entry.spec.backend}:{entry.spec.name}", "-"
        if not math.isnan(entry.accuracy):
            accuracy = f"{entry.accuracy:.1%}"
        params, macs = format_count(entry.cost.params(classes)), format_count(entry.cost.macs(classes))
        rows.append([entry.id, architecture, entry.source_dataset, str(classes), accuracy, params, macs, entry.license])
    print_table(f"{zoo}: {len(entries)} networks", columns, rows)


def entry_document(entry: NetworkEntry) -> dict[str, Any]:
    """Give a network as JSON."""
    classes = len(entry.classes)
    return {
        "id": entry.id,
        "backend": entry.spec.backend,
        "architecture": entry.spec.name,
        "config": dict(entry.spec.config),
        "weights_from": entry.spec.source,
        "source_dataset": entry.source_dataset,
        "classes": classes,
        "accuracy": entry.accuracy,
        "params": entry.cost.params(classes),
        "macs": entry.cost.macs(classes),
        "bytes": entry.cost.bytes(classes),
        "feature_dim": entry.cost.feature_dim,
        "image_size": entry.preprocessing.size,
        "license": entry.license,
        "provenance": dict(entry.provenance),
    }


@app.command("info")
def info(zoo: options.ZooArgument, json: options.JsonFlag = False) -> None:
    """Count what is in a zoo, and give its content digest.

    Example: nns zoo info zoo.h5
    """
    from nns.cli.output import print_json, print_table
    from nns.quantities import format_bytes

    with options.open_zoo(zoo) as opened:
        found = opened.info()
    if json:
        print_json(
            {
                "path": str(found.path),
                "format_version": found.format_version,
                "digest": found.digest,
                "networks": found.networks,
                "by_backend": dict(found.by_backend),
                "by_dataset": dict(found.by_dataset),
                "datasets": list(found.datasets),
                "spaces": list(found.spaces),
                "devices": list(found.devices),
                "bytes": dict(found.bytes),
            }
        )
        return
    rows = [
        ["digest", found.digest],
        ["format version", str(found.format_version)],
        ["networks", f"{found.networks} ({', '.join(f'{k} {v}' for k, v in found.by_backend.items())})"],
        ["datasets", str(len(found.datasets))],
        ["spaces", ", ".join(found.spaces) or f"none; run `nns space fit {zoo}`"],
        ["latency measured on", ", ".join(found.devices) or "no device"],
        ["bytes", ", ".join(f"{kind} {format_bytes(size)}" for kind, size in found.bytes.items())],
    ]
    print_table(str(zoo), [("", "left"), ("", "left")], rows)


@app.command("show")
def show(
    zoo: options.ZooArgument,
    network: Annotated[str, typer.Argument(metavar="ID", help="A network's id, or a unique beginning of it.")],
    json: options.JsonFlag = False,
) -> None:
    """Show one network: numbers, provenance, classes.

    Example: nns zoo show zoo.h5 3f2a
    """
    from nns.cli.output import print_json, print_table

    with options.open_zoo(zoo) as opened:
        entry = opened.entry(network)
    document = entry_document(entry) | {"class_names": list(entry.classes)}
    if json:
        print_json(document)
        return
    document["class_names"] = ", ".join(entry.classes[:20]) + (", …" if len(entry.classes) > 20 else "")
    rows = [[key.replace("_", " "), _cell(value)] for key, value in document.items()]
    print_table(entry.id, [("", "left"), ("", "left")], rows)


def _cell(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@app.command("verify")
def verify(
    zoo: options.ZooArgument,
    quick: Annotated[bool, typer.Option("--quick", help="Do not read the weights.")] = False,
    json: options.JsonFlag = False,
) -> None:
    """Check a zoo against its own digests. Exits with 4 if anything is damaged.

    Example: nns zoo verify zoo.h5
    """
    from nns.cli.output import note, print_json, print_table
    from nns.errors import ZooError
    from nns.zoo import Problem, Zoo
    from nns.zoo import verify as find_problems

    networks = 0
    try:
        with Zoo.open(zoo) as opened:
            networks = len(opened)
            problems = find_problems(opened.store, quick=quick)
    except ZooError as error:
        problems = (Problem("", str(error)),)
    if json:
        print_json(
            {
                "ok": not problems,
                "networks": networks,
                "problems": [{"id": problem.id, "what": problem.what} for problem in problems],
            }
        )
    elif problems:
        rows = [[problem.id or "(zoo)", problem.what] for problem in problems]
        print_table(f"{zoo}: {len(problems)} problems", [("network", "left"), ("what", "left")], rows)
    else:
        note(f"{zoo}: {networks} networks, nothing wrong")
    if problems:
        raise typer.Exit(ZooError.exit_code)


@app.command("merge")
def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Zoo file to write, or to add to.")],
    zoos: Annotated[list[Path], typer.Argument(metavar="ZOO...", help="Zoos to bring together.")],
    json: options.JsonFlag = False,
) -> None:
    """Bring zoos together in one file; networks that are the same count once.

    Example: nns zoo merge all.h5 mine.h5 theirs.h5
    """
    from nns.cli.output import note, print_json, progress_bar
    from nns.zoo import Zoo

    sources = [options.open_zoo(path) for path in zoos]
    with Zoo.open(out, must_exist=False) as target, progress_bar() as update:
        added = 0
        for number, source in enumerate(sources, 1):
            added += target.merge_from(source.store)
            update("zoos", number, len(sources))
        target.store.merge()
        networks, digest = len(target), target.digest()
    if json:
        print_json({"zoo": str(out), "networks": networks, "added": added, "digest": digest})
    else:
        note(f"{out}: {networks} networks, {added} new; fit a space with `nns space fit {out}`")


@app.command("add")
def add(
    zoo: options.ZooArgument,
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help=".safetensors, or a state dict of torch.")],
    backend: Annotated[str, typer.Option("--backend", metavar="NAME", help="Backend that builds it.")],
    architecture: Annotated[
        str, typer.Option("--architecture", metavar="NAME", help="Architecture, as the backend names it.")
    ],
    data: Annotated[str, typer.Option("--data", metavar="DATA", help="Dataset it was trained on: DATA, or a name.")],
    image_size: Annotated[int | None, typer.Option("--image-size", help="Side of its images in pixels.")] = None,
    license: Annotated[
        str | None, typer.Option("--license", metavar="NAME", help="Licence of the weights (SPDX).")
    ] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Unpickle the checkpoint, which can run any code in it.")
    ] = False,
    json: options.JsonFlag = False,
) -> None:
    """Add a network that was trained elsewhere.

    Example: nns zoo add zoo.h5 birds.safetensors --backend timm --architecture mobilenetv3_small_100 --data ./birds
    """
    from nns.cli.output import note, print_json
    from nns.pipeline.checkpoints import add_checkpoint
    from nns.zoo import Zoo

    with Zoo.open(zoo, must_exist=False) as opened:
        entry = add_checkpoint(
            opened, checkpoint, backend, architecture, data, options.load_registry(),
            image_size=image_size, license=license, trust_pickle=trust_pickle,
        )  # fmt: skip
    if json:
        print_json(entry_document(entry))
    else:
        note(f"added {entry.id}: {entry.spec.name}, trained on {entry.source_dataset}")


@app.command("export")
def export(
    zoo: options.ZooArgument,
    network: Annotated[str, typer.Argument(metavar="ID", help="A network's id, or a unique beginning of it.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")],
    json: options.JsonFlag = False,
) -> None:
    """Write one network, as it is in the zoo, to a folder: weights as safetensors, a JSON card, class names.

    Example: nns zoo export zoo.h5 3f2a -o ./network
    """
    from nns.cli.output import note, print_json
    from nns.pipeline.finetune import export_network

    with options.open_zoo(zoo) as opened:
        entry, folder = export_network(opened, network, output, options.load_registry())
    if json:
        print_json({"id": entry.id, "output": str(folder)})
    else:
        note(f"wrote {entry.id} to {folder}")
