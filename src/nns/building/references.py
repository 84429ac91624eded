"""Adding networks whose weights stay where they are: on a hub, or in files beside the zoo; one or many at once."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import setitem
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.backends import Published, spdx
from nns.building.checkpoints import NO_LICENSE, Measured, add_checkpoint, find_spec
from nns.building.copying import with_weights
from nns.data import Dataset
from nns.data.formats import can_open
from nns.documents import columns_twice, decode_text, open_csv
from nns.errors import NnsError, UsageError, WeightsError
from nns.networks import hub
from nns.networks.listing import cost_without_weights
from nns.networks.origins import with_origin
from nns.places import HubWeights
from nns.types import NetworkEntry, NetworkRecord, Provenance
from nns.untrusted import TABLE, TEXT, read_file
from nns.zoo import network_id

if TYPE_CHECKING:
    from nns.types import Limits, PartProgress
    from nns.zoo import Zoo


@dataclass(frozen=True)
class Reference:
    """A network to be referred to; what is None is taken from where it is published.

    Attributes:
        hub: ``ORG/NAME`` or ``ORG/NAME@REVISION``; None for a file.
        file: A file in the folder of the zoo, or below it.
        backend: The backend that builds it.
        architecture: What the backend calls it.
        data: What it was trained on.
        license: SPDX name of the licence of the weights.
        accuracy: Published top-1 accuracy on that, 0..1.
        image_size: Side of its images.
        mean: Mean of each channel.
        std: Deviation of each channel.
        classes: Names of its classes.
    """

    hub: str | None = None
    file: Path | None = None
    backend: str | None = None
    architecture: str | None = None
    data: str | None = None
    license: str | None = None
    accuracy: float | None = None
    image_size: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    classes: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.hub or str(self.file)


@dataclass(frozen=True)
class Added:
    """What became of many references.

    Attributes:
        entries: The networks that are in the zoo now, those that were there before included.
        beyond: Networks that are beyond the limits, by name.
        failures: Name and reason of what could not be added.
        known: Ids of those that were there before.
        measured: How good files are on their data, by name.
    """

    entries: tuple[NetworkEntry, ...]
    beyond: tuple[str, ...] = ()
    failures: Mapping[str, NnsError] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    measured: Mapping[str, Measured] = field(default_factory=dict)


def add_references(
    zoo: Zoo,
    references: Sequence[Reference],
    limits: Limits | None = None,
    progress: PartProgress | None = None,
    *,
    copy: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Added:
    """Add many networks, in one process and, those of hubs, in one step; what fails is left out and told.

    Args:
        zoo: The zoo, which is written to.
        references: The networks.
        limits: Networks of hubs beyond them, each with its own head, are left out.
        progress: Called with networks done and networks in all.
        copy: Store the weights in the zoo, which fetches those of hubs; else they stay where they are.
        tell: Called with host, size and licence of what is fetched.
    """
    entries: dict[str, NetworkEntry] = {}
    records: dict[str, NetworkRecord] = {}
    failures: dict[str, NnsError] = {}
    beyond: list[str] = []
    measured: dict[str, Measured] = {}
    datasets: dict[str, Any] = {}
    before = set(zoo.store.ids())
    for done, reference in enumerate(references):
        if progress:
            progress(done, len(references))
        try:
            if reference.hub is None:
                entry = _add_file(zoo, reference, datasets, partial(setitem, measured, reference.name), copy)
            else:
                record = describe_reference(zoo, reference)
                entry = record.entry
                if limits is not None and not within(entry, limits):
                    beyond.append(reference.name)
                    continue
                if entry.id not in before | set(records):
                    records[entry.id] = with_weights(zoo, record, tell) if copy else record
            entries[entry.id] = entry
        except NnsError as error:
            failures[reference.name] = error
    known = set(zoo.store.ids())
    zoo.store.add_all(record for id, record in records.items() if id not in known)
    found = tuple(zoo.network(id).entry for id in entries)
    return Added(found, tuple(beyond), failures, frozenset(before & set(entries)), measured)


def _add_file(
    zoo: Zoo, reference: Reference, datasets: dict[str, Any], on_measured: Callable[[Measured], None], copy: bool
) -> NetworkEntry:
    """Add a file; of the data of many files each is opened once."""
    if reference.file is None or reference.backend is None or reference.architecture is None or reference.data is None:
        raise UsageError("a file needs its `backend`, `architecture` and `data`")
    data = reference.data
    if data not in datasets:
        is_there = can_open(data, zoo.registry) or Path(data).expanduser().exists()
        datasets[data] = Dataset.of(data, registry=zoo.registry) if is_there else data
    return add_checkpoint(
        zoo, reference.file, reference.backend, reference.architecture, datasets[data],
        image_size=reference.image_size, license=reference.license, reference=not copy, classes=reference.classes,
        accuracy=reference.accuracy, mean=reference.mean, std=reference.std, on_measured=on_measured,
    )  # fmt: skip


def describe_reference(zoo: Zoo, reference: Reference) -> NetworkRecord:
    """Describe a network of a hub by what the hub says of it; its weights are not fetched.

    Raises:
        UsageError: If it is not said which network it is, or what is said makes no sense.
        WeightsError: If the hub cannot be asked, or has no such repository.
    """
    repo, _, revision = str(reference.hub).partition("@")
    try:
        HubWeights(repo, hub.FILES[0], revision or None)
    except ValueError as error:
        raise UsageError(str(error)) from error
    weights = hub.describe(repo, revision or None)
    found = _published(zoo, reference, repo, weights.revision)
    license = reference.license or found.license or spdx(hub.license_of(repo, weights.revision)) or NO_LICENSE
    preprocessing = replace(
        found.preprocessing,
        size=reference.image_size or found.preprocessing.size,
        mean=reference.mean or found.preprocessing.mean,
        std=reference.std or found.preprocessing.std,
    )
    dataset = reference.data or found.dataset or repo
    made_of = {"recipe": "hub", "repo": repo, "revision": weights.revision, "image_size": preprocessing.size}
    accuracy = reference.accuracy
    entry = NetworkEntry(
        id=network_id(found.spec, dataset, 0, made_of),
        spec=found.spec,
        cost=cost_without_weights(zoo.registry.backend(found.spec.backend), found.spec, preprocessing, found.classes),
        preprocessing=preprocessing,
        classes=found.classes,
        source_dataset=dataset,
        source_digest="",
        accuracy=float("nan") if accuracy is None else accuracy,
        license=license,
        provenance=with_origin(Provenance.of(made_of), found.spec.backend),
        weights=weights,
        published={"imagenet": accuracy} if accuracy is not None and dataset == "imagenet-1k" else {},
    )
    return NetworkRecord(entry, None, b"")


def _published(zoo: Zoo, reference: Reference, repo: str, revision: str | None) -> Published:
    """Find out which network a repository holds: what is asked for goes first, then its ``config.json``."""
    config = hub.read_config(repo, revision)
    if reference.backend and reference.architecture:
        backend = zoo.registry.backend(reference.backend)
        spec = replace(find_spec(backend, reference.architecture, zoo), source="hub")
        found = backend.read_config(config) if reference.classes is None else None
        classes = reference.classes or (found.classes if found else ())
        return Published(spec, backend.preprocessing(spec, reference.image_size), classes, "", "")
    names = [reference.backend] if reference.backend else zoo.registry.names("backend")
    for name in names:
        if found := zoo.registry.backend(name).read_config(config):
            return found if reference.classes is None else replace(found, classes=reference.classes)
    raise UsageError(
        f"the config.json of {repo} names no network of {', '.join(names)}: give `backend` and `architecture`, "
        "and `classes` for the names of its classes"
    )


def references_of(author: str) -> list[Reference]:
    """List the image classifiers that an organisation has on the hub.

    Raises:
        UsageError: If that is no name of one.
        WeightsError: If the hub cannot be asked, or knows of none.
    """
    try:
        HubWeights(f"{author}/name", hub.FILES[0])
    except ValueError as error:
        raise UsageError(f"{author!r:.80} is not the name of an organisation") from error
    found = hub.repositories_of(author)
    if not found:
        raise WeightsError(f"{hub.endpoint()} lists no image classifiers of timm by {author}")
    return [Reference(hub=repo) for repo in found]


def read_references(path: Path) -> list[Reference]:
    """Read a table of networks: columns as the fields of :class:`Reference`, and no others.

    ``file`` and ``classes`` are paths from the folder of the table; ``mean`` and ``std`` are three numbers with spaces
    between.

    Raises:
        UsageError: If it cannot be read, or a row makes no sense.
    """
    try:
        stream, delimiter, _ = open_csv(decode_text(read_file(path, TABLE)))
        reader = csv.DictReader(stream, delimiter=delimiter)
        if twice := columns_twice(reader.fieldnames or (), Reference.__dataclass_fields__):
            raise UsageError(f"{path} has the column {twice[0]!r} twice ({', '.join(twice[1])}); rename one")
        rows = list(reader)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no CSV file: {error}") from error
    if not rows:
        raise UsageError(f"{path} has no rows")
    return [_reference(row, path, number) for number, row in enumerate(rows, start=2)]


def _reference(row: Mapping[Any, Any], path: Path, line: int) -> Reference:
    given = {name: str(value).strip() for name, value in row.items() if value and name is not None}
    known = Reference.__dataclass_fields__
    if unknown := sorted(set(map(str, row)) - set(known)):
        raise UsageError(f"{path} has a column {unknown[0]!r}; there are {', '.join(known)}")
    if ("hub" in given) == ("file" in given):
        raise UsageError(f"{path}, line {line}: either `hub` or `file`")
    found: dict[str, Any] = dict(given)
    try:
        for name, convert in _CONVERT.items():
            if name in given:
                found[name] = convert(given[name])
    except ValueError as error:
        raise UsageError(f"{path}, line {line}: {error}") from error
    if "file" in given:
        found["file"] = path.parent / given["file"]
    if "classes" in given:
        found["classes"] = read_classes(path.parent / given["classes"])
    return Reference(**found)


def share(text: str) -> float:
    """Read an accuracy, 0..1.

    Raises:
        ValueError: If it is none.
    """
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"an accuracy of {text}: it is a share, 0 to 1")
    return value


def three(text: str) -> tuple[float, float, float]:
    """Read one number for each channel, with spaces or commas between.

    Raises:
        ValueError: If they are not three.
    """
    values = [float(part) for part in text.replace(",", " ").split()]
    if len(values) != 3 or not all(-1e6 < value < 1e6 for value in values):
        raise ValueError(f"{text!r:.60} is not three numbers")
    return values[0], values[1], values[2]


def _side(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"an image_size of {text!r:.60}: it is a number of pixels, 1 or more")
    return int(text)


def _spread(text: str) -> tuple[float, float, float]:
    values = three(text)
    if min(values) <= 0:
        raise ValueError(f"a std of {text!r:.60}: images are divided by it, so it is more than 0")
    return values


_CONVERT: dict[str, Callable[[str], Any]] = {"accuracy": share, "image_size": _side, "mean": three, "std": _spread}


def read_classes(path: Path) -> tuple[str, ...]:
    """Read names of classes, one a line.

    Raises:
        UsageError: If the file cannot be read, or has no names.
    """
    try:
        text = decode_text(read_file(path, TEXT))
        names = tuple(line.strip() for line in text.splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}, which is to name classes, cannot be read: {error}") from error
    if not names:
        raise UsageError(f"{path} names no classes")
    return names


def pinned(zoo: Zoo, ids: Iterable[str]) -> int:
    """Write into a zoo what is known of the files of networks that are on this disk, and their fingerprints.

    Returns:
        How many networks changed.

    Raises:
        WeightsError: If one cannot be loaded.
    """
    from nns.networks import fingerprint_network

    records = []
    for id in ids:
        network = zoo.network(id)
        fingerprint = network.fingerprint
        if fingerprint is None:
            entry = network.entry
            module = network.load()
            fingerprint = fingerprint_network(network.backend, entry.spec, module, entry.preprocessing, entry.cost)
        entry = replace(network.entry, weights=network.known_weights())
        if entry != network.entry or network.fingerprint is None:
            records.append(NetworkRecord(entry, fingerprint, zoo.store.weights(id)))
    zoo.store.replace_networks(records)
    return len(records)


def within(entry: NetworkEntry, limits: Limits) -> bool:
    """Return whether a network, counted with its own head, is within limits of sizes and licence."""
    classes = len(entry.classes)
    counts = (
        (entry.cost.params(classes), limits.max_params),
        (entry.cost.macs(classes), limits.max_macs),
        (entry.cost.bytes(classes), limits.max_size),
    )
    allowed = limits.license is None or entry.license.casefold() == limits.license.casefold()
    return allowed and all(limit is None or count <= limit for count, limit in counts)
