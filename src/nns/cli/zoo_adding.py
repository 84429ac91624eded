"""``nns zoo add``: networks that were trained elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from typer import Argument, Option

from nns.cli import completion, options
from nns.quantities import counted

if TYPE_CHECKING:
    from nns.building.checkpoints import Measured
    from nns.building.references import Added, Reference
    from nns.types import Limits, NetworkEntry
    from nns.zoo import Zoo

T = TypeVar("T")

ELSEWHERE = "Weights that stay where they are"
SHOWN = 20
"""Failures that are shown at most."""


def add(
    zoo: options.ZooArgument,
    checkpoint: Annotated[
        Path | None, Argument(metavar="CHECKPOINT", help=".safetensors, or a state dict of torch.", show_default=False)
    ] = None,
    backend: Annotated[
        str | None,
        Option(metavar="NAME", help="Backend that builds it.", autocompletion=completion.installed_backends),
    ] = None,
    architecture: Annotated[str | None, Option(metavar="NAME", help="Architecture, as the backend names it.")] = None,
    data: Annotated[str | None, Option(metavar="DATA", help="Dataset it was trained on: DATA, or a name.")] = None,
    image_size: Annotated[int | None, Option(min=1, help="Side of its images in pixels.")] = None,
    license: Annotated[
        str | None, Option(metavar="NAME", help="Licence of the weights (SPDX); with --hub-author only those.")
    ] = None,
    accuracy: Annotated[str | None, Option(metavar="SHARE", help="Published top-1 accuracy, 0 to 1.")] = None,
    mean: Annotated[str | None, Option(metavar="R,G,B", help="Mean of each channel of its images.")] = None,
    std: Annotated[str | None, Option(metavar="R,G,B", help="Deviation of each channel.")] = None,
    classes: Annotated[Path | None, Option(metavar="FILE", help="Names of its classes, one a line.")] = None,
    trust_pickle: Annotated[
        bool, Option("--trust-pickle", help="Unpickle the checkpoint, which can run any code in it.")
    ] = False,
    reference: Annotated[
        bool,
        Option("--reference", help="Only refer to CHECKPOINT, a file beside ZOO or below.", rich_help_panel=ELSEWHERE),
    ] = False,
    hub: Annotated[
        str | None,
        Option("--hub", metavar="REPO[@REVISION]", help="A network of the hub.", rich_help_panel=ELSEWHERE),
    ] = None,
    table: Annotated[
        Path | None,
        Option(metavar="FILE.csv", help="Many: a row each, columns hub or file, …", rich_help_panel=ELSEWHERE),
    ] = None,
    hub_author: Annotated[
        str | None,
        Option(metavar="ORG", help="All image classifiers of an organisation.", rich_help_panel=ELSEWHERE),
    ] = None,
    offered: Annotated[
        str | None,
        Option(
            metavar="BACKEND[:PATTERN]",
            help="What a backend offers trained, by a glob.",
            rich_help_panel=ELSEWHERE,
            autocompletion=completion.installed_backends,
        ),
    ] = None,
    copy: Annotated[
        bool, Option("--copy", help="Store the weights in ZOO, fetched if need be.", rich_help_panel=ELSEWHERE)
    ] = False,
    max_params: options.MaxParams = None,
    max_macs: options.MaxMacs = None,
    max_size: options.MaxSize = None,
    json: options.JsonFlag = False,
) -> None:
    """Add a network trained elsewhere. With the options below its weights stay there, unless --copy is given.

    Of a network on the hub its config.json is fetched and asked what the weights are, but not the weights. A table has
    the columns hub, file, backend, architecture, data, license, accuracy, image_size, mean, std, classes, as far as
    needed. What cannot be added is listed; the others are added.

    Example: nns zoo add zoo.h5 birds.safetensors --backend timm --architecture mobilenetv3_small_100 --data ./birds

    Example: nns zoo add zoo.h5 --hub timm/mobilenetv3_small_100.lamb_in1k

    Example: nns zoo add zoo.h5 --offered 'torchvision:resnet*' --max-params 30M
    """
    from nns.building.references import Reference, read_classes, read_references, references_of, share, three
    from nns.errors import UsageError
    from nns.quantities import limits_of
    from nns.zoo import Zoo

    ways = {"CHECKPOINT": checkpoint, "--hub": hub, "--table": table, "--hub-author": hub_author, "--offered": offered}
    if len(given := [name for name, value in ways.items() if value is not None]) != 1:
        raise UsageError(f"give one of {', '.join(ways)}" + (f", not {' and '.join(given)}" if given else ""))
    named = {"backend": backend, "architecture": architecture, "data": data}
    if checkpoint is not None and (missing := [name for name, value in named.items() if value is None]):
        raise UsageError(f"a checkpoint needs --{missing[0]}")
    if reference and checkpoint is None:
        raise UsageError("--reference is of a CHECKPOINT")
    if reference and copy:
        raise UsageError("give --reference or --copy, not both")
    limits = limits_of(max_params, max_macs, max_size, None, None, license if hub_author or offered else None)
    about = Reference(
        backend=backend, architecture=architecture, data=data, license=license, image_size=image_size,
        accuracy=None if accuracy is None else _read(share, accuracy),
        mean=None if mean is None else _read(three, mean),
        std=None if std is None else _read(three, std),
        classes=None if classes is None else read_classes(classes),
    )  # fmt: skip
    with Zoo(zoo, must_exist=False) as opened:
        if checkpoint is not None:
            _single_checkpoint(opened, checkpoint, about, reference, trust_pickle, json)
        elif hub is not None:
            from dataclasses import replace

            added = _add_many(opened, [replace(about, hub=hub)], limits, copy)
            _say_added(_single(added, hub), bool(added.known), json)
        elif offered is not None:
            _add_offered(opened, offered, about, limits, copy, json)
        else:
            many = read_references(table) if table is not None else references_of(str(hub_author))
            added = _add_many(opened, many, limits, copy)
            _report(added, len(many), json)


def _say_added(entry: NetworkEntry, known: bool, json: bool, measured: Measured | None = None) -> None:
    from dataclasses import asdict

    from nns.cli.output import note, print_json

    if json:
        print_json({**entry.to_dict(), "added": not known, "measured": None if measured is None else asdict(measured)})
        return
    name = f"{entry.id}: {entry.spec.name}, trained on {entry.source_dataset}"
    note(f"already there: {name}" if known else f"added {name}")


def _read(convert: Callable[[str], T], text: str) -> T:
    from nns.errors import UsageError

    try:
        return convert(text)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _single_checkpoint(
    zoo: Zoo, checkpoint: Path, about: Reference, reference: bool, trust_pickle: bool, json: bool
) -> None:
    """Add a file, and say how good it is before it is in the zoo."""
    from nns.building.checkpoints import add_checkpoint
    from nns.cli.output import note

    found: list[Measured] = []

    def say(measured: Measured) -> None:
        found.append(measured)
        if measured.guessing or not json:
            note(_in_options(("warning: " if measured.guessing else "") + measured.sentence()))

    before = set(zoo.store.ids())
    entry = add_checkpoint(
        zoo, checkpoint, str(about.backend), str(about.architecture), about.data,
        image_size=about.image_size, license=about.license, trust_pickle=trust_pickle, reference=reference,
        classes=about.classes, accuracy=about.accuracy, mean=about.mean, std=about.std, on_measured=say,
    )  # fmt: skip
    _say_added(entry, entry.id in before, json, found[0] if found else None)
    if found and found[0].guessing and not json:
        note(f"to take it out again: nns zoo rm {zoo.path} {entry.id}")


def _in_options(text: str) -> str:
    for name in ("mean", "std", "image_size"):
        text = text.replace(f"`{name}`", f"--{name.replace('_', '-')}")
    return text.replace("the order of classes", "the order of classes (--classes)")


def _add_many(zoo: Zoo, references: Sequence[Reference], limits: Limits, copy: bool) -> Added:
    from nns.building.references import add_references
    from nns.cli.output import note, progress_bar

    with progress_bar() as update:
        return add_references(zoo, references, limits, partial(update, "adding networks"), copy=copy, tell=note)


def _add_offered(zoo: Zoo, offered: str, about: Reference, limits: Limits, copy: bool, json: bool) -> None:
    """Add what a backend offers; what it says of its networks holds."""
    from nns.building.offers import add_offers, find_offers
    from nns.cli.output import note, progress_bar
    from nns.errors import UsageError

    for name in ("backend", "architecture", "data", "accuracy", "mean", "std", "classes"):
        if getattr(about, name) is not None:
            raise UsageError(f"--{name} is not for --offered: the backend says it")
    name, _, pattern = offered.partition(":")
    offers = find_offers(zoo.registry.backend(name), pattern or "*")
    with progress_bar() as update:
        report = partial(update, "adding networks")
        added = add_offers(zoo, offers, limits, about.image_size, copy=copy, progress=report, tell=note)
    _report(added, len(offers), json)


def _single(added: Added, name: str) -> NetworkEntry:
    from nns.errors import NoNetworkError

    for error in added.failures.values():
        raise error
    if added.beyond:
        raise NoNetworkError(f"{name} is beyond the limits")
    return added.entries[0]


def _report(added: Added, asked: int, json: bool) -> None:
    """Print what became of many; if none could be added, end with the code of the first failure."""
    from dataclasses import asdict

    from nns.cli.output import note, print_json

    failures = [{"name": name, "what": str(error)} for name, error in added.failures.items()]
    if json:
        entries = [entry.to_dict() | {"added": entry.id not in added.known} for entry in added.entries]
        measured = {name: asdict(found) for name, found in added.measured.items()}
        document = {"asked": asked, "networks": entries, "beyond": list(added.beyond), "failures": failures}
        print_json(document | {"measured": measured})
    else:
        for name, found in added.measured.items():
            note(_in_options(("warning: " if found.guessing else "") + f"{name}: {found.sentence()}"))
        for failure in failures[:SHOWN]:
            note(f"not added: {failure['name']}: {failure['what']}")
        if len(failures) > SHOWN:
            note(f"not added: {len(failures) - SHOWN} more")
        beyond = f", {len(added.beyond)} beyond the limits" if added.beyond else ""
        known = f", {len(added.known)} already there" if added.known else ""
        new = len(added.entries) - len(added.known)
        note(f"added {new} of {counted(asked, 'network')}{known}{beyond}, {len(failures)} failed")
    if failures and not added.entries:
        raise typer.Exit(next(iter(added.failures.values())).exit_code)
