"""Running the stages, one after another, each only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nns.building import BuildEvent, BuildSettings, build_zoo, read_build_file
from nns.data import Dataset
from nns.errors import NnsError, UsageError
from nns.finetuning import named_recipe
from nns.finetuning.exporting import export
from nns.finetuning.finetune_zoo import finetune
from nns.finetuning.handover import load_handover
from nns.networks import bring_weights
from nns.plugins import installed_plugins
from nns.repro import describing
from nns.repro.describing import StageRecord, joined
from nns.repro.digits import DIGITS_PREFIX, write_digits
from nns.repro.settings import PLUGIN_PREFIX, ReproSettings, check_build, refuse_downloads, refuse_outside
from nns.repro.wording import plain
from nns.searching import SearchResult, search
from nns.space import Space
from nns.zoo import Zoo

if TYPE_CHECKING:
    from nns.plugins import Registry

Progress = Callable[[str, int, int], None]
"""``progress(stage, done, total)``."""

ZOO_FILE = "zoo.h5"


class Run:
    """A run of the stages; nothing of it connects to anywhere, and nothing outside of ``work`` is written.

    Args:
        settings: What to run; paths are those of this process.
        work: Folder for the zoo, which must not be there yet, and for what is handed over.
        seeds: Seed by stage in place of the settings' own.
        workers: Processes that train, 0: this one alone; their number changes no result.
        progress: Called as things go on.
        registry: Plugins in place of the installed ones.
        inside: Folders out of which no path may lead, of the settings or of their recipe; None: anywhere.

    Raises:
        UsageError: If a path leads elsewhere, or ``work`` holds a zoo already: a build would go on with it instead of
            training.
    """

    def __init__(
        self,
        settings: ReproSettings,
        work: Path,
        *,
        seeds: Mapping[str, int] | None = None,
        workers: int = 1,
        progress: Progress | None = None,
        registry: Registry | None = None,
        inside: Sequence[str] | None = None,
    ) -> None:
        self.settings, self.work, self.workers, self.registry = settings, work, workers, registry
        self.inside = inside
        if inside is not None:
            refuse_outside(settings.paths(), inside, "the lock")
        self.seeds = dict(seeds or {})
        self.tell = progress or (lambda stage, done, total: None)
        self.opened = ExitStack()
        self.found: dict[str, SearchResult] = {}
        if (work / ZOO_FILE).exists():
            where = str(work / ZOO_FILE)
            raise UsageError(f"{where!r} is there already and a check must build anew; name an empty folder")
        work.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Run:
        """Return the run itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the zoo."""
        self.opened.close()

    def seed(self, stage: str) -> int:
        """Return the seed of a stage."""
        return self.seeds.get(stage, self.settings.seed)

    def stage(self, name: str) -> StageRecord:
        """Run a stage; those that it works on must have run.

        Raises:
            NnsError: If it fails.
        """
        run: Callable[[], StageRecord] = getattr(self, f"_{name}")
        if name == "build":  # which says itself how far it is
            return run()
        self.tell(name, 0, 1)
        record = run()
        self.tell(name, 1, 1)
        return record

    def plugins(self) -> list[tuple[str, str]]:
        """Return kind and name of what plugins brought to the run, the zoo's own included; after its stages."""
        found = self.settings.plugins()
        if self.build is not None:
            found += [("backend", each.partition(":")[0]) for each in self.build.backends]
        if "zoo" in vars(self):  # opened
            found += [("backend", name) for name in sorted({entry.spec.backend for entry in self.zoo.store.entries()})]
            found.append(("extractor", self.zoo.extractor.name))
        return sorted(set(found))

    @cached_property
    def build(self) -> BuildSettings | None:
        """What is built, as the settings or their recipe say it now; None where the zoo is there."""
        if self.settings.recipe is None:
            return self.settings.build
        build = read_build_file(self.settings.recipe)
        check_build(build, "fit" in self.settings.covered)
        where = f"recipe {self.settings.recipe!r}"
        refuse_downloads(build.data, where)
        if self.inside is not None:
            refuse_outside(replace(self.settings, build=build, recipe=None).paths(), self.inside, where)
        return build

    @cached_property
    def datasets(self) -> list[Dataset]:
        """The datasets of the build."""
        return [self._open(data) for data in (self.build.data if self.build else ())]

    @cached_property
    def queries(self) -> dict[str, Dataset]:
        """The datasets to search with, by what they are called: names may be alike."""
        return self._named([self._open(data, require_labels=False) for data in self.settings.queries])

    @cached_property
    def zoo(self) -> Zoo:
        """The zoo: that of the settings, or what was built."""
        path = self.settings.zoo
        if path is None:
            path = str(self.work / ZOO_FILE)
        elif path.startswith(PLUGIN_PREFIX):
            name = path.removeprefix(PLUGIN_PREFIX)
            path = str((self.registry or installed_plugins()).make("zoo", name))
        return self.opened.enter_context(Zoo(path, registry=self.registry, offline=True))

    def _open(self, data: str, require_labels: bool = True) -> Dataset:
        place = str(write_digits(data, self.work)) if data.startswith(DIGITS_PREFIX) else data
        return Dataset.of(place, require_labels=require_labels, registry=self.registry)

    @staticmethod
    def _named(datasets: list[Dataset]) -> dict[str, Dataset]:
        named: dict[str, Dataset] = {}
        for dataset in datasets:
            name, turn = plain(dataset.name), 1
            while name in named:
                turn += 1
                name = f"{plain(dataset.name)} ({turn})"
            named[name] = dataset
        return named

    def _data(self) -> StageRecord:
        named = {f"dataset {name}": dataset for name, dataset in self._named(self.datasets).items()}
        named |= {f"query {name}": dataset for name, dataset in self.queries.items()}
        return describing.describe_data(named, self.build if self.settings.recipe else None)

    def _zoo(self) -> StageRecord:
        return describing.describe_zoo(self.zoo)

    def _build(self) -> StageRecord:
        def on_event(event: BuildEvent) -> None:
            self.tell("build", event.done, event.total)

        assert self.build is not None
        # the seed of a recipe, or of the settings in its place, is that of the build
        settings = replace(self.build, seed=self.seeds.get("build", self.build.seed))
        report = build_zoo(
            self.work / ZOO_FILE, settings,
            data=self.datasets, workers=self.workers, threads=1, on_event=on_event, registry=self.registry,
        )  # fmt: skip
        if report.interrupted:
            raise KeyboardInterrupt
        if report.failed:
            dataset, backend, reason = min(report.failed)
            raise NnsError(f"training on {dataset!r} with backend {backend!r} failed: {reason}")
        return describing.describe_build(self.zoo)

    def _fit(self) -> StageRecord:
        # a zoo that is there is somebody's: nothing is written into it
        space = Space.fit(
            self.zoo, self.settings.method,
            epochs=self.settings.space_epochs, seed=self.seed("fit"), keep=self.settings.zoo is None,
        )  # fmt: skip
        return describing.describe_fit(self.zoo, space)

    def _search(self) -> StageRecord:
        seed = self.seed("search")
        space = self.settings.method if "fit" in self.settings.covered and not self.settings.zoo else None
        for name, query in self.queries.items():
            self.found[name] = search(
                query, self.zoo, self.settings.limits, top=self.settings.top, space=space, seed=seed
            )
        parts = {
            name: describing.describe_search(query, self.found[name], seed) for name, query in self.queries.items()
        }
        return joined("search", parts)

    def _handed_over(self) -> Iterator[tuple[str, Dataset, Path]]:
        for number, (name, query) in enumerate(self.queries.items()):
            if query.labelled:
                yield name, query, self.work / f"finetuned-{number}"

    def _finetune(self) -> StageRecord:
        assert self.settings.finetune is not None
        recipe = replace(
            named_recipe(self.settings.finetune.recipe, self.registry),
            epochs=self.settings.finetune.epochs, seconds=None, device="cpu", compile=False,
        )  # fmt: skip
        parts = {}
        for name, query, folder in self._handed_over():
            network = self.zoo.network(self.found[name].best.entry.id)
            for error in bring_weights([network]).values():
                raise error
            finetune(query, self.zoo, [network.id], folder, recipe, seed=self.seed("finetune"))
            card = load_handover(folder, registry=self.registry).card
            parts[name] = describing.describe_finetune(card, steady=self.settings.zoo is not None)
        if not parts:
            raise UsageError("there is nothing to fine-tune on: no `query` has classes")
        return joined("finetune", parts)

    def _export(self) -> StageRecord:
        assert self.settings.finetune is not None
        parts = {}
        for name, query, folder in self._handed_over():
            found = [
                export(folder, each, data=query if each == "onnx" else None, registry=self.registry)
                for each in self.settings.finetune.exports
            ]
            parts[name] = describing.describe_export(found)
        return joined("export", parts)
