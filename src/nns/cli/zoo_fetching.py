"""``nns zoo fetch``: weights that are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from nns.cli import completion, options
from nns.quantities import counted

if TYPE_CHECKING:
    from nns.networks import Network


def fetch(
    zoo: options.ZooArgument,
    networks: Annotated[
        list[str] | None,
        Argument(
            metavar="ID...",
            help="Ids, or unique beginnings of them; none: all.",
            show_default=False,
            autocompletion=completion.networks,
        ),
    ] = None,
    pin: Annotated[
        bool, Option("--pin", help="Write into the zoo what was found: revision, digest, and a fingerprint.")
    ] = False,
    max_params: options.MaxParams = None,
    max_macs: options.MaxMacs = None,
    max_size: options.MaxSize = None,
    backend: options.BackendLimit = None,
    license: options.LicenseLimit = None,
    offline: options.Offline = False,
    json: options.JsonFlag = False,
) -> None:
    """Bring weights that are elsewhere onto this disk. Exits with 7 if some cannot be had; the others are kept.

    Example: nns zoo fetch zoo.h5 3f2a 77b0
    """
    from nns.building.references import pinned
    from nns.cli.output import note, print_json, progress_bar
    from nns.errors import WeightsError
    from nns.networks import bring_weights
    from nns.quantities import limits_of
    from nns.searching.listing import list_networks

    limits = limits_of(max_params, max_macs, max_size, None, backend, license)
    with options.open_zoo(zoo) as opened:
        opened.offline = offline
        within = {entry.id for entry in list_networks(opened, limits)}
        ids = [opened.resolve(each) for each in networks] if networks else opened.store.ids()
        chosen = [opened.network(each) for each in dict.fromkeys(ids) if each in within]
        chosen = [each for each in chosen if each.place.where != "zoo"]
        missing = [each for each in chosen if not each.on_disk]
        _announce(chosen, missing)
        with progress_bar() as update:
            failures = bring_weights(missing, update, note)
        for each in missing:  # nobody to ask for them: a package that is not installed, a file that is gone
            if each.id not in failures and not each.on_disk:
                failures[each.id] = WeightsError(f"{each.place.where} is not here, and nobody can be asked for it")
        here = [each.id for each in chosen if each.id not in failures]
        changed = pinned(opened, here) if pin else 0
    if json:
        rows = [{"id": network, "what": str(error)} for network, error in failures.items()]
        print_json({"fetched": len(missing) - len(rows), "on_disk": len(here), "pinned": changed, "failures": rows})
    else:
        for network, error in failures.items():
            note(f"{network}: {error}")
        note(f"fetched {counted(len(missing) - len(failures), 'network')}" + f", pinned {changed}" * pin)
    if failures:
        raise typer.Exit(WeightsError.exit_code)


def _announce(chosen: Sequence[Network], missing: Sequence[Network]) -> None:
    from nns.cli.output import note
    from nns.quantities import format_bytes

    sizes = [each.place.bytes for each in missing]
    known, unknown = sum(size for size in sizes if size is not None), sizes.count(None)
    unsaid = f", and {unknown} of unknown size" if unknown else ""
    note(
        f"{counted(len(chosen), 'network')} with weights outside of the zoo, {len(missing)} of them not on this disk"
        + (f": {format_bytes(known)}{unsaid} to fetch" if missing else "")
    )
