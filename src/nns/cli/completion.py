"""Completion of values, for bash, zsh and fish: quick, silent, and nothing but plain names from a zoo.

A shell puts what is offered on the command line as it is, and Return may run it: a name with a space, a quote or a
dollar sign in it, as a stranger's zoo may have, is not offered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from nns.stores.hdf5.networks import WeightsTable
    from nns.stores.hdf5.view import View

T = TypeVar("T")

Offer = str | tuple[str, str]
"""A value, or a value and what it is, which zsh and fish show beside it."""

Completer = Callable[[Any, str], list[Offer]]
"""What typer's ``autocompletion`` takes: the context and what is typed so far."""

MOST = 2000
"""Ids that are offered at most: of some only, a shell would complete what all of those begin with."""

DESCRIBED = 30
"""Ids up to which each is described: that parses a description each."""

READ = 32 << 20
"""Bytes of descriptions that are looked through for names: 20,000 networks, 30 ms."""

PLAIN = "[A-Za-z0-9][A-Za-z0-9_.:@+/-]{0,99}"

BACKENDS = Path(__file__).parents[1] / "backends"

OWN = {"method": ("mixed", "tans"), "recipe": ("default", "tans")}
"""What nns itself registers: to ask it takes 0.2 s of imports. A test compares."""


def quietly(complete: Callable[[Any, str], Iterable[T]]) -> Callable[[Any, str], list[T]]:
    """Return a completer that offers nothing where it fails: what it would say is no place for on a command line."""

    def completer(ctx: Any, incomplete: str) -> list[T]:
        with suppress(Exception, SystemExit):
            return list(complete(ctx, incomplete))
        return []

    return completer


def one_of(values: str | Sequence[str]) -> Completer:
    """Offer some values, which may be given as a metavar: ``"auto|cpu|cuda"``."""
    known = values.split("|") if isinstance(values, str) else list(values)
    return lambda ctx, incomplete: [*known]


def named_in_zoo(key: str) -> Completer:
    """Offer what the networks of the zoo have under a key of their descriptions."""
    return quietly(lambda ctx, incomplete: sorted(_names(ctx, key)))


def _names(ctx: Any, key: str) -> set[str]:
    """Find values of a key in the bytes of the descriptions: parsing them takes ten times as long."""
    wanted = re.compile(f'"{key}":"({PLAIN})"'.encode())
    found: set[bytes] = set()
    for view in _views(ctx):
        for table in view.networks.tables:
            found |= set(wanted.findall(_lines(table)))
    return {name.decode() for name in found}


def _lines(table: WeightsTable) -> bytes:
    import numpy as np

    rows = int(np.searchsorted(table.bounds("meta"), READ, side="right")) - 1
    return table.meta(0, min(rows, len(table)))


def _views(ctx: Any) -> Iterator[View]:
    """Open the zoo of this command line, else that of $NNS_ZOO; a plugin's would have to be loaded first."""
    from nns.stores.hdf5.view import Loader

    path = ctx.params.get("zoo") or _argument(ctx, "zoo") or os.environ.get("NNS_ZOO")
    if path:
        yield Loader(Path(path).expanduser()).load()


def _argument(ctx: Any, name: str) -> str | None:
    """Find an argument where the line ends in an option that has no value yet: the parser gives up on them then."""
    names = [each.name for each in ctx.command.params if each.param_type_name == "argument"]
    at = names.index(name) if name in names else len(ctx.args)
    return ctx.args[at] if at < len(ctx.args) else None


def _ids(ctx: Any, incomplete: str, kinds: Sequence[str]) -> Iterator[Offer]:
    import numpy as np

    first, last = (np.array(text.encode("ascii"), "S64") for text in (incomplete, f"{incomplete}\x7f"))
    for view in _views(ctx):
        for kind in kinds:
            joined = getattr(view, kind)
            start, stop = (int(np.searchsorted(joined.keys, edge)) for edge in (first, last))
            if stop - start > MOST:
                return
            for at in range(start, stop):
                name = joined.keys[at].decode("ascii")
                yield (name, _about(*joined.at(at))) if stop - start <= DESCRIBED else name


def _about(table: WeightsTable, row: int) -> str:
    entry = table.entry(row)
    words = [f"{entry.spec.backend}:{entry.spec.name}", entry.source_dataset]
    return " on ".join(word if re.fullmatch(PLAIN, word) else "?" for word in words)


networks: Completer = quietly(lambda ctx, incomplete: _ids(ctx, incomplete, ("networks",)))
"""Offer ids of networks of the zoo."""

networks_and_supernets: Completer = quietly(lambda ctx, incomplete: _ids(ctx, incomplete, ("networks", "supernets")))
"""Offer ids of networks and supernets."""

datasets = named_in_zoo("source_dataset")
"""Offer datasets that networks of the zoo were trained on."""

backends = named_in_zoo("backend")
"""Offer backends of networks of the zoo."""

licenses = named_in_zoo("license")
"""Offer licences of networks of the zoo."""


@quietly
def spaces(ctx: Any, incomplete: str) -> Iterator[Offer]:
    """Offer the fitted spaces of the zoo."""
    for view in _views(ctx):
        yield from sorted(view.spaces)


@quietly
def installed_backends(ctx: Any, incomplete: str) -> list[Offer]:
    """Offer the backends that are installed; of nns's own the names are those of packages, and none is imported."""
    found = {folder.name for folder in BACKENDS.iterdir() if (folder / "__init__.py").is_file()}
    return [*sorted(found | set(_from_outside("backend")))]


@quietly
def zoos(ctx: Any, incomplete: str) -> list[Offer]:
    """Offer the zoos that plugins provide; files are what the shell completes by itself."""
    return [f"plugin:{name}" for name in sorted(_from_outside("zoo"))]


def named(kind: str) -> Completer:
    """Offer what is registered of a kind of :data:`OWN`."""
    return quietly(lambda ctx, incomplete: sorted({*OWN[kind], *_from_outside(kind)}))


def listed(values: str) -> Completer:
    """Offer some values, ``"data,zoo"``, of which several are given with commas between them."""

    def complete(ctx: Any, incomplete: str) -> list[Offer]:
        before, comma, _ = incomplete.rpartition(",")
        return [f"{before}{comma}{each}" for each in values.split(",") if each not in before.split(",")]

    return quietly(complete)


def _from_outside(kind: str) -> list[str]:
    """List what plugins from outside registered: they are imported for it, but nothing of nns's own is."""
    from importlib.metadata import entry_points

    points = [point for point in entry_points(group="nns") if point.dist is not None and point.dist.name != "nns"]
    if not points:
        return []
    from nns.plugins import load_plugins

    return [*load_plugins(points).factories[kind]]
