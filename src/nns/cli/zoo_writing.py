"""``nns zoo``: merge, rm, gc, add, export: what writes a zoo, or out of one."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from nns.cli import completion, options
from nns.quantities import counted

if TYPE_CHECKING:
    from nns.networks import Network, Supernet
    from nns.types import Garbage
    from nns.zoo import Zoo

NAMED = 10
"""Networks that are named before they are removed, at most."""


def merge(
    out: Annotated[Path, Argument(metavar="OUT", help="Zoo file to write, or to add to.")],
    zoos: Annotated[list[Path], Argument(metavar="ZOO...", help="Zoos to bring together.")],
    json: options.JsonFlag = False,
) -> None:
    """Bring zoos together in one file; networks that are the same count once.

    Nothing is written if an id stands for different networks in two of them: exit code 4, and all are named.
    OUT may be among the zoos.

    Example: nns zoo merge all.h5 mine.h5 theirs.h5
    """
    from nns.cli.output import note, print_json
    from nns.zoo import MergeConflictError, Zoo, merge_zoos

    try:
        merged = merge_zoos(out, zoos)
    except MergeConflictError as error:
        if json:
            print_json({"zoo": out, "conflicts": [asdict(each) for each in error.conflicts]})
        raise
    with Zoo(out) as opened:
        networks, supernets, digest = len(opened), len(opened.store.supernets()), opened.store.digest()
    added = sum(each.added for each in merged)
    if json:
        keys = ("zoo", "networks", "added", "known")
        sources = [{key: getattr(each, key) for key in keys} for each in merged]
        document = {"zoo": out, "networks": networks, "added": added, "digest": digest}
        print_json(document | {"supernets": supernets, "sources": sources, "conflicts": []})
        return
    for each in merged:
        what = "is the zoo that is written to" if each.same else f"{each.added} new, {each.known} known"
        note(f"{each.zoo}: {counted(each.networks, 'network')}, {what}")
    note(f"{out}: {counted(networks, 'network')}, {added} new; fit a space with `nns space fit {out}`")


def rm(
    zoo: options.ZooArgument,
    networks: Annotated[
        list[str] | None,
        Argument(
            metavar="ID...",
            help="Ids of networks or supernets, or unique beginnings of them.",
            autocompletion=completion.networks_and_supernets,
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        Option(metavar="NAME", help="All that were trained on this dataset.", autocompletion=completion.datasets),
    ] = None,
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask.")] = False,
    json: options.JsonFlag = False,
) -> None:
    """Remove networks and supernets from a zoo, for good. On a terminal it asks first.

    Example: nns zoo rm zoo.h5 3f2a 77b0
    """
    from nns.cli.output import note, print_json
    from nns.errors import EXIT_INTERRUPTED
    from nns.networks import Supernet
    from nns.quantities import format_bytes

    with options.open_zoo(zoo) as opened:
        gone = _named(opened, networks or [], dataset)
        ids = list(gone)
        supernets = [each.id for each in gone.values() if isinstance(each, Supernet)]
        if not yes and sys.stdin.isatty() and sys.stderr.isatty():
            _tell(zoo, gone, opened.weights_bytes(ids).own)
            if not _agreed():
                note("nothing was removed")
                raise typer.Exit(EXIT_INTERRUPTED)
        before = opened.disk_bytes()
        opened.store.remove(ids)
        left, spaces, digest, after = len(opened), opened.spaces(), opened.store.digest(), opened.disk_bytes()
        leftover = opened.garbage()
    if json:
        print_json(
            {"zoo": zoo, "removed": ids, "supernets": supernets, "networks": left, "digest": digest}
            | {"bytes_before": before, "bytes_after": after}
        )
        return
    sizes = f"{format_bytes(before)} before, {format_bytes(after)} now"
    note(
        f"{zoo}: removed {_count(len(ids) - len(supernets), len(supernets))}; {counted(left, 'network')} left; {sizes}"
    )
    if parts := _parts(leftover):
        note(f"left over: {', '.join(parts)}; `nns zoo gc {zoo}` removes that too")
    if spaces:
        note(f"what was fitted before ({', '.join(spaces)}) ranks the others as it did; or run `nns space fit {zoo}`")


def _named(zoo: Zoo, beginnings: Sequence[str], dataset: str | None) -> dict[str, Network | Supernet]:
    """Find what is to be removed, by id.

    Raises:
        UsageError: If nothing is named, or nothing of that name is there.
    """
    from nns.errors import UnknownNameError, UsageError

    if not beginnings and dataset is None:
        raise UsageError("name what to remove: ids, or --dataset NAME")
    found: dict[str, Network | Supernet] = {each.id: each for each in map(zoo.find, beginnings)}
    if dataset is not None:
        everything: list[Network | Supernet] = [*zoo.networks(), *zoo.supernets()]
        known = {each.entry.source_dataset for each in everything}
        if dataset not in known:
            raise UnknownNameError.among("dataset", dataset, known)
        found |= {each.id: each for each in everything if each.entry.source_dataset == dataset}
    return found


def _count(networks: int, supernets: int) -> str:
    parts = [counted(n, what) for n, what in ((networks, "network"), (supernets, "supernet")) if n]
    return " and ".join(parts) or "nothing"


def _tell(zoo: Path, gone: Mapping[str, Network | Supernet], size: int) -> None:
    from nns.cli.output import note
    from nns.networks import Supernet
    from nns.quantities import format_bytes

    supernets = sum(isinstance(each, Supernet) for each in gone.values())
    for each in list(gone.values())[:NAMED]:
        what = f"{'supernet ' * isinstance(each, Supernet)}{each.spec.backend}:{each.spec.name}"
        note(f"  {each.id}  {what}, trained on {each.entry.source_dataset}")
    if len(gone) > NAMED:
        note(f"  and {len(gone) - NAMED} more")
    note(f"{_count(len(gone) - supernets, supernets)} will be removed from {zoo} for good, about {format_bytes(size)}")


def _agreed() -> bool:
    """Ask on stderr, since stdout is for results; no answer is no."""
    print("Remove? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().casefold() in {"y", "yes"}


def gc(
    zoo: options.ZooArgument,
    dry_run: Annotated[bool, Option("--dry-run", help="Only say what would go.")] = False,
    json: options.JsonFlag = False,
) -> None:
    """Remove what no network refers to any more, bring in the journal, and pack all weights anew.

    What goes: supernets without subnets, measured latencies and transfers of networks that are gone, files that
    crashes left. The networks stay the same. While a build runs, supernets stay: it may be about to cut some.

    Example: nns zoo gc zoo.h5
    """
    from nns.building.folder import beside_builds
    from nns.cli.output import note, print_json
    from nns.quantities import format_bytes

    with options.open_zoo(zoo) as opened, beside_builds(opened.path) as building:
        garbage = opened.garbage(building) if dry_run else opened.store.collect_garbage(keep_supernets=building)
        networks, digest = len(opened), opened.store.digest()
    if json:
        found = asdict(garbage) | {"dry_run": dry_run} | ({"bytes_after": None} if dry_run else {})
        print_json({"zoo": zoo, "networks": networks, "digest": digest, **found})
        return
    if building:
        note(f"{zoo} is being built: supernets without subnets stay")
    note(f"{zoo}: {'would remove' if dry_run else 'removed'} {', '.join(_parts(garbage)) or 'nothing'}")
    after = "" if dry_run else f" before, {format_bytes(garbage.bytes_after)} now"
    note(f"{zoo}: {counted(networks, 'network')}; {format_bytes(garbage.bytes_before)}{after}")


def _parts(garbage: Garbage) -> list[str]:
    parts = [f"supernet {name}" for name in garbage.supernets]
    counts = [
        counted(garbage.latencies, "measured latency", "measured latencies"),
        counted(garbage.transfers, "transfer"),
        counted(len(garbage.files), "file that a crash left", "files that crashes left"),
    ]
    return parts + [text for text in counts if not text.startswith("0 ")]


def export(
    zoo: options.ZooArgument,
    network: Annotated[
        str,
        Argument(
            metavar="ID",
            help="A network's id, or a unique beginning of it.",
            autocompletion=completion.networks,
        ),
    ],
    output: Annotated[Path, Option("--output", "-o", metavar="DIR", help="Folder to write.")],
    json: options.JsonFlag = False,
) -> None:
    """Write one network, as it is in the zoo, to a folder: weights as safetensors, a JSON card, class names.

    Example: nns zoo export zoo.h5 3f2a -o ./network
    """
    from nns.cli.output import note, print_json
    from nns.finetuning.finetune_zoo import export_network

    with options.open_zoo(zoo) as opened:
        entry, folder = export_network(opened, network, output)
    if json:
        print_json({"id": entry.id, "output": str(folder)})
    else:
        note(f"wrote {entry.id} to {folder}")
