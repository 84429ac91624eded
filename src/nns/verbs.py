"""The verbs as a notebook calls them: a zoo by its path or none at all, limits as ``"5M"``, everything checked at once.

Each opens what it is given, then makes one call; the command line goes through here too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nns.errors import NnsError, UsageError, ZooError
from nns.files import real_path
from nns.quantities import Quantity, duration_of, limits_of
from nns.threads import threads_wanted
from nns.zoo import Zoo, default_zoo_path

if TYPE_CHECKING:
    from nns.building import BuildEvent, BuildReport, BuildSettings
    from nns.data import Dataset, Seen
    from nns.finetuning import LadderEvent, Recipe
    from nns.finetuning.report import FinetuneReport
    from nns.finetuning.saved_search import SavedSearch
    from nns.history import FineTuning
    from nns.searching import SearchResult


ZooLike = Zoo | str | os.PathLike[str]
Progress = Callable[[str, int, int], None]
"""``progress(what, done, total)``."""

EPOCHS_WITHIN_BUDGET = 50
"""Epochs at most where only a budget of time is given."""


def open_zoo(zoo: ZooLike | None = None) -> Zoo:
    """Open a zoo: the one given, else that of $NNS_ZOO, else the one that an installed plugin provides.

    Where there is none of these, it is one of the networks whose weights are installed with their packages.

    Raises:
        MissingZooError: If there is none, and no such network.
        ZooError: If the file is no zoo.
    """
    if isinstance(zoo, Zoo):
        return zoo
    path = zoo if zoo is not None else default_zoo_path()
    if path is not None:
        return Zoo(path)
    from nns.plugins import installed_plugins

    registry = installed_plugins()
    if registry.names("zoo"):
        return Zoo(registry.default_zoo(), registry=registry)
    from nns.building.installed import installed_zoo

    return Zoo(installed_zoo(registry), registry=registry)


def latency_device(device: str, limit: float | None) -> str:
    """Resolve a device; only a latency limit needs to know it, and finding out costs an import."""
    if device == "cpu" or (limit is None and device in {"auto", "cuda"}):
        return "cpu"
    from nns.finetuning import resolve_device

    return resolve_device(device)


def search(
    data: Any,
    zoo: ZooLike | None = None,
    *,
    max_params: Quantity = None,
    max_macs: Quantity = None,
    max_size: Quantity = None,
    max_latency: Quantity = None,
    backend: str | None = None,
    license: str | None = None,
    top: int = 10,
    classes: int | None = None,
    space: str | None = None,
    probe: str | bool = False,
    probe_seconds: float = 10.0,
    images: int = 200,
    tries: int = 3,
    device: str = "auto",
    seed: int = 0,
    offline: bool = False,
    history: bool = True,
    server: str | None = None,
    send: str = "features",
    token_file: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
    on_data: Callable[[Seen], None] | None = None,
) -> SearchResult:
    """Rank the networks of a zoo that meet the limits, for a dataset.

    A limit counts each network with the head that the data needs::

        nns.search("./mydata", zoo="team.h5", max_params="5M").best.load(classes=8)

    Args:
        data: Folder of class folders, flat folder, table, or ``torchvision:NAME``.
        zoo: A zoo or its path; None: that of $NNS_ZOO, else the one that an installed plugin provides.
        max_params: Parameters, as a number or like ``"5M"``.
        max_macs: Multiply-accumulates of one image, as a number or like ``"300M"``.
        max_size: Bytes of the fp32 weights, as a number or like ``"20MB"``.
        max_latency: One image on this machine, as seconds or like ``"10ms"``.
        backend: Only networks of this backend.
        license: Only networks under this licence.
        top: Candidates to give.
        classes: Classes of the head that limits count, where the data does not say.
        space: Name of the fitted space; None: the default method's.
        probe: Name of a probe, e.g. ``"ridge"``, to re-rank the best twenty by, on the images; True: ``"ridge"``.
        probe_seconds: Time for that at most.
        images: Images to look at, at most.
        tries: Networks to choose for being fine-tuned together.
        device: Where latencies count: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        seed: Of the sample of images.
        offline: Rank only networks whose weights are on this disk, and fetch nothing for a probe.
        history: Whether your own fine-tunings count, see docs/history.md.
        server: Address of a server of ``nns serve``, whose zoo is searched in place of one that is here.
        send: What goes there: ``"features"`` of images, or small copies of the ``"images"``.
        token_file: File with the token that the server wants; None: $NNS_TOKEN.
        progress: Called as things go on.
        tell: Called before weights are fetched for a probe, with what and from where; None: that goes into the log.
        on_data: Called with what is seen in the data; None: that goes into the log.

    Raises:
        ServerError: If a server gives no answer.
        DatasetError: If the data cannot be read.
        WeightsError: If none is on this disk, and nothing may be fetched.
        NoNetworkError: If no network meets the limits.
        UsageError: If an argument is wrong, or the zoo has no fitted space.
    """
    from nns.searching.ranking import search as rank

    limits = limits_of(max_params, max_macs, max_size, max_latency, backend, license)
    if server is not None:
        here = {"zoo": zoo, "space": space, "probe": probe, "max_latency": max_latency}
        if given := [name for name, value in here.items() if value]:
            raise UsageError(f"`{given[0]}` is for a zoo that is here, and `server` for one that is not; leave one out")
        from nns.serving.client import Server
        from nns.serving.remote import search_server
        from nns.serving.settings import read_token

        return search_server(
            data, Server(server, read_token(None if token_file is None else Path(token_file))), limits,
            send=send, top=top, classes=classes, images=images, tries=tries, seed=seed, offline=offline,
            progress=progress, tell=tell, on_data=on_data,
        )  # fmt: skip
    opened = open_zoo(zoo)
    opened.offline |= offline
    return rank(
        data, opened, limits,
        top=top, classes=classes, space=space, device=latency_device(device, limits.max_latency), seed=seed,
        images=images, probe="ridge" if probe is True else probe or None, probe_seconds=probe_seconds,
        tries=tries, offline=offline, history=own_fine_tunings() if history else (), progress=progress, tell=tell,
        on_data=on_data,
    )  # fmt: skip


def own_fine_tunings() -> tuple[FineTuning, ...]:
    """Read the user's history; empty if it is off, or cannot be read: a search does without."""
    from nns.history import own_history

    kept = own_history()
    try:
        return () if kept is None else kept.read()
    except ZooError:
        return ()


def finetune(
    data: Any,
    zoo: ZooLike | None = None,
    networks: SearchResult | SavedSearch | Sequence[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    max_params: Quantity = None,
    max_macs: Quantity = None,
    max_size: Quantity = None,
    max_latency: Quantity = None,
    backend: str | None = None,
    license: str | None = None,
    budget: Quantity = None,
    epochs: int | None = None,
    tries: int = 1,
    recipe: Recipe | str = "default",
    image_size: int | None = None,
    device: str = "auto",
    seed: int = 0,
    offline: bool = False,
    history: bool = True,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
    on_data: Callable[[Seen], None] | None = None,
    on_chosen: Callable[[Sequence[str]], None] | None = None,
    on_event: Callable[[LadderEvent, int], None] | None = None,
    log_to: str | None = None,
    since: float | None = None,
    distill: bool | str = False,
    unlabelled: Any = None,
) -> FinetuneReport:
    """Train networks of a zoo on a dataset, and write the one that does best to a folder.

    Without ``networks`` a search within the limits finds them. The validation split chooses, the test split is looked
    at once; Ctrl-C keeps the best so far::

        nns.finetune("./mydata", "team.h5", max_params="5M", budget="10m")

    Args:
        data: Labelled images, as for :func:`search`.
        zoo: A zoo or its path; None: that of $NNS_ZOO, else the one that an installed plugin provides.
        networks: Ids or unique beginnings of them, or what a search answered, now or in a file; None: search.
        output: Folder to write; None: named after the data, ``mydata-nns``, in the current folder, or beside the data
            where that is in it.
        max_params: Parameters, as a number or like ``"5M"``.
        max_macs: Multiply-accumulates of one image, as a number or like ``"300M"``.
        max_size: Bytes of the fp32 weights, as a number or like ``"20MB"``.
        max_latency: One image on this machine's CPU, as seconds or like ``"10ms"``.
        backend: Only networks of this backend.
        license: Only networks under this licence.
        budget: Time for everything, from the search to the last file, as seconds or like ``"10m"``.
        epochs: Epochs at most; None: 50 with a budget, else those of the recipe.
        tries: Networks of the search to try, chosen together; of several the ladder keeps the one that does best.
        recipe: How to train, or the name of a recipe (``"default"``, ``"tans"``); ``budget``, ``epochs`` and
            ``device`` come before what it says.
        image_size: Side of the input in pixels; None: by the images, the network and the budget, and its own where MACs
            or latency are limited.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        seed: Of everything random.
        offline: Fetch no weights: the search chooses among networks whose weights are on this disk.
        history: Whether the search looks at your own fine-tunings, and this one is kept among them.
        progress: Called while the search goes on, while weights are fetched, and while images are read.
        tell: Called before weights are fetched, with what and from where; None: that goes into the log.
        on_data: Called with what is seen in the data; None: that goes into the log.
        on_chosen: Called with the ids of the networks, before they are trained.
        on_event: Called as the trainings go on, with the number of training images.
        log_to: ``"tensorboard"`` or ``"csv"``, to write each epoch as it ends, for watching; with ``=DIR`` there, else
            beside the output, ``mydata-nns-log``.
        since: When the budget began to run, as :func:`time.perf_counter` has it; None: now.
        distill: Whether the network that a search without limits finds best is fine-tuned first and teaches them; or
            which one does, by its id.
        unlabelled: Images without labels that it teaches, too.

    Raises:
        DatasetError: If the data cannot be trained on.
        NoNetworkError: If no network meets the limits, or one that is named does not.
        UsageError: If an argument is wrong, or the folder is taken.
        ZooError: If the zoo says of a network what cannot be.
        WeightsError: If weights cannot be had: of each network that was chosen, or of one that was named.
    """
    from nns.data import Dataset, Seen
    from nns.finetuning import check_target, named_recipe, resolve_device
    from nns.finetuning.chooser import Asked, Chooser
    from nns.finetuning.distributed import joined_world
    from nns.finetuning.finetune_zoo import finetune as train
    from nns.finetuning.run_log import open_log
    from nns.finetuning.training import check_compile

    began = time.perf_counter() if since is None else since
    limits = limits_of(max_params, max_macs, max_size, max_latency, backend, license)
    if unlabelled is not None and not distill:
        raise UsageError("`unlabelled` images are taught by another network: ask for `distill`, too")
    where = resolve_device(device)
    recipe = replace(named_recipe(recipe) if isinstance(recipe, str) else recipe, device=device)
    if budget is not None:
        recipe = replace(recipe, seconds=duration_of(budget), epochs=epochs or EPOCHS_WITHIN_BUDGET)
    elif epochs is not None:
        recipe = replace(recipe, epochs=epochs)
    if recipe.compile:
        check_compile(where)
    target = Path(output) if output is not None else default_output(data)
    check_target(target)
    opened = open_zoo(zoo)
    opened.offline |= offline
    dataset = Dataset.of(data, registry=opened.registry)
    asked = Asked(
        networks, limits, recipe, tries, image_size, seed, offline, distill, own_fine_tunings if history else tuple
    )
    chooser = Chooser(dataset, opened, target, asked, progress, tell)
    with joined_world(where) as together:
        if distill and together.size > 1:
            raise UsageError("`distill` needs one process, not several by torchrun")
        log = open_log(log_to, target) if log_to is not None and together.first else None
        chosen = together.from_first(chooser.networks)
        if on_chosen:
            on_chosen(chosen.networks)
        teacher = chooser.teacher(chosen.networks)
        (on_data or Seen.log)(dataset.seen)

        def note(event: LadderEvent, images: int) -> None:
            if on_event:
                on_event(event, images)
            if log:
                log(event)

        report = train(
            dataset, opened, chosen.networks, target, recipe,
            image_size=image_size, own_size=chooser.own_size, question=chooser.question, seed=seed,
            on_event=note, since=began, expected=chosen.expected, teacher=teacher, unlabelled=unlabelled,
            on_decode=(lambda done, total: progress("reading images", done, total)) if progress else None,
        )  # fmt: skip
        if log:
            log.close()
        kept = keep(report, dataset, opened, seed) if history and together.first else "off"
        return replace(report, left_out=chosen.left_out, kept=kept, first=together.first)


def keep(report: FinetuneReport, dataset: Dataset, zoo: Zoo, seed: int) -> str:
    """Keep a fine-tuning in the user's history; return its id there, ``"off"``, or why it could not be kept.

    The network is handed over by now, so whatever goes wrong here is no error.
    """
    from nns.finetuning.recording import fine_tuning_of
    from nns.history import own_history

    try:
        kept = own_history()
        record = None if kept is None else fine_tuning_of(report, dataset, zoo, seed)
        if kept is None or record is None:
            return "off"
        kept.add(record)
    except (NnsError, OSError) as error:
        return f"not kept: {error}"
    return record.id


def default_output(data: Any) -> Path:
    """Name a folder after the dataset, in the current folder: ``mydata-nns``; beside the data where that is in it."""
    from nns.data.formats import is_path

    opened = getattr(data, "path", None)  # of a dataset, or of something else that is one
    if isinstance(data, str | os.PathLike):
        text = str(data)
    else:
        text = opened if isinstance(opened, str) and Path(opened).exists() else str(getattr(data, "name", "data"))
    if not is_path(text):
        return Path(f"{text.partition(':')[2] or text}-nns")
    place = real_path(Path(text).expanduser())
    name = place.name if place.is_dir() else place.stem  # pets.v1 and pets.v2 are two folders, pets.csv is one table
    inside = place.is_dir() and real_path(Path.cwd()).is_relative_to(place)
    return place.parent / f"{name or 'data'}-nns" if inside else Path(f"{name or 'data'}-nns")


def build(
    path: str | os.PathLike[str],
    data: Sequence[str | os.PathLike[str]] = (),
    backends: Sequence[str] = (),
    *,
    networks: int | None = None,
    recipe: str | os.PathLike[str] | BuildSettings | None = None,
    workers: int | None = None,
    threads: int | None = None,
    executor: str = "local",
    address: str | None = None,
    device: str = "cpu",
    on_event: Callable[[BuildEvent], None] | None = None,
    **more: Any,
) -> BuildReport:
    """Train networks on datasets and keep them, with fingerprints, in a zoo.

    Call it again to go on::

        nns.build("team.h5", data=["./birds", "./tiles"], backends=["timm"], networks=40)

    Args:
        path: Zoo file to write, or to go on with.
        data: Datasets to train on.
        backends: Backends, as ``NAME`` or ``NAME:PATTERN`` of architectures.
        networks: Networks to train in all.
        recipe: Settings, or a file of them (TOML), that the other arguments come before.
        workers: Items at a time, each in a process; 0: everything in this process; None: by cores.
        threads: Threads of each worker; None: as OMP_NUM_THREADS says, else one.
        executor: ``"local"`` or ``"ray"``.
        address: Of a ray cluster.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        on_event: Called as things happen.
        more: Other fields of :class:`nns.BuildSettings`, e.g. ``epochs``, ``image_size``, ``seed``.

    Raises:
        DatasetError: If a dataset cannot be used.
        UsageError: If an argument is wrong.
        ZooError: If the file is there and is no zoo.
    """
    from nns.building import build_zoo, default_workers

    settings = build_settings(recipe, data, backends, networks=networks, **more)
    check_place(executor, workers, address, device)
    threads = threads_wanted() if threads is None else threads
    if workers is None and executor == "local":
        workers = default_workers(threads)
    return build_zoo(
        path, settings, workers=workers, threads=threads, executor=executor, address=address, device=device,
        on_event=on_event,
    )  # fmt: skip


def build_settings(
    recipe: str | os.PathLike[str] | BuildSettings | None,
    data: Sequence[str | os.PathLike[str]] = (),
    backends: Sequence[str] = (),
    **more: Any,
) -> BuildSettings:
    """Return the settings of a build; None among ``more`` leaves what the recipe says.

    Raises:
        UsageError: If there is no such setting, data comes from two places, or a recipe names what would be fetched.
    """
    from dataclasses import fields

    from nns.building import BuildSettings, read_build_file
    from nns.data.formats import refuse_connections
    from nns.errors import UnknownNameError

    if isinstance(data, str | os.PathLike):
        data = [data]
    if isinstance(backends, str):
        backends = [backends]
    if recipe is not None and data:
        raise UsageError("give either `recipe` or `data`, not both")
    settings = (
        recipe if isinstance(recipe, BuildSettings) else read_build_file(Path(recipe)) if recipe else BuildSettings()
    )
    if recipe is not None and not isinstance(recipe, BuildSettings):
        refuse_connections(settings.data, f"recipe {os.fspath(recipe)!r}")
    known = {field.name for field in fields(BuildSettings)}
    for name in more:
        if name not in known:
            raise UnknownNameError.among("setting", name, known)
    given = {name: value for name, value in more.items() if value is not None}
    if data:
        given["data"] = tuple(map(str, data))
    if backends:
        given["backends"] = tuple(backends)
    return replace(settings, **given)


def check_place(executor: str, workers: int | None, address: str | None, device: str) -> None:
    """See that there is such an executor and device, before anything is read or written; a cluster is not asked yet.

    Raises:
        UsageError: If not.
    """
    from nns.building.executors import check_executor
    from nns.finetuning import resolve_device

    check_executor(executor, workers, address)
    if executor == "local":  # the machines of a cluster are others
        resolve_device(device)
